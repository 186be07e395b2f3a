import { printable } from "../bytes/text.ts";

/** Nothing in these has a meaning for the shell; an equals sign could be an assignment, except in an option. */
const PLAIN = /^([A-Za-z0-9_/.,:@%+]|-[A-Za-z0-9_/.,:@%+=-]*)[A-Za-z0-9_/.,:@%+-]*$/;

/** Text as one word of a POSIX shell. */
export function quote(text: string): string {
  return PLAIN.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

/** Text for a comment: it cannot end the line. */
export function comment(text: string): string {
  return `# ${printable(text)}`;
}

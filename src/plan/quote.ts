import { printable } from "../bytes/text.ts";

/** Nothing in these has a meaning for the shell, in an argument: as the first word of a command, an equals sign would. */
const PLAIN = /^[A-Za-z0-9_/.,:@%+=-]+$/;

/** Text as one argument of a command of a POSIX shell. */
export function quote(text: string): string {
  return PLAIN.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

/** Text for a comment: it cannot end the line. */
export function comment(text: string): string {
  return `# ${printable(text)}`;
}

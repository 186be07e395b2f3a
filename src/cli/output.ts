import { fstatSync, writeSync } from "node:fs";
import { styleText } from "node:util";
import { describeError, firstError, StorageError } from "../core/errors.ts";
import { type Palette, PLAIN } from "../report/tree-text.ts";
import { printable } from "../report/units.ts";

/** File descriptors. Node's streams for them take longer to load than a short command takes. */
export const STDOUT = 1;
export const STDERR = 2;
export type Output = typeof STDOUT | typeof STDERR;

/** Major number of /dev/null and its like (Linux, Documentation/admin-guide/devices.txt). */
const MEMORY_DEVICES = 1;

/** Whether a person reads it. */
export function isTerminal(output: Output): boolean {
  try {
    const { mode, rdev } = fstatSync(output);
    // S_IFCHR; the major number is in bits 8 to 19 of what fits here.
    if ((mode & 0o170000) !== 0o020000 || ((rdev >> 8) & 0xfff) === MEMORY_DEVICES) return false;
  } catch {
    return false;
  }
  return stream(output).isTTY === true;
}

/** Columns of the terminal; undefined where there is none. */
export function columns(output: Output): number | undefined {
  return isTerminal(output) ? stream(output).columns : undefined;
}

/** Where a line can be drawn over. */
export function canRedraw(output: Output): boolean {
  return process.env.TERM !== "dumb" && isTerminal(output);
}

/** https://no-color.org: NO_COLOR counts when it is set and not empty. */
export function wantsColour(output: Output): boolean {
  return !process.env.NO_COLOR && canRedraw(output);
}

export function palette(output: Output): Palette {
  if (!wantsColour(output)) return PLAIN;
  const style = (name: "bold" | "dim" | "red" | "yellow" | "green") => (text: string) =>
    // Whether to colour is decided above.
    styleText(name, text, { validateStream: false });
  return { bold: style("bold"), dim: style("dim"), red: style("red"), yellow: style("yellow"), green: style("green") };
}

let whenBroken: (error: NodeJS.ErrnoException) => void = () => {};

/** `handler` is told why standard output cannot take more. */
export function onBrokenOutput(handler: (error: NodeJS.ErrnoException) => void): void {
  whenBroken = handler;
}

const heard = new Set<Output>();

/** Node's stream, with its errors heard. */
function stream(output: Output): NodeJS.WriteStream {
  const found = output === STDOUT ? process.stdout : process.stderr;
  if (!heard.has(output)) {
    heard.add(output);
    // Nobody is left to be told that standard error is gone.
    found.on("error", (error) => output === STDOUT && whenBroken(error));
  }
  return found;
}

/**
 * Bytes of text that are written in place: a pipe that was empty takes 64 KiB (pipe(7)) though nobody reads. More could block, and who
 * blocks hears no Ctrl-C: the rest goes through Node's stream.
 */
const IN_PLACE = 32 * 1024;
const inPlace: Record<Output, number> = { [STDOUT]: 0, [STDERR]: 0 };

/** What of a text has to go through the stream: nothing, when it is short and so was all before. Null: nothing more can be written. */
function writeInPlace(text: string, output: Output): Uint8Array | null {
  const bytes = Buffer.from(text);
  // Once the stream is used it is used always, so that nothing overtakes.
  inPlace[output] += bytes.length;
  if (inPlace[output] > IN_PLACE) return bytes;
  let at = 0;
  try {
    while (at < bytes.length) at += writeSync(output, bytes, at);
    return NOTHING;
  } catch (thrown) {
    const error = thrown as NodeJS.ErrnoException;
    if (error.code === "EAGAIN") {
      // Somebody else, who has the other end of this pipe or terminal as well, made it non-blocking, and it is full.
      inPlace[output] = Number.POSITIVE_INFINITY;
      return bytes.subarray(at);
    }
    if (output === STDOUT) whenBroken(error);
    return null;
  }
}

const NOTHING = new Uint8Array(0);

/** Writes all of a text, sooner or later. What cannot be written is lost; for standard output the handler of `onBrokenOutput` is told. */
export function write(text: string, output: Output = STDOUT): void {
  const rest = writeInPlace(text, output);
  if (rest !== null && rest.length > 0) stream(output).write(rest);
}

/** Writes all of `data` to standard output and waits until it was taken. Rejects when it cannot take more. */
export async function emit(data: string | Uint8Array): Promise<void> {
  const rest = typeof data === "string" ? writeInPlace(data, STDOUT) : data;
  if (rest === null) throw new StorageError("io", "cannot write to standard output");
  if (rest.length === 0) return;
  // From here on, text must not overtake it.
  inPlace[STDOUT] = Number.POSITIVE_INFINITY;
  await new Promise<void>((resolve, reject) => {
    stream(STDOUT).write(rest, (error) => (error ? reject(error) : resolve()));
  });
}

export async function emitJson(document: unknown): Promise<void> {
  await emit(`${JSON.stringify(document, null, 2)}\n`);
}

export function note(text: string): void {
  write(`${text}\n`, STDERR);
}

/** One line that says what, one that says what to do; the stack only with --debug. */
export async function reportError(thrown: unknown, debug: boolean): Promise<void> {
  const error = firstError(thrown);
  const p = palette(STDERR);
  note(`${p.red("unterbau:")} ${printable(describeError(error))}`);
  if (error instanceof StorageError && error.hint) note(`${p.yellow("hint:")} ${printable(error.hint)}`);
  if (debug && error instanceof Error) {
    const { sourceTrace } = await import("./stack-trace.ts");
    note(sourceTrace(error.stack ?? ""));
    for (let cause = error.cause; cause instanceof Error; cause = cause.cause)
      note(`caused by: ${sourceTrace(cause.stack ?? cause.message)}`);
  }
}

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

export function wantsColour(output: Output): boolean {
  return process.env.NO_COLOR === undefined && process.env.TERM !== "dumb" && isTerminal(output);
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

/** Writes all of a text at once. What cannot be written is lost; for standard output the handler of `onBrokenOutput` is told, and false returned. */
export function write(text: string, output: Output = STDOUT): boolean {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(output, bytes, at);
    } catch (thrown) {
      const error = thrown as NodeJS.ErrnoException;
      // Somebody else, who has the other end of this pipe or terminal as well, made it non-blocking, and it is full.
      if (error.code === "EAGAIN") Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
      else {
        if (output === STDOUT) whenBroken(error);
        return false;
      }
    }
  }
  return true;
}

/** Writes all of `data` to standard output and waits until it was taken. Rejects when it cannot take more. */
export async function emit(data: string | Uint8Array): Promise<void> {
  if (typeof data === "string") {
    if (!write(data)) throw new StorageError("io", "cannot write to standard output");
    return;
  }
  await new Promise<void>((resolve, reject) => {
    stream(STDOUT).write(data, (error) => (error ? reject(error) : resolve()));
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

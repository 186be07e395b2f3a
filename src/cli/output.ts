import pc from "picocolors";
import { describeError, firstError, StorageError } from "../core/errors.ts";
import { type Palette, PLAIN } from "../report/tree-text.ts";
import { printable } from "../report/units.ts";

export function wantsColour(stream: { isTTY?: boolean }): boolean {
  return stream.isTTY === true && process.env.NO_COLOR === undefined && process.env.TERM !== "dumb";
}

export function palette(stream: { isTTY?: boolean }): Palette {
  if (!wantsColour(stream)) return PLAIN;
  const { bold, dim, red, yellow, green } = pc.createColors(true);
  return { bold, dim, red, yellow, green };
}

/** Writes all of `data` and waits until the stream took it. */
export function emit(data: string | Uint8Array, stream: NodeJS.WriteStream = process.stdout): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.write(data, (error) => (error ? reject(error) : resolve()));
  });
}

export async function emitJson(document: unknown): Promise<void> {
  await emit(`${JSON.stringify(document, null, 2)}\n`);
}

export function note(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** One line that says what, one that says what to do; the stack only with --debug. */
export function reportError(thrown: unknown, debug: boolean): void {
  const error = firstError(thrown);
  const p = palette(process.stderr);
  note(`${p.red("unterbau:")} ${printable(describeError(error))}`);
  if (error instanceof StorageError && error.hint) note(`${p.yellow("hint:")} ${printable(error.hint)}`);
  if (debug && error instanceof Error) {
    note(error.stack ?? "");
    for (let cause = error.cause; cause instanceof Error; cause = cause.cause)
      note(`caused by: ${cause.stack ?? cause.message}`);
  }
}

import { closeSync, openSync, writeSync } from "node:fs";
import { ReadStream } from "node:tty";
import { StorageError } from "../core/errors.ts";

const ENTER = [0x0d, 0x0a];
const CTRL_C = 0x03;
const CTRL_D = 0x04;
const CTRL_U = 0x15;
const BACKSPACE = [0x08, 0x7f];
/** cryptsetup's longest interactive passphrase (lib/utils_crypt.c: DEFAULT_PASSPHRASE_SIZE_MAX). */
const LONGEST = 512;

/** Asks on the controlling terminal for a yes; null when there is none. stdin and stdout are not touched. */
export async function askYes(question: string): Promise<boolean | null> {
  const line = await askLine(question);
  return line === null ? null : /^y(es)?$/i.test(line);
}

/** Asks there for a line, which is trimmed; null when there is no terminal. */
export async function askLine(question: string): Promise<string | null> {
  let fd: number;
  try {
    fd = openSync("/dev/tty", "r+");
  } catch {
    return null;
  }
  writeSync(fd, question);
  const tty = new ReadStream(fd);
  try {
    const line = await new Promise<string>((resolve) => {
      let text = "";
      tty.setEncoding("utf8");
      tty.on("data", (chunk: string) => {
        text += chunk;
        if (text.includes("\n")) resolve(text);
      });
      tty.once("end", () => resolve(text));
    });
    return line.trim();
  } finally {
    tty.destroy();
  }
}

/** Whether there is a controlling terminal. */
export function hasTerminal(): boolean {
  try {
    closeSync(openSync("/dev/tty", "r+"));
    return true;
  } catch {
    return false;
  }
}

/** Writes a secret on the controlling terminal, on a line of its own, and nowhere else: neither stdout nor stderr may keep it. */
export function showOnTerminal(before: string, secret: Uint8Array): void {
  const fd = openSync("/dev/tty", "r+");
  try {
    for (const part of [Buffer.from(before), secret, Buffer.from("\n\n")])
      for (let at = 0; at < part.length; ) at += writeSync(fd, part, at);
  } finally {
    closeSync(fd);
  }
}

/**
 * Asks on the controlling terminal without echo, as bytes: a string could not be wiped. Null when there is no terminal.
 * Throws `cancelled` on Ctrl-C. stdin and stdout are not touched, so they may be pipes.
 */
export async function askSecret(question: string): Promise<Uint8Array | null> {
  let fd: number;
  try {
    fd = openSync("/dev/tty", "r+");
  } catch {
    return null;
  }
  const tty = new ReadStream(fd);
  try {
    // First: who types before the question is there is not echoed either.
    tty.setRawMode(true);
    writeSync(fd, question);
    return await new Promise<Uint8Array>((resolve, reject) => {
      const line = Buffer.alloc(LONGEST);
      let length = 0;
      const finish = (act: () => void): void => {
        tty.off("data", onData);
        writeSync(fd, "\r\n");
        act();
        line.fill(0);
      };
      const onData = (chunk: Buffer): void => {
        for (const byte of chunk) {
          if (byte === CTRL_C) {
            chunk.fill(0);
            finish(() => reject(new StorageError("cancelled", "cancelled")));
            return;
          }
          if (ENTER.includes(byte) || byte === CTRL_D) {
            chunk.fill(0);
            finish(() => resolve(Uint8Array.from(line.subarray(0, length))));
            return;
          }
          if (BACKSPACE.includes(byte)) {
            // A UTF-8 character is erased whole: continuation bytes are 10xxxxxx.
            while (length > 0 && (line[--length]! & 0xc0) === 0x80) line[length] = 0;
          } else if (byte === CTRL_U) {
            length = 0;
          } else if (length < LONGEST) {
            line[length++] = byte;
          }
        }
        chunk.fill(0);
      };
      tty.on("data", onData);
    });
  } finally {
    tty.setRawMode(false);
    tty.destroy();
    try {
      closeSync(fd);
    } catch {
      // The stream has closed it already.
    }
  }
}

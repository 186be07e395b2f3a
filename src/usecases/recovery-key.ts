import { randomBytes } from "node:crypto";
import { closeSync, fsyncSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { ioError } from "../core/errors.ts";

/** Digits that lie on the same keys of nearly all keyboards, as systemd-cryptenroll(1) writes its recovery keys. */
const MODHEX = "cbdefghijklnrtuv";
const BYTES = 32;
const GROUP = 8;

/** A recovery key of 256 random bits: eight groups of eight digits, with dashes. The caller wipes it. */
export function newRecoveryKey(): Uint8Array {
  const bits = randomBytes(BYTES);
  const digits = 2 * BYTES;
  const text = Buffer.alloc(digits + digits / GROUP - 1, "-");
  for (let i = 0; i < digits; i++) {
    const byte = bits[i >> 1]!;
    text[i + Math.floor(i / GROUP)] = MODHEX.charCodeAt(i % 2 === 0 ? byte >> 4 : byte & 15);
  }
  bits.fill(0);
  return text;
}

/** Writes a key into a new file that only its owner may read, without a newline: it then is a key file. Throws `io` when it is there. */
export function writeKeyFile(path: string, key: Uint8Array): void {
  try {
    const fd = openSync(path, "wx", 0o600);
    try {
      for (let at = 0; at < key.length; ) at += writeSync(fd, key, at);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    throw ioError(error, `cannot write the recovery key into ${path}`, { hint: "name a file that is not there yet" });
  }
}

/** Removes a key file that opens nothing, when it is one of ours; anything else of that name stays. */
export function removeKeyFile(path: string): void {
  let text: string;
  try {
    text = readFileSync(path, "latin1");
  } catch {
    return;
  }
  if (new RegExp(`^[${MODHEX}]{${GROUP}}(-[${MODHEX}]{${GROUP}}){${(2 * BYTES) / GROUP - 1}}$`).test(text))
    rmSync(path);
}

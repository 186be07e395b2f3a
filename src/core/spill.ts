import { createCipheriv, createDecipheriv, createSecretKey, type KeyObject, randomBytes } from "node:crypto";
import { closeSync, constants, existsSync, openSync, readSync, unlinkSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ioError } from "./errors.ts";

/** Bytes of one slot; each is one XTS data unit (IEEE 1619-2018 allows up to 2^20 cipher blocks in one). */
export const SPILL_SLOT = 4096;

/**
 * Scratch space in a nameless file for blocks that do not fit into memory. What is written there is encrypted with a key that exists
 * in this process only, so that no guest plaintext comes to rest on the host's disk.
 *
 * AES-256-XTS with the slot number as tweak: a slot can be rewritten any number of times, as a disk's sector can.
 */
export class SpillFile {
  readonly #fd: number;
  readonly #directory: string;
  readonly #key: KeyObject;

  constructor(directory: string = defaultSpillDirectory()) {
    this.#directory = directory;
    const path = join(directory, `.unterbau-spill-${randomBytes(12).toString("hex")}`);
    try {
      this.#fd = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o600);
    } catch (error) {
      throw this.#error(error, `cannot create a scratch file in ${directory}`);
    }
    try {
      unlinkSync(path);
    } catch (error) {
      closeSync(this.#fd);
      throw this.#error(error, `cannot unlink the scratch file ${path}`);
    }
    const raw = randomBytes(64);
    this.#key = createSecretKey(raw);
    raw.fill(0);
  }

  /** Encrypts and stores whole slots from `slot` on; `from.length` is a multiple of SPILL_SLOT. */
  write(slot: number, from: Uint8Array): void {
    const cipherText = Buffer.allocUnsafe(from.length);
    for (let at = 0; at < from.length; at += SPILL_SLOT) {
      const cipher = createCipheriv("aes-256-xts", this.#key, tweak(slot + at / SPILL_SLOT));
      cipherText.set(cipher.update(from.subarray(at, at + SPILL_SLOT)), at);
    }
    try {
      for (let done = 0; done < cipherText.length; ) {
        done += writeSync(this.#fd, cipherText, done, cipherText.length - done, slot * SPILL_SLOT + done);
      }
    } catch (error) {
      throw this.#error(error, `cannot write scratch data in ${this.#directory}`);
    }
  }

  /** Reads and decrypts whole slots from `slot` on; each must have been written before. */
  read(slot: number, into: Uint8Array): void {
    const cipherText = Buffer.allocUnsafe(into.length);
    try {
      for (let done = 0; done < cipherText.length; ) {
        const n = readSync(this.#fd, cipherText, done, cipherText.length - done, slot * SPILL_SLOT + done);
        if (n === 0) throw new Error("the scratch file is shorter than what was written");
        done += n;
      }
    } catch (error) {
      throw this.#error(error, `cannot read scratch data in ${this.#directory}`);
    }
    for (let at = 0; at < into.length; at += SPILL_SLOT) {
      const decipher = createDecipheriv("aes-256-xts", this.#key, tweak(slot + at / SPILL_SLOT));
      into.set(decipher.update(cipherText.subarray(at, at + SPILL_SLOT)), at);
    }
  }

  close(): void {
    closeSync(this.#fd);
  }

  #error(error: unknown, what: string): Error {
    const code = (error as NodeJS.ErrnoException).code;
    const full = code === "ENOSPC" || code === "EDQUOT" || code === "EFBIG";
    return ioError(error, what, {
      layer: "overlay",
      hint: full
        ? "there is no room for what the tool changed: free space there, or set TMPDIR to a folder that has some"
        : "set TMPDIR to a folder that can be written to",
    });
  }
}

/** The user's own choice first. /var/tmp lies on a disk; /tmp often is memory itself. */
function defaultSpillDirectory(): string {
  return process.env.TMPDIR || (existsSync("/var/tmp") ? "/var/tmp" : tmpdir());
}

function tweak(slot: number): Uint8Array {
  const out = new Uint8Array(16);
  new DataView(out.buffer).setBigUint64(0, BigInt(slot), true);
  return out;
}

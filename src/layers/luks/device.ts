import type { BlockDevice, Capabilities, Extent, IoOptions } from "../../core/device.ts";
import { StorageError } from "../../core/errors.ts";
import type { SectorCipher } from "../../crypto/sector-cipher.ts";
import { IV_SECTOR } from "../../crypto/sector-cipher.ts";
import { workBuffers } from "../../crypto/xor.ts";

/** Requests are worked off in pieces of this many bytes, so that an abort is seen between them. */
const PIECE = 1024 * 1024;

/** One is encrypted while another is written. */
const SPARE_PIECES = 2;

interface CryptDeviceOptions {
  /** Where the ciphertext lies. */
  readonly below: BlockDevice;
  /** Bytes of the payload's start in `below`. */
  readonly offset: number;
  /** Bytes; a multiple of the cipher's sector size. */
  readonly size: number;
  readonly ivOffset: number;
  readonly writable: boolean;
  /** Asked at each request: the layer was closed, and its key is gone, when this gives null. */
  readonly cipher: () => SectorCipher | null;
}

/** Memory of pieces that were written, for the next ones: fresh memory is faulted in page by page, which takes as long as to encrypt it. */
class SparePieces {
  #work: ReturnType<typeof workBuffers> | null = null;
  #free: Uint8Array[] = [];

  take(length: number): Uint8Array {
    if (length !== PIECE) return new Uint8Array(length);
    if (this.#work === null) {
      this.#work = workBuffers(SPARE_PIECES, PIECE);
      this.#free = [...this.#work.buffers];
    }
    return this.#free.pop() ?? new Uint8Array(length);
  }

  give(piece: Uint8Array): void {
    if (this.#work?.buffers.includes(piece)) this.#free.push(piece);
  }

  /** A piece that was not given back may still be held below: its memory then stays taken. */
  release(): void {
    if (this.#free.length === SPARE_PIECES) this.#work?.[Symbol.dispose]();
    this.#work = null;
    this.#free = [];
  }
}

/**
 * A payload as plaintext. What is zero or a hole below is not zero here, so all of it counts as data; a discard would tell an
 * onlooker which blocks are free, so it does nothing (as dm-crypt without allow_discards).
 */
export class CryptDevice implements BlockDevice {
  readonly size: number;
  readonly caps: Capabilities;
  readonly #o: CryptDeviceOptions;
  readonly #spare = new SparePieces();

  constructor(options: CryptDeviceOptions, sectorSize: number) {
    this.#o = options;
    this.size = options.size;
    this.caps = {
      writable: options.writable,
      alignment: sectorSize,
      // As device-mapper stacks limits: the larger of both.
      sectorSize: Math.max(sectorSize, options.below.caps.sectorSize),
      optimalIo: PIECE,
      extents: false,
      zero: false,
      discard: false,
    };
  }

  /** The next piece is read while one is decrypted: below may work in the background. */
  async read(into: Uint8Array, offset: number, options?: IoOptions): Promise<void> {
    const fetch = (at: number): Promise<void> => {
      const below = this.#o.below.read(into.subarray(at, at + PIECE), this.#o.offset + offset + at, options);
      below.catch(() => undefined);
      return below;
    };
    let fetched = fetch(0);
    try {
      await this.#pieces(into.length, options, async (at, length) => {
        await fetched;
        if (at + length < into.length) fetched = fetch(at + length);
        this.#cipher().decrypt(into.subarray(at, at + length), this.#iv(offset + at));
      });
    } finally {
      // Nothing below may still write to the caller's memory when this ends.
      await fetched.catch(() => undefined);
    }
  }

  async prefetch(offset: number, length: number): Promise<void> {
    await this.#o.below.prefetch?.(this.#o.offset + offset, length);
  }

  /** The next piece is encrypted while one is written. */
  async write(from: Uint8Array, offset: number, options?: IoOptions): Promise<void> {
    let writing: Promise<void> = Promise.resolve();
    try {
      await this.#pieces(from.length, options, async (at, length) => {
        const own = this.#spare.take(length);
        own.set(from.subarray(at, at + length));
        this.#cipher().encrypt(own, this.#iv(offset + at));
        await writing;
        writing = this.#o.below.write(own, this.#o.offset + offset + at, options);
        writing.then(
          () => this.#spare.give(own),
          // Below may still hold it.
          () => undefined,
        );
      });
    } finally {
      await writing;
    }
  }

  async zero(offset: number, length: number, options?: IoOptions): Promise<void> {
    await this.#pieces(length, options, (at, part) => this.#put(new Uint8Array(part), offset + at, options));
  }

  async discard(): Promise<void> {}

  async *extents(offset: number, length: number): AsyncIterable<Extent> {
    yield { offset, length, kind: "data" };
  }

  flush(): Promise<void> {
    return this.#o.below.flush();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#spare.release();
  }

  /** Encrypts `own` in place and writes it. */
  async #put(own: Uint8Array, offset: number, options?: IoOptions): Promise<void> {
    this.#cipher().encrypt(own, this.#iv(offset));
    await this.#o.below.write(own, this.#o.offset + offset, options);
  }

  async #pieces(
    length: number,
    options: IoOptions | undefined,
    act: (at: number, length: number) => Promise<void>,
  ): Promise<void> {
    for (let at = 0; at < length; at += PIECE) {
      if (at > 0 && options?.signal?.aborted) throw new StorageError("cancelled", "cancelled", { layer: "luks" });
      await act(at, Math.min(PIECE, length - at));
    }
  }

  #iv(offset: number): number {
    return this.#o.ivOffset + offset / IV_SECTOR;
  }

  #cipher(): SectorCipher {
    const cipher = this.#o.cipher();
    if (!cipher) throw new StorageError("io", "the LUKS layer is closed already", { layer: "luks" });
    return cipher;
  }
}

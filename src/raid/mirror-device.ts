import type { BlockDevice, Capabilities, Extent, IoOptions } from "../core/device.ts";
import type { StorageError } from "../core/errors.ts";
import { type LegErrorReport, type RaidLegs, RETRY_BYTES, readLeg, unreadable, validRun } from "./legs.ts";
import type { Copy } from "./mirror-layout.ts";

export interface MirrorOptions {
  readonly layer: string;
  readonly size: number;
  readonly caps: Capabilities;
  readonly legs: RaidLegs;
  /** Copies of the run that begins at `offset`, the preferred one first, and the run's length in bytes. */
  readonly place: (offset: number) => { readonly copies: readonly Copy[]; readonly length: number };
  readonly onLegError: LegErrorReport;
  readonly beforeWrite: () => Promise<void>;
}

interface Piece {
  /** In the array. */
  readonly offset: number;
  readonly length: number;
  readonly copies: readonly Copy[];
}

/** RAID1 and RAID10: every byte lies in full on several legs. */
export class MirrorDevice implements BlockDevice {
  readonly size: number;
  readonly caps: Capabilities;
  readonly #m: MirrorOptions;

  constructor(options: MirrorOptions) {
    this.size = options.size;
    this.caps = options.caps;
    this.#m = options;
  }

  async read(into: Uint8Array, offset: number, options?: IoOptions): Promise<void> {
    for (const piece of this.#pieces(offset, into.length)) {
      const start = piece.offset - offset;
      await this.#readPiece(into.subarray(start, start + piece.length), piece, options);
    }
  }

  async write(from: Uint8Array, offset: number, options?: IoOptions): Promise<void> {
    await this.#each(offset, from.length, (device, at, start, length) =>
      device.write(from.subarray(start, start + length), at, options),
    );
  }

  async zero(offset: number, length: number, options?: IoOptions): Promise<void> {
    await this.#each(offset, length, (device, at, _start, part) => device.zero(at, part, options));
  }

  /** Nothing: discarded blocks may read differently on each leg, and Linux would call that a mismatch. */
  async discard(): Promise<void> {}

  async *extents(offset: number, length: number, options?: IoOptions): AsyncIterable<Extent> {
    for (const piece of this.#pieces(offset, length)) {
      const copy = piece.copies.find((c) => {
        const run = validRun(this.#m.legs[c.leg]!, c.at, piece.length);
        return run.valid && run.length === piece.length;
      });
      if (!copy) {
        yield { offset: piece.offset, length: piece.length, kind: "data" };
        continue;
      }
      const shift = piece.offset - copy.at;
      const below = this.#m.legs[copy.leg]!.device.extents(copy.at, piece.length, options);
      for await (const e of below) yield { ...e, offset: e.offset + shift };
    }
  }

  async flush(): Promise<void> {
    for (const leg of this.#m.legs) await leg?.device.flush();
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  *#pieces(offset: number, length: number): Iterable<Piece> {
    const end = offset + length;
    for (let at = offset; at < end; ) {
      const { copies, length: run } = this.#m.place(at);
      const part = Math.min(run, end - at);
      yield { offset: at, length: part, copies };
      at += part;
    }
  }

  async #readPiece(into: Uint8Array, piece: Piece, options: IoOptions | undefined): Promise<void> {
    for (let done = 0; done < into.length; ) {
      let failure: StorageError | null = null;
      let served = 0;
      let longest = 0;
      for (const copy of piece.copies) {
        const leg = this.#m.legs[copy.leg]!;
        const run = validRun(leg, copy.at + done, into.length - done);
        if (!leg || !run.valid) continue;
        // What failed as a whole on one leg is asked from the others in small pieces first: theirs may have a bad sector elsewhere.
        const length = failure ? Math.min(run.length, RETRY_BYTES) : run.length;
        const error = await readLeg(leg, into.subarray(done, done + length), copy.at + done, options);
        if (!error) {
          served = length;
          break;
        }
        this.#m.onLegError(copy.leg, error);
        failure = error;
        longest = Math.max(longest, length);
      }
      if (served === 0 && failure && longest > RETRY_BYTES) {
        served = RETRY_BYTES;
        const part = { ...piece, copies: piece.copies.map((c) => ({ leg: c.leg, at: c.at + done })) };
        await this.#readPiece(into.subarray(done, done + served), part, options);
      }
      if (served === 0) {
        const legs = piece.copies.map((c) => c.leg);
        throw unreadable(legs, this.#m.layer, piece.offset + done, failure);
      }
      done += served;
    }
  }

  /** Every copy on a leg that is there; at least one of them must be valid, or what is written could not be read back. */
  async #each(
    offset: number,
    length: number,
    act: (device: BlockDevice, at: number, start: number, length: number) => Promise<void>,
  ): Promise<void> {
    await this.#m.beforeWrite();
    for (const piece of this.#pieces(offset, length)) {
      this.#requireValidCopy(piece);
      for (const copy of piece.copies) {
        const leg = this.#m.legs[copy.leg];
        if (leg) await act(leg.device, copy.at, piece.offset - offset, piece.length);
      }
    }
  }

  #requireValidCopy(piece: Piece): void {
    for (let done = 0; done < piece.length; ) {
      const runs = piece.copies.map((c) => validRun(this.#m.legs[c.leg]!, c.at + done, piece.length - done));
      const valid = runs.filter((run) => run.valid).map((run) => run.length);
      if (valid.length === 0) {
        throw unreadable(
          piece.copies.map((c) => c.leg),
          this.#m.layer,
          piece.offset + done,
          null,
        );
      }
      done += Math.max(...valid);
    }
  }
}

import type { BlockDevice, Capabilities, Extent, IoOptions } from "../core/device.ts";
import { RwLock } from "../core/rw-lock.ts";
import { parityP, parityQ } from "./galois.ts";
import { type LegErrorReport, type RaidLegs, RETRY_BYTES, readLeg, unreadable, validRun } from "./legs.ts";
import type { ParityRow } from "./parity-layout.ts";
import { loadColumns, type Strip } from "./recover.ts";

export interface ParityOptions {
  readonly layer: string;
  readonly size: number;
  readonly caps: Capabilities;
  readonly legs: RaidLegs;
  /** Bytes. */
  readonly chunk: number;
  /** Row n of the array is element n modulo their number. */
  readonly rows: readonly ParityRow[];
  /** See RaidOptions. */
  readonly trustParity: boolean;
  readonly onLegError: LegErrorReport;
  readonly beforeWrite: () => Promise<void>;
}

interface Piece {
  /** In the array. */
  readonly offset: number;
  readonly column: number;
  readonly strip: Strip;
}

/** Bytes of a leg that are worked on at a time: bounds memory, whatever chunk size the metadata names. */
const STRIP_BYTES = 1024 * 1024;

/** RAID4, 5 and 6: data columns, and one or two columns of parity over them. */
export class ParityDevice implements BlockDevice {
  readonly size: number;
  readonly caps: Capabilities;
  readonly #o: ParityOptions;
  /** Data columns of a row. */
  readonly #columns: number;
  /** A row's parity belongs to all its columns: nobody may recover from a row that is being written. */
  readonly #lock = new RwLock();

  constructor(options: ParityOptions) {
    this.size = options.size;
    this.caps = options.caps;
    this.#o = options;
    this.#columns = options.rows[0]!.data.length;
  }

  read(into: Uint8Array, offset: number, options?: IoOptions): Promise<void> {
    return this.#lock.shared(async () => {
      for (const piece of this.#pieces(offset, into.length)) {
        const start = piece.offset - offset;
        await this.#readPiece(into.subarray(start, start + piece.strip.length), piece, options);
      }
    });
  }

  async write(from: Uint8Array, offset: number, options?: IoOptions): Promise<void> {
    await this.#o.beforeWrite();
    const rowBytes = this.#o.chunk * this.#columns;
    const end = offset + from.length;
    for (let at = offset; at < end; ) {
      const part = Math.min(end - at, rowBytes - (at % rowBytes));
      const bytes = from.subarray(at - offset, at - offset + part);
      const start = at;
      await this.#lock.exclusive(() => this.#writeRow(bytes, start, options));
      at += part;
    }
  }

  async zero(offset: number, length: number, options?: IoOptions): Promise<void> {
    const zeros = new Uint8Array(Math.min(length, STRIP_BYTES));
    for (let done = 0; done < length; ) {
      const part = Math.min(zeros.length, length - done);
      await this.write(zeros.subarray(0, part), offset + done, options);
      done += part;
    }
  }

  /** Nothing: parity would no longer fit what discarded blocks read as. */
  async discard(): Promise<void> {}

  async *extents(offset: number, length: number, options?: IoOptions): AsyncIterable<Extent> {
    for (const { offset: start, column, strip } of this.#pieces(offset, length)) {
      const leg = this.#o.legs[strip.row.data[column]!]!;
      if (!validRun(leg, strip.at, strip.length).valid) {
        yield { offset: start, length: strip.length, kind: "data" };
        continue;
      }
      const shift = start - strip.at;
      for await (const e of leg.device.extents(strip.at, strip.length, options)) {
        yield { ...e, offset: e.offset + shift };
      }
    }
  }

  async flush(): Promise<void> {
    for (const leg of this.#o.legs) await leg?.device.flush();
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  /** Runs inside one chunk each. */
  *#pieces(offset: number, length: number): Iterable<Piece> {
    const end = offset + length;
    for (let at = offset; at < end; ) {
      const { rowNumber, column, inChunk } = this.#locate(at);
      const most = Math.min(end - at, this.#o.chunk - inChunk);
      const strip = this.#strip(rowNumber, inChunk, most);
      yield { offset: at, column, strip };
      at += strip.length;
    }
  }

  #locate(offset: number): { readonly rowNumber: number; readonly column: number; readonly inChunk: number } {
    const inChunk = offset % this.#o.chunk;
    const chunk = (offset - inChunk) / this.#o.chunk;
    const column = chunk % this.#columns;
    return { rowNumber: (chunk - column) / this.#columns, column, inChunk };
  }

  /** As long as asked for, or to where a leg changes between valid and stale. */
  #strip(rowNumber: number, inChunk: number, most: number): Strip {
    const { rows, chunk, legs } = this.#o;
    const at = rowNumber * chunk + inChunk;
    let length = Math.min(most, STRIP_BYTES);
    for (const leg of legs) length = validRun(leg, at, length).length;
    return { row: rows[rowNumber % rows.length]!, at, length };
  }

  async #readPiece(into: Uint8Array, piece: Piece, options: IoOptions | undefined): Promise<void> {
    const { strip, column } = piece;
    const number = strip.row.data[column]!;
    const leg = this.#o.legs[number]!;
    if (validRun(leg, strip.at, strip.length).valid) {
      const error = await readLeg(leg, into, strip.at, options);
      if (!error) return;
      if (strip.length > RETRY_BYTES) {
        for (let done = 0; done < strip.length; done += RETRY_BYTES) {
          const length = Math.min(RETRY_BYTES, strip.length - done);
          const part = { ...piece, strip: { ...strip, at: strip.at + done, length } };
          await this.#readPiece(into.subarray(done, done + length), part, options);
        }
        return;
      }
    }
    const columns = await loadColumns(this.#o, strip, [column], options);
    into.set(columns.get(column)!);
  }

  /** `from` lies in one row. It is cut so that in each part every column is written in full or not at all. */
  async #writeRow(from: Uint8Array, offset: number, options: IoOptions | undefined): Promise<void> {
    const { chunk } = this.#o;
    const first = this.#locate(offset);
    const last = this.#locate(offset + from.length - 1);
    const stop = last.inChunk + 1;
    const cuts = [...new Set([0, first.inChunk, stop, chunk])].sort((a, b) => a - b);
    for (let i = 0; i + 1 < cuts.length; i++) {
      const to = cuts[i + 1]!;
      for (let lo = cuts[i]!; lo < to; ) {
        const strip = this.#strip(first.rowNumber, lo, to - lo);
        const fresh = new Map<number, Uint8Array>();
        for (let column = first.column; column <= last.column; column++) {
          const begins = column === first.column ? first.inChunk : 0;
          const ends = column === last.column ? stop : chunk;
          if (lo < begins || lo >= ends) continue;
          const start = (column - first.column) * chunk - first.inChunk + lo;
          fresh.set(column, from.subarray(start, start + strip.length));
        }
        if (fresh.size > 0) await this.#writeStrip(strip, fresh, options);
        lo += strip.length;
      }
    }
  }

  /** Parity is made anew from all columns, so that it is right afterwards even where it was not before (an array that was not clean). */
  async #writeStrip(strip: Strip, fresh: Map<number, Uint8Array>, options: IoOptions | undefined): Promise<void> {
    const { legs } = this.#o;
    const { row, at, length } = strip;
    this.#requireRecoverable(strip);
    const parityLegs = [row.p, row.q].filter((n): n is number => n !== null && legs[n] !== null);
    const writes = [...fresh].map(([column, bytes]) => ({ leg: row.data[column]!, bytes }));
    if (parityLegs.length > 0) {
      const rest = row.data.map((_, column) => column).filter((column) => !fresh.has(column));
      const old = await loadColumns(this.#o, strip, rest, options);
      const columns = row.data.map((_, column) => fresh.get(column) ?? old.get(column)!);
      for (const leg of parityLegs) {
        writes.push({ leg, bytes: leg === row.p ? parityP(columns) : parityQ(columns, row.exponents) });
      }
    }
    for (const { leg, bytes } of writes) await legs[leg]?.device.write(bytes.subarray(0, length), at, options);
  }

  /** What is written must be readable afterwards. */
  #requireRecoverable({ row, at, length }: Strip): void {
    const lost = (leg: number | null) => leg === null || !validRun(this.#o.legs[leg]!, at, length).valid;
    const data = row.data.filter(lost);
    const parities = [row.p, row.q].filter((leg) => !lost(leg));
    if (data.length > parities.length) throw unreadable(data, this.#o.layer, at, null);
  }
}

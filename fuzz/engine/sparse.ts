import { deflateRawSync, inflateRawSync } from "node:zlib";

const PAGE = 4096;

/**
 * A disk, a file or a stream as the fuzzer keeps it: a size in bytes and the 4-KiB pages that are not all zero. Copies share
 * pages until one of them writes, so that a mutated disk of many GiB costs a few KiB.
 */
export class Sparse {
  size: number;
  readonly #pages: Map<number, Uint8Array>;
  /** Pages that belong to this copy alone. */
  readonly #own = new Set<number>();

  constructor(size: number, pages: ReadonlyMap<number, Uint8Array> = new Map()) {
    this.size = size;
    this.#pages = new Map(pages);
  }

  static of(bytes: Uint8Array): Sparse {
    const image = new Sparse(bytes.length);
    image.write(0, bytes);
    return image;
  }

  clone(): Sparse {
    this.#own.clear();
    return new Sparse(this.size, this.#pages);
  }

  /** Numbers of the pages that are kept, ascending. */
  pages(): number[] {
    return [...this.#pages.keys()].sort((a, b) => a - b);
  }

  readInto(into: Uint8Array, offset: number): void {
    const end = offset + into.length;
    if (this.#pages.size < into.length / PAGE) {
      into.fill(0);
      for (const [page, bytes] of this.#pages) copyPage(bytes, page * PAGE, into, offset, end);
      return;
    }
    for (let at = offset; at < end; ) {
      const page = Math.floor(at / PAGE);
      const to = Math.min(end, (page + 1) * PAGE);
      const bytes = this.#pages.get(page);
      if (bytes) into.set(bytes.subarray(at - page * PAGE, to - page * PAGE), at - offset);
      else into.fill(0, at - offset, to - offset);
      at = to;
    }
  }

  /** What lies beyond the end reads as zeros. */
  read(offset: number, length: number): Uint8Array {
    const out = new Uint8Array(length);
    this.readInto(out, offset);
    return out;
  }

  /** Bytes beyond the end are dropped. */
  write(offset: number, bytes: Uint8Array): void {
    const end = Math.min(offset + bytes.length, this.size);
    for (let at = offset; at < end; ) {
      const page = Math.floor(at / PAGE);
      const to = Math.min(end, (page + 1) * PAGE);
      const part = bytes.subarray(at - offset, to - offset);
      if (this.#pages.has(page) || part.some((b) => b !== 0)) this.#page(page).set(part, at - page * PAGE);
      at = to;
    }
  }

  /** Cuts or extends; bytes beyond the new end are forgotten. */
  resize(size: number): void {
    this.size = size;
    for (const page of [...this.#pages.keys()]) {
      if (page * PAGE >= size) this.#pages.delete(page);
      else if ((page + 1) * PAGE > size) this.#page(page).fill(0, size - page * PAGE);
    }
  }

  /** Packs into `into` at `at`, for another thread; where it ends, or -1 when there is no room. */
  pack(into: Uint8Array, at: number): number {
    const end = at + 16 + this.#pages.size * (8 + PAGE);
    if (end > into.length) return -1;
    const view = new DataView(into.buffer, into.byteOffset);
    view.setFloat64(at, this.size);
    view.setFloat64(at + 8, this.#pages.size);
    let next = at + 16;
    for (const [page, bytes] of this.#pages) {
      view.setFloat64(next, page);
      into.set(bytes, next + 8);
      next += 8 + PAGE;
    }
    return end;
  }

  static unpack(from: Uint8Array, at: number): { image: Sparse; end: number } {
    const view = new DataView(from.buffer, from.byteOffset);
    const pages = new Map<number, Uint8Array>();
    let next = at + 16;
    for (let i = view.getFloat64(at + 8); i > 0; i--) {
      pages.set(view.getFloat64(next), Uint8Array.from(from.subarray(next + 8, next + 8 + PAGE)));
      next += 8 + PAGE;
    }
    return { image: new Sparse(view.getFloat64(at), pages), end: next };
  }

  toJson(): SparseJson {
    const pages = this.pages().filter((p) => this.#pages.get(p)!.some((b) => b !== 0));
    const data = Buffer.concat(pages.map((p) => this.#pages.get(p)!));
    return { size: this.size, pages, data: deflateRawSync(data, { level: 9 }).toString("base64") };
  }

  static fromJson(json: SparseJson): Sparse {
    const data = inflateRawSync(Buffer.from(json.data, "base64"));
    return new Sparse(json.size, new Map(json.pages.map((p, i) => [p, data.subarray(i * PAGE, (i + 1) * PAGE)])));
  }

  #page(number: number): Uint8Array {
    let bytes = this.#pages.get(number);
    if (!bytes || !this.#own.has(number)) {
      const copy = new Uint8Array(PAGE);
      if (bytes) copy.set(bytes);
      bytes = copy;
      this.#pages.set(number, bytes);
      this.#own.add(number);
    }
    return bytes;
  }
}

function copyPage(bytes: Uint8Array, at: number, into: Uint8Array, offset: number, end: number): void {
  const from = Math.max(at, offset);
  const to = Math.min(at + PAGE, end);
  if (from < to) into.set(bytes.subarray(from - at, to - at), from - offset);
}

/** `data`: the pages one after another, deflated, base64. */
export interface SparseJson {
  readonly size: number;
  readonly pages: readonly number[];
  readonly data: string;
}

/** What a target is fed: the disks of a set, or an image and its backing file, or one stream. */
export type Input = readonly Sparse[];

export function cloneInput(input: Input): Sparse[] {
  return input.map((part) => part.clone());
}

import { type WasmMemory, wasmInstance } from "../bytes/wasm.ts";
import { XTS_WASM } from "./xts-wasm.ts";

/** Bytes that are worked on at once. They stay in the processor's cache. */
export const CRYPT_CHUNK = 64 * 1024;
/** The smallest sectors have one tweak of 16 bytes in 512. */
const TWEAKS_BYTES = CRYPT_CHUNK / 32;

/** Where the module's memory holds the data, then what is XORed (IVs, shifted ciphertext, a tweak for each block), then a tweak for each sector. */
const DATA = 0;
const OTHER = CRYPT_CHUNK;
const TWEAKS = 2 * CRYPT_CHUNK;
/** Then buffers for callers, whose content is worked on where it is. Memory that nobody touches costs nothing. */
const BUFFERS = 3 * CRYPT_CHUNK;
const BUFFERS_BYTES = 12 * 1024 * 1024;

interface Exports {
  readonly memory: WasmMemory;
  xorTweaks(data: number, expanded: number, tweaks: number, sectors: number, sectorBytes: number): void;
  xor(to: number, from: number, bytes: number): void;
  numbers(to: number, end: number, low: number, high: number, step: number): void;
}

/** Working memory and SIMD loops, shared by all ciphers of the process: each use is synchronous from start to end. */
export interface XorEngine {
  /** `CRYPT_CHUNK` bytes to work on. */
  readonly data: Uint8Array;
  /** `CRYPT_CHUNK` bytes of what is XORed. */
  readonly other: Uint8Array;
  /** A tweak of 16 bytes for each sector. */
  readonly tweaks: Uint8Array;
  /** Where `bytes` lie in the memory that the loops work on; null: elsewhere, so that they have to be copied into `data`. */
  place(bytes: Uint8Array): number | null;
  /**
   * Expands the tweaks of `sectors` sectors of `sectorBytes` (a multiple of 16) into `other`, a block's for each block, and XORs them
   * into what lies at `place`.
   */
  xorTweaks(sectors: number, sectorBytes: number, place?: number): void;
  /** XORs `other[0..bytes)` into what lies at `place`; bytes: a positive multiple of 16. */
  xor(bytes: number, place?: number): void;
  /** Puts the IVs of `plain64` for `sectors` sectors into `tweaks`: their numbers, from `first` on by `step`. */
  numbers(first: number, step: number, sectors: number): void;
  /** So many bytes in a row for a caller's own use; null where no such run is left. */
  borrow(bytes: number): { readonly memory: Uint8Array; release(): void } | null;
}

let engine: XorEngine | undefined;

export function xorEngine(): XorEngine {
  engine ??= create();
  return engine;
}

function create(): XorEngine {
  const wasm = wasmInstance(XTS_WASM) as Exports;
  /** What is lent out, ascending. */
  const lent: { readonly start: number; readonly end: number }[] = [];
  return {
    data: new Uint8Array(wasm.memory.buffer, DATA, CRYPT_CHUNK),
    other: new Uint8Array(wasm.memory.buffer, OTHER, CRYPT_CHUNK),
    tweaks: new Uint8Array(wasm.memory.buffer, TWEAKS, TWEAKS_BYTES),
    place: (bytes) => (bytes.buffer === wasm.memory.buffer ? bytes.byteOffset : null),
    xorTweaks: (sectors, sectorBytes, place = DATA) => wasm.xorTweaks(place, OTHER, TWEAKS, sectors, sectorBytes),
    xor: (bytes, place = DATA) => wasm.xor(place, OTHER, bytes),
    numbers(first, step, sectors) {
      const low = first % 2 ** 32;
      wasm.numbers(TWEAKS, TWEAKS + sectors * 16, low, (first - low) / 2 ** 32, step);
    },
    borrow(bytes) {
      let start = BUFFERS;
      let index = 0;
      while (index < lent.length && lent[index]!.start - start < bytes) start = lent[index++]!.end;
      if (start + bytes > BUFFERS + BUFFERS_BYTES) return null;
      const range = { start, end: start + bytes };
      lent.splice(index, 0, range);
      return {
        memory: new Uint8Array(wasm.memory.buffer, start, bytes),
        release: () => {
          const at = lent.indexOf(range);
          if (at >= 0) lent.splice(at, 1);
        },
      };
    },
  };
}

/**
 * Buffers of `bytes` each for reading and writing much, in memory where encryption needs no copies of it: given back by disposal, when
 * nothing is read into them any more. Ordinary memory where nothing is encrypted, or others have it all.
 */
export function workBuffers(count: number, bytes: number): Disposable & { readonly buffers: readonly Uint8Array[] } {
  const found = engine?.borrow(count * bytes) ?? null;
  const buffers = Array.from({ length: count }, (_, i) =>
    found ? found.memory.subarray(i * bytes, (i + 1) * bytes) : new Uint8Array(bytes),
  );
  return { buffers, [Symbol.dispose]: () => found?.release() };
}

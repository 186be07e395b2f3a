import { XTS_WASM } from "./xts-wasm.ts";

/** Bytes that are worked on at once. They stay in the processor's cache. */
export const CRYPT_CHUNK = 64 * 1024;
/** The smallest sectors have one tweak of 16 bytes in 512. */
const TWEAKS_BYTES = CRYPT_CHUNK / 32;

/** Where the module's memory holds the data, then what is XORed (IVs, shifted ciphertext, a tweak for each block), then a tweak for each sector. */
const DATA = 0;
const OTHER = CRYPT_CHUNK;
const TWEAKS = 2 * CRYPT_CHUNK;

/** The part of the WebAssembly JavaScript API that is used; it is typed only in TypeScript's DOM library. */
interface WasmApi {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object) => { readonly exports: unknown };
}

interface Exports {
  readonly memory: { readonly buffer: ArrayBuffer };
  xorTweaks(data: number, expanded: number, tweaks: number, sectors: number, sectorBytes: number): void;
  xor(to: number, from: number, bytes: number): void;
}

/** Working memory and SIMD loops, shared by all ciphers of the process: each use is synchronous from start to end. */
export interface XorEngine {
  /** `CRYPT_CHUNK` bytes to work on. */
  readonly data: Uint8Array;
  /** `CRYPT_CHUNK` bytes of what is XORed. */
  readonly other: Uint8Array;
  /** A tweak of 16 bytes for each sector. */
  readonly tweaks: Uint8Array;
  /** Expands the tweaks of `sectors` sectors of `sectorBytes` (a multiple of 16) into `other`, a block's for each block, and XORs them into `data`. */
  xorTweaks(sectors: number, sectorBytes: number): void;
  /** `data[0..bytes) ^= other[0..bytes)`; bytes: a positive multiple of 16. */
  xor(bytes: number): void;
}

let engine: XorEngine | undefined;

export function xorEngine(): XorEngine {
  engine ??= create();
  return engine;
}

function create(): XorEngine {
  const { Module, Instance } = (globalThis as unknown as { WebAssembly: WasmApi }).WebAssembly;
  const wasm = new Instance(new Module(Buffer.from(XTS_WASM, "base64"))).exports as Exports;
  return {
    data: new Uint8Array(wasm.memory.buffer, DATA, CRYPT_CHUNK),
    other: new Uint8Array(wasm.memory.buffer, OTHER, CRYPT_CHUNK),
    tweaks: new Uint8Array(wasm.memory.buffer, TWEAKS, TWEAKS_BYTES),
    xorTweaks: (sectors, sectorBytes) => wasm.xorTweaks(DATA, OTHER, TWEAKS, sectors, sectorBytes),
    xor: (bytes) => wasm.xor(DATA, OTHER, bytes),
  };
}

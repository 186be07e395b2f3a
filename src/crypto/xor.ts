import { XTS_WASM } from "./xts-wasm.ts";

/**
 * Bytes that one call works on. OpenSSL's results are allocated anew by each call: larger ones are given back to the system and
 * faulted in again every time, which can take longer than the cipher.
 */
export const CRYPT_CHUNK = 32 * 1024;

/** Where the module's memory holds the data, and where the tweaks, IVs or shifted ciphertext. */
const DATA = 0;
const OTHER = CRYPT_CHUNK;

/** The part of the WebAssembly JavaScript API that is used; it is typed only in TypeScript's DOM library. */
interface WasmApi {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object) => { readonly exports: unknown };
}

interface Exports {
  readonly memory: { readonly buffer: ArrayBuffer };
  xorTweaks(data: number, tweaks: number, sectors: number, sectorBytes: number): void;
  xor(to: number, from: number, bytes: number): void;
}

/** Working memory and SIMD loops, shared by all ciphers of the process: each use is synchronous from start to end. */
export interface XorEngine {
  /** `CRYPT_CHUNK` bytes to work on. */
  readonly data: Uint8Array;
  /** `CRYPT_CHUNK` bytes for tweaks (16 a sector) or for what is XORed. */
  readonly other: Uint8Array;
  /** XORs the expanded tweaks of `sectors` sectors of `sectorBytes` into `data`; `other` starts with one tweak a sector. */
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
    xorTweaks: (sectors, sectorBytes) => wasm.xorTweaks(DATA, OTHER, sectors, sectorBytes),
    xor: (bytes) => wasm.xor(DATA, OTHER, bytes),
  };
}

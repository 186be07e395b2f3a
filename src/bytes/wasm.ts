/** The part of the WebAssembly JavaScript API that is used; it is typed only in TypeScript's DOM library. */
interface WasmApi {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object) => { readonly exports: unknown };
}

export interface WasmMemory {
  readonly buffer: ArrayBuffer;
}

/** A new instance of a module that needs no imports; its exports are what the module's text says. */
export function wasmInstance(base64: string): unknown {
  const { Module, Instance } = (globalThis as unknown as { WebAssembly: WasmApi }).WebAssembly;
  return new Instance(new Module(Buffer.from(base64, "base64"))).exports;
}

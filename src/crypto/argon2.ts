import { wipe } from "./wipe.ts";

interface Argon2Cost {
  readonly type: "argon2i" | "argon2id";
  readonly time: number;
  readonly memoryKiB: number;
  readonly cpus: number;
  readonly salt: Uint8Array;
}

export type Argon2Engine = (secret: Uint8Array, cost: Argon2Cost, length: number) => Promise<Uint8Array>;

let engine: Promise<Argon2Engine> | undefined;

/** Raw Argon2 version 1.3 (RFC 9106), as libargon2 computes it for cryptsetup. Rejects when the memory cannot be had. */
export async function argon2(secret: Uint8Array, cost: Argon2Cost, length: number): Promise<Uint8Array> {
  engine ??= nativeArgon2().catch(wasmArgon2);
  return (await engine)(secret, cost, length);
}

/** Machine code from the package @node-rs/argon2; rejects where it has none for this system. */
export async function nativeArgon2(): Promise<Argon2Engine> {
  const { hashRaw } = await import("@node-rs/argon2");
  return (secret, cost, length) =>
    hashRaw(secret, {
      algorithm: cost.type === "argon2i" ? 1 : 2,
      version: 1,
      timeCost: cost.time,
      memoryCost: cost.memoryKiB,
      parallelism: cost.cpus,
      outputLen: length,
      salt: cost.salt,
    });
}

/** The portable one, several times slower. WebAssembly's memory ends at 4 GiB. */
export async function wasmArgon2(): Promise<Argon2Engine> {
  const { argon2i, argon2id } = await import("hash-wasm");
  return async (secret, cost, length) => {
    const password = new Uint8Array(secret);
    try {
      return await (cost.type === "argon2i" ? argon2i : argon2id)({
        password,
        salt: cost.salt,
        iterations: cost.time,
        parallelism: cost.cpus,
        memorySize: cost.memoryKiB,
        hashLength: length,
        outputType: "binary",
      });
    } finally {
      wipe(password);
    }
  };
}

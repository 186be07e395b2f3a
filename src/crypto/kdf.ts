import { pbkdf2 } from "node:crypto";
import { promisify } from "node:util";
import { argon2 } from "./argon2.ts";
import { opensslHash } from "./hash.ts";

/** How a passphrase becomes a key (LUKS2 On-Disk Format 1.1.4, Keyslots Object). */
export type Kdf =
  | { readonly type: "pbkdf2"; readonly hash: string; readonly iterations: number; readonly salt: Uint8Array }
  | {
      readonly type: "argon2i" | "argon2id";
      /** Passes over the memory. */
      readonly time: number;
      readonly memoryKiB: number;
      /** Lanes; at least 8 KiB of memory each (RFC 9106, 3.1). */
      readonly cpus: number;
      readonly salt: Uint8Array;
    };

/** Derives `length` bytes, which the caller wipes. Costs what `kdf` says: check it against limits before. */
export async function deriveKey(secret: Uint8Array, kdf: Kdf, length: number): Promise<Uint8Array> {
  if (kdf.type === "pbkdf2") return promisify(pbkdf2)(secret, kdf.salt, kdf.iterations, length, opensslHash(kdf.hash));
  return argon2(secret, kdf, length);
}

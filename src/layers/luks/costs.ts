import type { Limits } from "../../core/limits.ts";
import type { Kdf } from "../../crypto/kdf.ts";
import type { Keyslot } from "./types.ts";

/** RFC 9106, 3.1: at least 8 KiB for each lane, and a salt of at least 8 bytes. */
const ARGON2_LANE_KIB = 8;
const ARGON2_SALT_BYTES = 8;

/**
 * Why a keyslot must not be tried: what it asks for is above a limit, or above the memory that is free (an Argon2 that is
 * started anyway could end another process of the host). Null: nothing is in the way. `freeKiB`: memory available now.
 */
export function costProblem(keyslot: Keyslot, limits: Limits, freeKiB: number): string | null {
  const { kdf, digest } = keyslot;
  const digestProblem = above("PBKDF2 iterations of the digest", digest.iterations, limits, "pbkdf2Iterations");
  if (digestProblem) return digestProblem;
  if (kdf.type === "pbkdf2") return above("PBKDF2 iterations", kdf.iterations, limits, "pbkdf2Iterations");
  if (kdf.memoryKiB < ARGON2_LANE_KIB * kdf.cpus || kdf.salt.length < ARGON2_SALT_BYTES) {
    return "its Argon2 parameters are invalid";
  }
  return (
    above("KiB of memory for Argon2", kdf.memoryKiB, limits, "argon2MemoryKiB") ??
    above(`KiB that Argon2 fills in ${kdf.time} passes`, work(kdf), limits, "argon2Work") ??
    above("lanes of Argon2", kdf.cpus, limits, "argon2Lanes") ??
    (kdf.memoryKiB > freeKiB ? `Argon2 needs ${kdf.memoryKiB} KiB of memory, of which ${freeKiB} are free` : null)
  );
}

function above(what: string, value: number, limits: Limits, name: keyof Limits): string | null {
  if (value <= limits[name]) return null;
  return `${value} ${what} are above the limit of ${limits[name]} (raise it with --limit ${name}=${value})`;
}

/** Highest priority first, and among equals the one that takes the least time. */
export function inOrder(keyslots: readonly Keyslot[]): Keyslot[] {
  return [...keyslots].sort((a, b) => b.priority - a.priority || work(a.kdf) - work(b.kdf) || a.slot - b.slot);
}

/** Roughly microseconds on one core: an iteration of PBKDF2 and a KiB of one pass of Argon2 are both about one. */
function work(kdf: Kdf): number {
  return kdf.type === "pbkdf2" ? kdf.iterations : kdf.memoryKiB * kdf.time;
}

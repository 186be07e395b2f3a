import { timingSafeEqual } from "node:crypto";
import { freemem } from "node:os";
import { alignUp } from "../../bytes/integers.ts";
import { type BlockDevice, readBytes } from "../../core/device.ts";
import { describeError, StorageError } from "../../core/errors.ts";
import type { Layer, OpenContext, Secret } from "../../core/layer.ts";
import { afMerge } from "../../crypto/af.ts";
import { deriveKey } from "../../crypto/kdf.ts";
import { sectorCipher } from "../../crypto/sector-cipher.ts";
import { wipe } from "../../crypto/wipe.ts";
import { costProblem, inOrder } from "./costs.ts";
import type { Keyslot, LuksHeader } from "./types.ts";

/** A provider that never ends (a prompt fed by a script) is not asked more often than this. */
const ATTEMPTS_MAX = 100;

export interface Unlocked {
  /** The volume key; whoever gets it wipes it. */
  readonly key: Uint8Array;
  readonly slot: number;
  /** Where the secret came from. */
  readonly origin: string;
}

type UnlockContext = Pick<OpenContext, "keys" | "limits" | "signal">;

/**
 * Asks for secrets until one opens a keyslot or there are none left. `device` holds the header and keyslots.
 * Nothing is spent on a keyslot whose costs are above the limits.
 */
export async function unlock(
  header: LuksHeader,
  device: BlockDevice,
  context: UnlockContext,
): Promise<Unlocked | NonNullable<Layer["locked"]>> {
  const { kind, uuid, label } = header;
  const freeKiB = Math.floor(freemem() / 1024);
  const notes = new Set(header.unusable);
  const usable = inOrder(header.keyslots).filter((keyslot) => {
    const problem = costProblem(keyslot, context.limits, freeKiB);
    if (problem) notes.add(`keyslot ${keyslot.slot} was not tried: ${problem}`);
    return problem === null;
  });
  if (usable.length === 0) {
    return notes.size === 0
      ? { code: "no-key", reason: "no keyslot is active: the keys are gone" }
      : { code: "unsupported", reason: [...notes].join("; ") };
  }
  let tried = 0;
  for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
    const secrets = await context.keys.secretsFor({ layer: kind, uuid, label, attempt });
    if (secrets.length === 0) break;
    tried += secrets.length;
    for (const secret of secrets) {
      const opened = await trySecret(usable, secret, device, context, notes);
      if (opened) return opened;
    }
  }
  if (tried === 0) return { code: "no-key", reason: "no key was given" };
  const keys = tried === 1 ? "the key opens no keyslot" : `none of the ${tried} keys opens a keyslot`;
  return { code: "wrong-key", reason: [keys, ...notes].join("; ") };
}

async function trySecret(
  keyslots: readonly Keyslot[],
  secret: Secret,
  device: BlockDevice,
  context: UnlockContext,
  notes: Set<string>,
): Promise<Unlocked | null> {
  for (const keyslot of keyslots) {
    if (context.signal?.aborted) throw new StorageError("cancelled", "cancelled", { layer: "luks" });
    try {
      const key = await tryKeyslot(keyslot, secret.bytes, device);
      if (key) return { key, slot: keyslot.slot, origin: secret.origin };
    } catch (error) {
      if (error instanceof StorageError && error.code === "cancelled") throw error;
      // An unreadable keyslot or too little memory for its KDF: another keyslot may still open.
      notes.add(`keyslot ${keyslot.slot} failed: ${describeError(error)}`);
    }
  }
  return null;
}

/** The volume key, or null when the secret is not this keyslot's (LUKS1 On-Disk Format 1.2.3, 4.3). */
async function tryKeyslot(keyslot: Keyslot, secret: Uint8Array, device: BlockDevice): Promise<Uint8Array | null> {
  const { area, keyBytes, stripes, digest } = keyslot;
  const material = await readBytes(device, area.offset, alignUp(keyBytes * stripes, 512));
  const derived = await deriveKey(secret, keyslot.kdf, area.keyBytes);
  try {
    sectorCipher(area.cipher, derived, 512).decrypt(material, 0);
  } finally {
    wipe(derived);
  }
  const key = afMerge(material, keyBytes, stripes, keyslot.afHash);
  wipe(material);
  const found = await deriveKey(key, { type: "pbkdf2", ...digest }, digest.value.length);
  if (timingSafeEqual(found, digest.value)) return key;
  wipe(key);
  return null;
}

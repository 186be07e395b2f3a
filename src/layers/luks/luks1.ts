import { alignUp } from "../../bytes/integers.ts";
import { type Decoded, struct } from "../../bytes/struct.ts";
import { shortPrintable } from "../../bytes/text.ts";
import { type BlockDevice, readBytes } from "../../core/device.ts";
import { StorageError } from "../../core/errors.ts";
import type { Finding } from "../../core/finding.ts";
import { hashKnown } from "../../crypto/hash.ts";
import { cipherSpec } from "../../crypto/sector-cipher.ts";
import type { Keyslot, LuksHeader } from "./types.ts";

/** Offsets in a LUKS1 header count sectors of this many bytes. */
const SECTOR = 512;
/** LUKS1 On-Disk Format 1.2.3, figure 2. */
const KEYSLOTS = 8;
const STRIPES = 4000;
const ENABLED = 0x00ac71f3;
const DISABLED = 0x0000dead;
/** The longest key of any cipher that cryptsetup formats LUKS1 with is 64 bytes; above this the header is noise. */
const KEY_BYTES_MAX = 512;

/** LUKS1 On-Disk Format 1.2.3, figure 1. */
const LUKS1_HEADER = struct("luks1", "big", {
  magic: { at: 0, type: "bytes", length: 6 },
  version: { at: 6, type: "u16" },
  cipherName: { at: 8, type: "ascii", length: 32 },
  cipherMode: { at: 40, type: "ascii", length: 32 },
  hashSpec: { at: 72, type: "ascii", length: 32 },
  payloadOffset: { at: 104, type: "u32", ref: "sectors" },
  keyBytes: { at: 108, type: "u32" },
  mkDigest: { at: 112, type: "bytes", length: 20 },
  mkDigestSalt: { at: 132, type: "bytes", length: 32 },
  mkDigestIterations: { at: 164, type: "u32" },
  uuid: { at: 168, type: "ascii", length: 40 },
});

/** LUKS1 On-Disk Format 1.2.3, figure 2. */
const LUKS1_KEYSLOT = struct("luks1 keyslot", "big", {
  active: { at: 0, type: "u32" },
  iterations: { at: 4, type: "u32" },
  salt: { at: 8, type: "bytes", length: 32 },
  offset: { at: 40, type: "u32", ref: "sectors" },
  stripes: { at: 44, type: "u32" },
});

/** The eight keyslots follow the header at once. */
const KEYSLOTS_AT = 208;
const LENGTH = KEYSLOTS_AT + KEYSLOTS * LUKS1_KEYSLOT.size;

type RawHeader = Decoded<typeof LUKS1_HEADER.fields>;
type RawSlot = Decoded<typeof LUKS1_KEYSLOT.fields>;

/** Reads and verifies the header at the start of `device`; `corrupt` when it contradicts the specification. */
export async function readLuks1(device: BlockDevice): Promise<LuksHeader> {
  if (device.size < LENGTH) throw corrupt("the header is cut off", 0);
  const bytes = await readBytes(device, 0, LENGTH);
  const raw = LUKS1_HEADER.decode(bytes);
  const slots = Array.from({ length: KEYSLOTS }, (_, i) =>
    LUKS1_KEYSLOT.decode(bytes, KEYSLOTS_AT + i * LUKS1_KEYSLOT.size),
  );
  const findings: Finding[] = [];
  validate(raw, slots, findings);
  return headerOf(raw, slots, findings);
}

function validate(raw: RawHeader, slots: readonly RawSlot[], findings: Finding[]): void {
  if (raw.keyBytes === 0 || raw.keyBytes > KEY_BYTES_MAX) {
    throw corrupt(`the volume key is said to have ${raw.keyBytes} bytes`, 108);
  }
  if (raw.mkDigestIterations === 0) throw corrupt("the volume key's digest has no iterations", 164);
  const areaSectors = alignUp(raw.keyBytes * STRIPES, SECTOR) / SECTOR;
  const headerSectors = alignUp(LENGTH, SECTOR) / SECTOR;
  slots.forEach((slot, i) => {
    const at = KEYSLOTS_AT + i * LUKS1_KEYSLOT.size;
    // All of this holds for disabled keyslots as well: enabling one must not destroy anything (cryptsetup checks the same).
    if (slot.stripes !== STRIPES) throw corrupt(`keyslot ${i} has ${slot.stripes} stripes, not ${STRIPES}`, at);
    if (slot.offset < headerSectors) throw corrupt(`keyslot ${i} lies in the header`, at);
    // A payload offset of 0 occurs in detached headers only.
    if (raw.payloadOffset !== 0 && slot.offset + areaSectors > raw.payloadOffset) {
      throw corrupt(`keyslot ${i} reaches into the payload`, at);
    }
    if (slot.active === ENABLED && slot.iterations === 0) throw corrupt(`keyslot ${i} has no iterations`, at);
    if (slot.active !== ENABLED && slot.active !== DISABLED) {
      findings.push({
        severity: "warning",
        code: "luks1-keyslot-state",
        message: `keyslot ${i} is neither enabled nor disabled (0x${slot.active.toString(16)}); it is not used`,
        layer: "luks1",
        offset: at,
      });
    }
  });
  const order = slots.map((slot, i) => ({ i, offset: slot.offset })).sort((a, b) => a.offset - b.offset);
  order.forEach(({ i, offset }, n) => {
    const before = order[n - 1];
    if (before && offset < before.offset + areaSectors) {
      throw corrupt(
        `the keyslots ${before.i} and ${i} overlap`,
        KEYSLOTS_AT + Math.max(i, before.i) * LUKS1_KEYSLOT.size,
      );
    }
  });
}

function headerOf(raw: RawHeader, slots: readonly RawSlot[], findings: readonly Finding[]): LuksHeader {
  const name = `${raw.cipherName}-${raw.cipherMode}`;
  const cipher = cipherSpec(name, raw.keyBytes);
  const active = slots.flatMap((slot, i) => (slot.active === ENABLED ? [{ slot, i }] : []));
  const hash = hashKnown(raw.hashSpec);
  return {
    kind: "luks1",
    uuid: raw.uuid,
    label: null,
    details: {
      uuid: raw.uuid,
      cipher: name,
      keyBits: raw.keyBytes * 8,
      hash: raw.hashSpec,
      payloadOffset: raw.payloadOffset * SECTOR,
      mkDigestIterations: raw.mkDigestIterations,
      keyslots: slots.map((slot, i) => ({
        slot: i,
        active: slot.active === ENABLED,
        iterations: slot.iterations,
        stripes: slot.stripes,
        offset: slot.offset * SECTOR,
      })),
    },
    findings,
    keyslots: cipher && hash ? active.map(({ slot, i }) => keyslotOf(raw, slot, i, cipher)) : [],
    unusable: hash
      ? []
      : active.map(({ i }) => `keyslot ${i}: the hash ${shortPrintable(raw.hashSpec)} is not supported`),
    payload: cipher
      ? {
          offset: raw.payloadOffset * SECTOR,
          size: null,
          sectorSize: SECTOR,
          ivOffset: 0,
          cipher,
          keyBytes: raw.keyBytes,
        }
      : {
          code: "unsupported",
          refused: `the cipher ${shortPrintable(name)} with a key of ${raw.keyBytes * 8} bits is not supported`,
        },
  };
}

function keyslotOf(raw: RawHeader, slot: RawSlot, i: number, cipher: Keyslot["area"]["cipher"]): Keyslot {
  return {
    slot: i,
    priority: 1,
    kdf: { type: "pbkdf2", hash: raw.hashSpec, iterations: slot.iterations, salt: slot.salt },
    area: { offset: slot.offset * SECTOR, cipher, keyBytes: raw.keyBytes },
    stripes: slot.stripes,
    afHash: raw.hashSpec,
    keyBytes: raw.keyBytes,
    digest: {
      hash: raw.hashSpec,
      iterations: raw.mkDigestIterations,
      salt: raw.mkDigestSalt,
      value: raw.mkDigest,
    },
  };
}

function corrupt(message: string, offset: number): StorageError {
  return new StorageError("corrupt", message, { layer: "luks1", offset });
}

import { shortPrintable } from "../../bytes/text.ts";
import type { BlockDevice } from "../../core/device.ts";
import type { Finding } from "../../core/finding.ts";
import type { Limits } from "../../core/limits.ts";
import { hashKnown } from "../../crypto/hash.ts";
import { cipherSpec } from "../../crypto/sector-cipher.ts";
import { type Luks2Copy, readLuks2 as readHeaders } from "./luks2-binary.ts";
import { isBackup, type Luks2Digest, type Luks2Keyslot, type Luks2Segment } from "./luks2-metadata.ts";
import type { Keyslot, LuksHeader, Payload, Refusal } from "./types.ts";

/** Reads and verifies the headers of `device`; `corrupt` when neither is valid. */
export async function readLuks2(device: BlockDevice, limits: Limits): Promise<LuksHeader> {
  const { header, findings } = await readHeaders(device, limits);
  return headerOf(header, findings);
}

function headerOf(copy: Luks2Copy, findings: readonly Finding[]): LuksHeader {
  const { metadata } = copy;
  const active = metadata.segments.filter((s) => !isBackup(s));
  const segment = active.find((s) => s.crypt) ?? null;
  const digest = segment && (metadata.digests.find((d) => d.segments.includes(segment.id)) ?? null);
  const bound = metadata.keyslots.filter((k) => digest?.keyslots.includes(k.id));
  const keyBytes = bound[0]?.keyBytes ?? null;
  const slots = bound.map((k) => keyslotOf(k, digest, keyBytes));
  return {
    kind: "luks2",
    uuid: copy.uuid,
    label: copy.label,
    details: details(copy, segment, keyBytes),
    findings,
    keyslots: slots.filter((s): s is Keyslot => typeof s !== "string"),
    unusable: slots.filter((s): s is string => typeof s === "string"),
    payload: payloadOf(copy, active, keyBytes),
  };
}

/** A keyslot as the unlocking needs it, or why it cannot be used. */
function keyslotOf(k: Luks2Keyslot, digest: Luks2Digest | null, keyBytes: number | null): Keyslot | string {
  const cannot = (why: string) => `keyslot ${k.id}: ${why}`;
  const no = (what: string, name: string) => cannot(`the ${what} ${shortPrintable(name)} is not supported`);
  if (k.type !== "luks2") return no("type", k.type);
  if (!k.key) return no("key derivation", k.kdfType ?? "");
  if (!digest?.pbkdf2) return cannot("its digest is of an unsupported type");
  if (!hashKnown(digest.pbkdf2.hash)) return no("hash", digest.pbkdf2.hash);
  if (!hashKnown(k.key.afHash)) return no("hash", k.key.afHash);
  if (k.key.kdf.type === "pbkdf2" && !hashKnown(k.key.kdf.hash)) return no("hash", k.key.kdf.hash);
  if (k.keyBytes !== keyBytes) return cannot("its key has another length than that of the first keyslot");
  const cipher = cipherSpec(k.key.encryption, k.key.areaKeyBytes);
  if (!cipher) return no("cipher", `${k.key.encryption} with a key of ${k.key.areaKeyBytes * 8} bits`);
  return {
    slot: k.id,
    priority: k.priority,
    kdf: k.key.kdf,
    area: { offset: k.area.offset, cipher, keyBytes: k.key.areaKeyBytes },
    stripes: 4000,
    afHash: k.key.afHash,
    keyBytes: k.keyBytes,
    digest: digest.pbkdf2,
  };
}

/** Requirements that say that the data is being re-encrypted (LUKS2, Config Object, "requirements"). */
const REENCRYPT = ["offline-reencrypt", "online-reencrypt", "online-reencrypt-v2", "online-reencrypt-v3"];

function payloadOf(copy: Luks2Copy, segments: readonly Luks2Segment[], keyBytes: number | null): Payload | Refusal {
  const refused = (text: string): Refusal => ({ code: "unsupported", refused: text });
  const { requirements } = copy.metadata;
  if (requirements.some((r) => REENCRYPT.includes(r))) {
    return refused(
      `a re-encryption was begun and is not finished (${requirements.map(shortPrintable).join(", ")}): end it first with cryptsetup reencrypt --resume-only`,
    );
  }
  if (requirements.length > 0) {
    return refused(`the header requires ${requirements.map(shortPrintable).join(", ")}, which is not supported`);
  }
  // Not without a requirement in a sane header; a hostile one could have half of the data taken for plaintext.
  if (segments.some((s) => s.flags.includes("in-reencrypt"))) return refused("a segment is said to be re-encrypted");
  const other = segments.find((s) => !s.crypt);
  if (other) return refused(`a segment of the type ${shortPrintable(other.type)} is not supported`);
  const [segment] = segments;
  // cryptsetup itself opens the first of them up to the device's end (LUKS2_activate in lib/luks2/luks2_json_metadata.c): nobody can say which is right.
  if (segments.length !== 1 || !segment?.crypt)
    return refused(`${segments.length} data segments without a re-encryption are not supported`);
  const { crypt } = segment;
  if (crypt.integrity !== null) {
    return refused(
      `integrity protection (${shortPrintable(crypt.integrity)}, dm-integrity) is not supported: only a kernel can open it (cryptsetup open)`,
    );
  }
  if (keyBytes === null) return { code: "no-key", refused: "no keyslot is left that opens the data: its key is gone" };
  const cipher = cipherSpec(crypt.encryption, keyBytes);
  if (!cipher) {
    return refused(
      `the cipher ${shortPrintable(crypt.encryption)} with a key of ${keyBytes * 8} bits is not supported`,
    );
  }
  return {
    offset: segment.offset,
    size: segment.size,
    sectorSize: crypt.sectorSize,
    ivOffset: crypt.ivTweak,
    cipher,
    keyBytes,
  };
}

function details(copy: Luks2Copy, segment: Luks2Segment | null, keyBytes: number | null) {
  const { metadata } = copy;
  return {
    uuid: copy.uuid,
    label: copy.label,
    subsystem: copy.subsystem,
    sequenceId: copy.sequenceId <= Number.MAX_SAFE_INTEGER ? Number(copy.sequenceId) : String(copy.sequenceId),
    headerSize: copy.size,
    cipher: segment?.crypt?.encryption ?? null,
    keyBits: keyBytes === null ? null : keyBytes * 8,
    sectorSize: segment?.crypt?.sectorSize ?? null,
    payloadOffset: segment?.offset ?? null,
    keyslots: metadata.keyslots.map((k) => ({
      ...keyslotDetails(k),
      // As `cryptsetup luksDump` says of a key that opens no data.
      ...(k.type === "luks2" && !metadata.digests.some((d) => d.segments.length > 0 && d.keyslots.includes(k.id))
        ? { unbound: true }
        : {}),
    })),
    segments: metadata.segments.map((s) => ({
      id: s.id,
      type: s.type,
      offset: s.offset,
      size: s.size ?? "dynamic",
      flags: s.flags,
      ...(s.crypt
        ? {
            cipher: s.crypt.encryption,
            sectorSize: s.crypt.sectorSize,
            ivTweak: s.crypt.ivTweak,
            integrity: s.crypt.integrity,
          }
        : {}),
    })),
    tokens: metadata.tokens,
    flags: metadata.flags,
    requirements: metadata.requirements,
  };
}

function keyslotDetails(k: Luks2Keyslot) {
  const common = {
    slot: k.id,
    type: k.type,
    keyBits: k.keyBytes * 8,
    priority: ["ignore", "normal", "prefer"][k.priority],
  };
  if (!k.key) return { ...common, kdf: { type: k.kdfType }, cipher: null };
  const { kdf } = k.key;
  const shown =
    kdf.type === "pbkdf2"
      ? { type: kdf.type, hash: kdf.hash, iterations: kdf.iterations }
      : { type: kdf.type, time: kdf.time, memoryKiB: kdf.memoryKiB, cpus: kdf.cpus };
  return { ...common, kdf: shown, cipher: k.key.encryption, cipherKeyBits: k.key.areaKeyBytes * 8 };
}

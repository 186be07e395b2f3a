import { createHash } from "node:crypto";
import { crc32cRaw } from "../bytes/crc.ts";
import { exactNumber, isPowerOfTwo } from "../bytes/integers.ts";
import { type Decoded, struct } from "../bytes/struct.ts";
import { uuidText } from "../bytes/uuid.ts";
import type { Finding } from "../core/finding.ts";
import { badChecksum, hasText, jsonNumber, type Recogniser, readExactly, truncation, utf8Field } from "./info.ts";
import { uuidOrNull } from "./uuids.ts";

/** Primary superblock (BTRFS_SUPER_INFO_OFFSET, _SIZE); the mirrors at 64 MiB and 256 GiB are not looked at. */
export const BTRFS_SUPERBLOCK_OFFSET = 65536;
const SUPERBLOCK_SIZE = 4096;
const CHECKSUM_BYTES = 32;
/** A device smaller than this holds no Btrfs (libblkid's minsz). */
const MIN_DEVICE = 1024 * 1024;

/** struct btrfs_super_block with its dev_item (btrfs documentation, "On-disk format"; include/uapi/linux/btrfs_tree.h). */
export const BTRFS_SUPERBLOCK = struct("Btrfs superblock", "little", {
  checksum: { at: 0, type: "bytes", length: CHECKSUM_BYTES, ref: "csum" },
  fsid: { at: 32, type: "bytes", length: 16, ref: "fsid" },
  bytenr: { at: 48, type: "u64", ref: "bytenr" },
  flags: { at: 56, type: "u64", ref: "flags" },
  generation: { at: 72, type: "u64", ref: "generation" },
  logRoot: { at: 96, type: "u64", ref: "log_root" },
  totalBytes: { at: 112, type: "u64", ref: "total_bytes, of all devices" },
  bytesUsed: { at: 120, type: "u64", ref: "bytes_used" },
  devices: { at: 136, type: "u64", ref: "num_devices" },
  sectorSize: { at: 144, type: "u32", ref: "sectorsize" },
  nodeSize: { at: 148, type: "u32", ref: "nodesize" },
  compatRo: { at: 180, type: "u64", ref: "compat_ro_flags" },
  incompat: { at: 188, type: "u64", ref: "incompat_flags" },
  checksumType: { at: 196, type: "u16", ref: "csum_type" },
  deviceId: { at: 201, type: "u64", ref: "dev_item.devid" },
  deviceBytes: { at: 209, type: "u64", ref: "dev_item.total_bytes" },
  deviceBytesUsed: { at: 217, type: "u64", ref: "dev_item.bytes_used" },
  deviceUuid: { at: 267, type: "bytes", length: 16, ref: "dev_item.uuid" },
  label: { at: 299, type: "bytes", length: 256, ref: "label" },
});

export type BtrfsSuperblock = Decoded<typeof BTRFS_SUPERBLOCK.fields>;

const CHECKSUM_TYPES: Record<number, string> = { 0: "crc32c", 1: "xxhash64", 2: "sha256", 3: "blake2" };
/** super.flags: BTRFS_SUPER_FLAG_ERROR, _SEEDING, _METADUMP and its second version, _CHANGING_FSID and its second version. */
const FLAG_ERROR = 1n << 2n;
const FLAG_NAMES: readonly (readonly [bigint, string])[] = [
  [FLAG_ERROR, "error"],
  [1n << 32n, "seeding"],
  [1n << 33n, "metadump"],
  [1n << 34n, "metadump v2"],
  [1n << 35n, "changing fsid"],
  [1n << 36n, "changing fsid v2"],
];

export const btrfs: Recogniser = {
  name: "btrfs",
  usage: "filesystem",
  async recognise(window) {
    if (window.size < MIN_DEVICE) return null;
    const raw = await readExactly(window, BTRFS_SUPERBLOCK_OFFSET, SUPERBLOCK_SIZE);
    if (!raw || !hasText(raw, 64, "_BHRfS_M")) return null;
    const sb = BTRFS_SUPERBLOCK.decode(raw);
    const checksum = checksumState(sb, raw);
    const findings: Finding[] = truncation("btrfs", sb.deviceBytes, window, BTRFS_SUPERBLOCK_OFFSET);
    if (checksum === "wrong") findings.push(badChecksum("btrfs", BTRFS_SUPERBLOCK_OFFSET));
    if (checksum === "unverified") findings.push(unverified(sb));
    if (!isPowerOfTwo(sb.sectorSize) || !isPowerOfTwo(sb.nodeSize)) findings.push(invalidGeometry(sb));
    return {
      kind: "filesystem",
      type: "btrfs",
      uuid: uuidOrNull(sb.fsid),
      label: utf8Field(sb.label),
      size: exactNumber(sb.deviceBytes),
      state: stateOf(sb, findings),
      details: {
        sectorSize: sb.sectorSize,
        nodeSize: sb.nodeSize,
        generation: jsonNumber(sb.generation),
        totalBytes: jsonNumber(sb.totalBytes),
        bytesUsed: jsonNumber(sb.bytesUsed),
        devices: jsonNumber(sb.devices),
        deviceId: jsonNumber(sb.deviceId),
        deviceUuid: uuidText(sb.deviceUuid),
        deviceBytesUsed: jsonNumber(sb.deviceBytesUsed),
        checksumType: CHECKSUM_TYPES[sb.checksumType] ?? `unknown (${sb.checksumType})`,
        checksum,
        logReplayPending: sb.logRoot !== 0n,
        incompatFlags: `0x${sb.incompat.toString(16)}`,
        compatRoFlags: `0x${sb.compatRo.toString(16)}`,
        flags: FLAG_NAMES.filter(([bit]) => sb.flags & bit).map(([, name]) => name),
      },
      findings,
    };
  },
};

/** The superblock keeps no "mounted" mark: without a pending log it says nothing about how the last mount ended. */
function stateOf(sb: BtrfsSuperblock, findings: readonly Finding[]): string | null {
  if (findings.some((f) => f.code.startsWith("btrfs-superblock-"))) return "superblock damaged";
  if (sb.flags & FLAG_ERROR) return "errors";
  return sb.logRoot !== 0n ? "log replay pending" : null;
}

/** The checksum covers everything after its own 32 bytes. */
function checksumState(sb: BtrfsSuperblock, raw: Uint8Array): "valid" | "wrong" | "unverified" {
  const body = raw.subarray(CHECKSUM_BYTES);
  const expected = expectedChecksum(sb.checksumType, body);
  if (!expected) return "unverified";
  return Buffer.compare(expected, sb.checksum.subarray(0, expected.length)) === 0 ? "valid" : "wrong";
}

function expectedChecksum(type: number, body: Uint8Array): Buffer | null {
  if (type === 2) return createHash("sha256").update(body).digest();
  if (type !== 0) return null;
  const out = Buffer.alloc(4);
  out.writeUInt32LE((crc32cRaw(body, 0xffffffff) ^ 0xffffffff) >>> 0);
  return out;
}

function unverified(sb: BtrfsSuperblock): Finding {
  return {
    severity: "info",
    code: "btrfs-checksum-unverified",
    message: `the superblock's checksum (${CHECKSUM_TYPES[sb.checksumType] ?? sb.checksumType}) was not verified`,
    layer: "btrfs",
    offset: BTRFS_SUPERBLOCK_OFFSET,
  };
}

function invalidGeometry(sb: BtrfsSuperblock): Finding {
  return {
    severity: "error",
    code: "btrfs-superblock-invalid",
    message: `sector size ${sb.sectorSize} and node size ${sb.nodeSize} are impossible`,
    layer: "btrfs",
    offset: BTRFS_SUPERBLOCK_OFFSET,
  };
}

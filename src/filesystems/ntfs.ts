import { isPowerOfTwo } from "../bytes/integers.ts";
import { type Decoded, struct } from "../bytes/struct.ts";
import { hasText, type Recogniser, readExactly, sizeOf, truncation, utf16Field } from "./info.ts";

/** NTFS boot sector (ntfs-3g, include/ntfs-3g/layout.h, NTFS_BOOT_SECTOR). */
export const NTFS_BOOT_SECTOR = struct("NTFS boot sector", "little", {
  oem: { at: 3, type: "ascii", length: 8, ref: "oem_id" },
  sectorSize: { at: 11, type: "u16", ref: "bytes_per_sector" },
  sectorsPerCluster: { at: 13, type: "u8", ref: "sectors_per_cluster, or -log2 from 0xf4 on" },
  reserved: { at: 14, type: "u16", ref: "reserved_sectors, zero" },
  fats: { at: 16, type: "u8", ref: "fats, zero" },
  rootEntries: { at: 17, type: "u16", ref: "root_entries, zero" },
  sectors16: { at: 19, type: "u16", ref: "sectors, zero" },
  sectorsPerFat: { at: 22, type: "u16", ref: "sectors_per_fat, zero" },
  sectors32: { at: 32, type: "u32", ref: "large_sectors, zero" },
  sectors: { at: 40, type: "u64", ref: "number_of_sectors" },
  mftCluster: { at: 48, type: "u64", ref: "mft_lcn" },
  mirrorCluster: { at: 56, type: "u64", ref: "mftmirr_lcn" },
  recordSize: { at: 64, type: "u8", ref: "clusters_per_mft_record, or -log2 of bytes" },
  serial: { at: 72, type: "u64", ref: "volume_serial_number" },
});

type BootSector = Decoded<typeof NTFS_BOOT_SECTOR.fields>;

const MAX_CLUSTER = 2 * 1024 * 1024;
const MAX_RECORD = 64 * 1024;
/** FILE_Volume: the record that holds the label and the dirty mark. */
const VOLUME_RECORD = 3;
const ATTRIBUTE_VOLUME_NAME = 0x60;
const ATTRIBUTE_VOLUME_INFORMATION = 0x70;
const ATTRIBUTE_END = 0xffffffff;
const VOLUME_IS_DIRTY = 0x1;
/** Multi-sector transfer protection works in pieces of this size. */
const FIXUP_BLOCK = 512;

export const ntfs: Recogniser = {
  name: "ntfs",
  usage: "filesystem",
  async recognise(window) {
    const raw = await readExactly(window, 0, 512);
    if (!raw || !hasText(raw, 3, "NTFS    ")) return null;
    const boot = NTFS_BOOT_SECTOR.decode(raw);
    const cluster = clusterSize(boot);
    const record = cluster === null ? null : recordSize(boot, cluster);
    if (cluster === null || record === null) return null;
    if (boot.mftCluster > boot.sectors || boot.mirrorCluster > boot.sectors) return null;
    const at = sizeOf(boot.mftCluster, cluster);
    if (at === null) return null;
    const volume = await readExactly(window, at + VOLUME_RECORD * record, record);
    if (!volume || !hasText(volume, 0, "FILE") || !fixUp(volume)) return null;
    const flags = attribute(volume, ATTRIBUTE_VOLUME_INFORMATION);
    const name = attribute(volume, ATTRIBUTE_VOLUME_NAME);
    return {
      kind: "filesystem",
      type: "ntfs",
      uuid: boot.serial === 0n ? null : boot.serial.toString(16).toUpperCase().padStart(16, "0"),
      label: name && utf16Field(name),
      size: sizeOf(boot.sectors, boot.sectorSize),
      state: flags && flags.length >= 12 ? (flags[10]! & VOLUME_IS_DIRTY ? "not clean" : "clean") : null,
      details: {
        version: flags && flags.length >= 12 ? `${flags[8]}.${flags[9]}` : null,
        sectorSize: boot.sectorSize,
        clusterSize: cluster,
        mftRecordSize: record,
      },
      findings: truncation("ntfs", boot.sectors * BigInt(boot.sectorSize), window, 0),
    };
  },
};

function clusterSize(boot: BootSector): number | null {
  if (!isPowerOfTwo(boot.sectorSize) || boot.sectorSize < 256 || boot.sectorSize > 4096) return null;
  if (boot.reserved || boot.fats || boot.rootEntries || boot.sectors16 || boot.sectorsPerFat || boot.sectors32)
    return null;
  const sectors = boot.sectorsPerCluster >= 0xf4 ? 2 ** (256 - boot.sectorsPerCluster) : boot.sectorsPerCluster;
  if (!isPowerOfTwo(sectors) || boot.sectorSize * sectors > MAX_CLUSTER) return null;
  return boot.sectorSize * sectors;
}

function recordSize(boot: BootSector, cluster: number): number | null {
  const size = boot.recordSize >= 0x80 ? 2 ** (256 - boot.recordSize) : boot.recordSize * cluster;
  return isPowerOfTwo(size) && size >= FIXUP_BLOCK && size <= MAX_RECORD ? size : null;
}

/** Puts back the last two bytes of each 512 that the update sequence array keeps; false when it does not fit the record. */
function fixUp(record: Uint8Array): boolean {
  const buffer = Buffer.from(record.buffer, record.byteOffset, record.byteLength);
  const at = buffer.readUInt16LE(4);
  const count = buffer.readUInt16LE(6);
  if (count !== record.length / FIXUP_BLOCK + 1 || at + count * 2 > record.length) return false;
  const expected = buffer.readUInt16LE(at);
  for (let i = 1; i < count; i++) {
    const end = i * FIXUP_BLOCK - 2;
    if (buffer.readUInt16LE(end) !== expected) return false;
    buffer.copy(buffer, end, at + i * 2, at + i * 2 + 2);
  }
  return true;
}

/** The value of the first resident attribute of this type. */
function attribute(record: Uint8Array, type: number): Uint8Array | null {
  const buffer = Buffer.from(record.buffer, record.byteOffset, record.byteLength);
  for (let at = buffer.readUInt16LE(20); at + 24 <= record.length; ) {
    const found = buffer.readUInt32LE(at);
    const length = buffer.readUInt32LE(at + 4);
    if (found === ATTRIBUTE_END || length < 24) return null;
    if (found === type && buffer[at + 8] === 0) {
      const start = at + buffer.readUInt16LE(at + 20);
      const end = start + buffer.readUInt32LE(at + 16);
      return end <= record.length ? record.subarray(start, end) : null;
    }
    at += length;
  }
  return null;
}

import { isZero } from "../bytes/integers.ts";
import { type Decoded, struct } from "../bytes/struct.ts";
import type { ProbeWindow } from "../core/layer.ts";
import { hasText, type Recogniser, readExactly, sizeOf, truncation, utf16Field } from "./info.ts";
import { serialText } from "./uuids.ts";

/** Main boot sector (Microsoft, "exFAT file system specification", 3.1). */
export const EXFAT_BOOT_SECTOR = struct("exFAT boot sector", "little", {
  name: { at: 3, type: "ascii", length: 8, ref: "FileSystemName" },
  mustBeZero: { at: 11, type: "bytes", length: 53, ref: "MustBeZero" },
  sectors: { at: 72, type: "u64", ref: "VolumeLength" },
  fatOffset: { at: 80, type: "u32", ref: "FatOffset" },
  heapOffset: { at: 88, type: "u32", ref: "ClusterHeapOffset" },
  clusters: { at: 92, type: "u32", ref: "ClusterCount" },
  rootCluster: { at: 96, type: "u32", ref: "FirstClusterOfRootDirectory" },
  serial: { at: 100, type: "u32", ref: "VolumeSerialNumber" },
  revision: { at: 104, type: "u16", ref: "FileSystemRevision" },
  flags: { at: 106, type: "u16", ref: "VolumeFlags" },
  sectorShift: { at: 108, type: "u8", ref: "BytesPerSectorShift, 9 to 12" },
  clusterShift: { at: 109, type: "u8", ref: "SectorsPerClusterShift, up to 25 - BytesPerSectorShift" },
  signature: { at: 510, type: "u16", ref: "BootSignature, 0xaa55" },
});

type BootSector = Decoded<typeof EXFAT_BOOT_SECTOR.fields>;

const VOLUME_DIRTY = 0x2;
const MEDIA_FAILURE = 0x4;
const ENTRY = 32;
const ENTRY_END = 0x00;
const ENTRY_LABEL = 0x83;
/** The label is one of the first entries that a formatter writes. */
const MAX_DIRECTORY_BYTES = 4096;

export const exfat: Recogniser = {
  name: "exfat",
  usage: "filesystem",
  async recognise(window) {
    const raw = await readExactly(window, 0, 512);
    if (!raw || !hasText(raw, 3, "EXFAT   ")) return null;
    const boot = EXFAT_BOOT_SECTOR.decode(raw);
    if (boot.signature !== 0xaa55 || !isZero(boot.mustBeZero)) return null;
    if (boot.sectorShift < 9 || boot.sectorShift > 12 || boot.clusterShift > 25 - boot.sectorShift) return null;
    const sectorSize = 2 ** boot.sectorShift;
    return {
      kind: "filesystem",
      type: "exfat",
      uuid: serialText(boot.serial),
      label: await labelOf(window, boot, sectorSize),
      size: sizeOf(boot.sectors, sectorSize),
      state: boot.flags & MEDIA_FAILURE ? "errors" : boot.flags & VOLUME_DIRTY ? "not clean" : "clean",
      details: {
        version: `${boot.revision >>> 8}.${boot.revision & 0xff}`,
        sectorSize,
        clusterSize: sectorSize * 2 ** boot.clusterShift,
        clusters: boot.clusters,
      },
      findings: truncation("exfat", boot.sectors * BigInt(sectorSize), window, 0),
    };
  },
};

/** "Volume Label Directory Entry", 7.3: type, length in characters, up to 11 of them. */
async function labelOf(window: ProbeWindow, boot: BootSector, sectorSize: number): Promise<string | null> {
  if (boot.rootCluster < 2) return null;
  const clusterSize = sectorSize * 2 ** boot.clusterShift;
  const offset = boot.heapOffset * sectorSize + (boot.rootCluster - 2) * clusterSize;
  const directory = await readExactly(window, offset, Math.min(clusterSize, MAX_DIRECTORY_BYTES));
  if (!directory) return null;
  for (let at = 0; at < directory.length; at += ENTRY) {
    if (directory[at] === ENTRY_END) return null;
    if (directory[at] === ENTRY_LABEL)
      return utf16Field(directory.subarray(at + 2, at + 2 + Math.min(directory[at + 1]!, 11) * 2));
  }
  return null;
}

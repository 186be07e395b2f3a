import { isPowerOfTwo } from "../bytes/integers.ts";
import { type Decoded, struct } from "../bytes/struct.ts";
import { hasText } from "./info.ts";

/** Boot sector (Microsoft, "FAT32 File System Specification" 1.03, "Boot Sector and BPB"). */
export const FAT_BOOT_SECTOR = struct("FAT boot sector", "little", {
  jump: { at: 0, type: "u8", ref: "BS_jmpBoot" },
  sectorSize: { at: 11, type: "u16", ref: "BPB_BytsPerSec" },
  sectorsPerCluster: { at: 13, type: "u8", ref: "BPB_SecPerClus" },
  reservedSectors: { at: 14, type: "u16", ref: "BPB_RsvdSecCnt" },
  fats: { at: 16, type: "u8", ref: "BPB_NumFATs" },
  rootEntries: { at: 17, type: "u16", ref: "BPB_RootEntCnt" },
  sectors16: { at: 19, type: "u16", ref: "BPB_TotSec16" },
  media: { at: 21, type: "u8", ref: "BPB_Media" },
  fatSectors16: { at: 22, type: "u16", ref: "BPB_FATSz16" },
  sectors32: { at: 32, type: "u32", ref: "BPB_TotSec32" },
  fatSectors32: { at: 36, type: "u32", ref: "BPB_FATSz32 (FAT32)" },
  flags16: { at: 37, type: "u8", ref: "BS_Reserved1 (FAT12/16): bit 0 dirty, bit 1 surface test" },
  serial16: { at: 39, type: "u32", ref: "BS_VolID (FAT12/16)" },
  label16: { at: 43, type: "bytes", length: 11, ref: "BS_VolLab (FAT12/16)" },
  rootCluster: { at: 44, type: "u32", ref: "BPB_RootClus (FAT32)" },
  fsInfoSector: { at: 48, type: "u16", ref: "BPB_FSInfo (FAT32)" },
  magic16: { at: 54, type: "ascii", length: 8, ref: "BS_FilSysType (FAT12/16)" },
  flags32: { at: 65, type: "u8", ref: "BS_Reserved1 (FAT32)" },
  serial32: { at: 67, type: "u32", ref: "BS_VolID (FAT32)" },
  label32: { at: 71, type: "bytes", length: 11, ref: "BS_VolLab (FAT32)" },
  signature: { at: 510, type: "u16", ref: "0xaa55" },
});

export type FatBootSector = Decoded<typeof FAT_BOOT_SECTOR.fields>;

/** Most clusters of each kind; the number decides which kind it is (libblkid's FAT12_MAX, FAT16_MAX, FAT32_MAX). */
const FAT12_MAX = 0xff4;
const FAT16_MAX = 0xfff4;
const FAT32_MAX = 0x0ffffff6;
export interface FatGeometry {
  readonly version: "FAT12" | "FAT16" | "FAT32";
  /** Bytes per sector and per cluster. */
  readonly sectorSize: number;
  readonly clusterSize: number;
  readonly clusters: number;
  readonly sectors: number;
  /** Byte offsets of the first FAT, the fixed root directory (FAT12/16) and cluster 2. */
  readonly fatOffset: number;
  readonly rootOffset: number;
  readonly dataOffset: number;
  readonly rootEntries: number;
  readonly rootCluster: number;
}

/** Any of the marks that libblkid accepts; a bare jump or 0x55aa needs both and no HPFS or JFS behind the mask of a FAT. */
function looksLikeFat(boot: FatBootSector, raw: Uint8Array): boolean {
  if (hasText(raw, 82, "MSWIN") || hasText(raw, 82, "FAT32   ") || hasText(raw, 54, "MSDOS")) return true;
  if (["FAT16   ", "FAT12   ", "FAT     "].some((magic) => hasText(raw, 54, magic))) return true;
  if (hasText(raw, 3, "NTFS    ") || hasText(raw, 3, "EXFAT   ") || hasText(raw, 3, "-FVE-FS-")) return false;
  return boot.signature === 0xaa55 && boot.magic16 !== "JFS     " && boot.magic16 !== "HPFS    ";
}

/** The layout that the boot sector describes, or null when this is no FAT. */
export function fatGeometry(boot: FatBootSector, raw: Uint8Array): FatGeometry | null {
  if (!looksLikeFat(boot, raw)) return null;
  if (boot.fats === 0 || boot.reservedSectors === 0 || !isPowerOfTwo(boot.sectorsPerCluster)) return null;
  if (boot.media < 0xf8 && boot.media !== 0xf0) return null;
  if (!isPowerOfTwo(boot.sectorSize) || boot.sectorSize < 512 || boot.sectorSize > 4096) return null;
  const sectors = boot.sectors16 || boot.sectors32;
  const fatSectors = (boot.fatSectors16 || boot.fatSectors32) * boot.fats;
  const rootSectors = Math.ceil((boot.rootEntries * 32) / boot.sectorSize);
  const dataStart = boot.reservedSectors + fatSectors + rootSectors;
  if (fatSectors === 0 || sectors <= dataStart) return null;
  const clusters = Math.floor((sectors - dataStart) / boot.sectorsPerCluster);
  const fat32 = boot.fatSectors16 === 0;
  if (clusters > (fat32 ? FAT32_MAX : FAT16_MAX)) return null;
  return {
    version: fat32 ? "FAT32" : clusters < FAT12_MAX ? "FAT12" : "FAT16",
    sectorSize: boot.sectorSize,
    clusterSize: boot.sectorSize * boot.sectorsPerCluster,
    clusters,
    sectors,
    fatOffset: boot.reservedSectors * boot.sectorSize,
    rootOffset: (boot.reservedSectors + fatSectors) * boot.sectorSize,
    dataOffset: dataStart * boot.sectorSize,
    rootEntries: boot.rootEntries,
    rootCluster: boot.rootCluster,
  };
}

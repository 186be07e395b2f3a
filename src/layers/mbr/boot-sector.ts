import { isPowerOfTwo } from "../../bytes/integers.ts";
import { struct, view } from "../../bytes/struct.ts";

/**
 * The BIOS parameter block (Microsoft, "FAT: General Overview of On-Disk Format" 1.03, section "Boot Sector and BPB").
 * FAT's boot sector ends with the same signature as a master boot record.
 */
const BPB = struct("BIOS parameter block", "little", {
  sectorSize: { at: 11, type: "u16", ref: "BPB_BytsPerSec" },
  clusterSectors: { at: 13, type: "u8", ref: "BPB_SecPerClus" },
  reserved: { at: 14, type: "u16", ref: "BPB_RsvdSecCnt" },
  fats: { at: 16, type: "u8", ref: "BPB_NumFATs" },
  rootEntries: { at: 17, type: "u16", ref: "BPB_RootEntCnt" },
  sectors16: { at: 19, type: "u16", ref: "BPB_TotSec16" },
  media: { at: 21, type: "u8", ref: "BPB_Media" },
  fatSectors16: { at: 22, type: "u16", ref: "BPB_FATSz16" },
  sectors32: { at: 32, type: "u32", ref: "BPB_TotSec32" },
  fatSectors32: { at: 36, type: "u32", ref: "BPB_FATSz32" },
});

/** OEM names at offset 3 of file systems that fill the whole boot sector. */
const OEM_NAMES = ["NTFS    ", "EXFAT   ", "-FVE-FS-", "ReFS"];
/** Magics at offset 0: LUKS (both headers), XFS, and AIX's disk label in EBCDIC, which libblkid also leaves alone. */
const LEADING = [
  [0x4c, 0x55, 0x4b, 0x53, 0xba, 0xbe],
  [0x53, 0x4b, 0x55, 0x4c, 0xba, 0xbe],
  [0x58, 0x46, 0x53, 0x42],
  [0xc9, 0xc2, 0xd4, 0xc1],
];

/**
 * True when the first sector belongs to a file system or another container although it may end with 55 AA. The same care
 * that libblkid takes (util-linux libblkid/src/partitions/dos.c and superblocks/vfat.c).
 */
export function isForeignBootSector(sector: Uint8Array): boolean {
  if (LEADING.some((magic) => magic.every((byte, i) => sector[i] === byte))) return true;
  const oem = Buffer.from(sector.subarray(3, 11)).toString("latin1");
  if (OEM_NAMES.some((name) => oem.startsWith(name))) return true;
  return isFat(sector);
}

function isFat(sector: Uint8Array): boolean {
  const jump = sector[0] === 0xeb || sector[0] === 0xe9;
  // BS_FilSysType of FAT12/16 and of FAT32; informative only, but libblkid takes it as a magic.
  const named = [54, 82].some((at) => Buffer.from(sector.subarray(at, at + 3)).toString("latin1") === "FAT");
  if (!jump && !named) return false;
  const b = BPB.decode(sector);
  if (b.sectorSize < 512 || b.sectorSize > 4096 || !isPowerOfTwo(b.sectorSize)) return false;
  if (!isPowerOfTwo(b.clusterSectors) || b.reserved === 0 || b.fats === 0) return false;
  if (b.media < 0xf8 && b.media !== 0xf0) return false;
  const fatSectors = b.fatSectors16 || b.fatSectors32;
  const sectors = b.sectors16 || b.sectors32;
  const rootSectors = Math.ceil((b.rootEntries * 32) / b.sectorSize);
  return fatSectors > 0 && sectors > b.reserved + b.fats * fatSectors + rootSectors;
}

/** Bytes from a partition's start that `isRecognised` looks at. */
export const RECOGNITION_WINDOW = 65536 + 4096;

/** True when a well-known signature stands where the content of a partition or disk would begin. */
export function isRecognised(bytes: Uint8Array): boolean {
  const text = (at: number, length: number) => Buffer.from(bytes.subarray(at, at + length)).toString("latin1");
  const dv = view(bytes);
  const u16 = (at: number) => (at + 2 <= bytes.length ? dv.getUint16(at, true) : 0);
  const u32 = (at: number) => (at + 4 <= bytes.length ? dv.getUint32(at, true) : 0);
  return (
    u16(510) === 0xaa55 || // FAT, NTFS, an extended boot record, a nested table
    hasOwnSuperblock(bytes) ||
    text(4086, 10) === "SWAPSPACE2" ||
    u32(4096) === 0xa92b4efc || // md 1.2 (Linux include/uapi/linux/raid/md_p.h: MD_SB_MAGIC)
    u32(0) === 0xa92b4efc
  );
}

/** File systems and containers that leave the first sector to a boot loader, so that 55 AA there proves nothing. */
export function hasOwnSuperblock(bytes: Uint8Array): boolean {
  const text = (at: number, length: number) => Buffer.from(bytes.subarray(at, at + length)).toString("latin1");
  return (
    (bytes[1080] === 0x53 && bytes[1081] === 0xef) || // ext2/3/4: s_magic
    text(0, 4) === "XFSB" ||
    text(0, 4) === "LUKS" ||
    text(65600, 8) === "_BHRfS_M" ||
    [0, 512, 1024, 1536].some((at) => text(at, 8) === "LABELONE" && text(at + 24, 8) === "LVM2 001") ||
    text(4086, 10) === "SWAPSPACE2"
  );
}

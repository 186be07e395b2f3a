import type { ProbeWindow } from "../core/layer.ts";
import { FAT_BOOT_SECTOR, type FatBootSector, type FatGeometry, fatGeometry } from "./fat-geometry.ts";
import { fatDirectoryLabel, oemLabel } from "./fat-label.ts";
import { hasText, type Recogniser, readExactly, truncation } from "./info.ts";
import { serialText } from "./uuids.ts";

/** FAT[1]: "clean shutdown" and "no I/O errors" marks (specification, "FAT Volume Initialization"), set while all is well. */
const CLEAN_MARKS = {
  FAT16: { clean: 0x8000, hardError: 0x4000 },
  FAT32: { clean: 0x08000000, hardError: 0x04000000 },
} as const;

export const fat: Recogniser = {
  name: "fat",
  usage: "filesystem",
  async recognise(window) {
    const raw = await readExactly(window, 0, 512);
    if (!raw) return null;
    const boot = FAT_BOOT_SECTOR.decode(raw);
    const geometry = fatGeometry(boot, raw);
    if (!geometry) return null;
    const fat32 = geometry.version === "FAT32";
    if (fat32 && !(await fsInfoHolds(window, boot))) return null;
    const claimed = geometry.sectors * geometry.sectorSize;
    const fromDirectory = await fatDirectoryLabel(window, geometry);
    return {
      kind: "filesystem",
      type: "vfat",
      uuid: serialText(fat32 ? boot.serial32 : boot.serial16),
      label: fromDirectory ?? oemLabel(fat32 ? boot.label32 : boot.label16),
      size: claimed,
      state: await stateOf(window, boot, geometry),
      details: {
        version: geometry.version,
        sectorSize: geometry.sectorSize,
        clusterSize: geometry.clusterSize,
        clusters: geometry.clusters,
        fats: boot.fats,
      },
      findings: truncation("fat", BigInt(claimed), window, 0),
    };
  },
};

/** "FSInfo Sector Structure": both signatures, or zeros, which some formatters leave there. */
async function fsInfoHolds(window: ProbeWindow, boot: FatBootSector): Promise<boolean> {
  if (boot.fsInfoSector === 0) return true;
  const info = await readExactly(window, boot.fsInfoSector * boot.sectorSize, 512);
  if (!info) return false;
  const any = (at: number, texts: string[]) => texts.some((text) => hasText(info, at, text));
  return any(0, ["RRaA", "RRdA", "\0\0\0\0"]) && any(484, ["rrAa", "\0\0\0\0"]);
}

async function stateOf(window: ProbeWindow, boot: FatBootSector, geometry: FatGeometry): Promise<string> {
  const flags = geometry.version === "FAT32" ? boot.flags32 : boot.flags16;
  if (geometry.version !== "FAT12") {
    const width = geometry.version === "FAT32" ? 4 : 2;
    const entry = await readExactly(window, geometry.fatOffset + width, width);
    if (!entry) return "not clean";
    const value = Buffer.from(entry).readUIntLE(0, width);
    const marks = CLEAN_MARKS[geometry.version];
    if ((value & marks.hardError) === 0) return "errors";
    if ((value & marks.clean) === 0) return "not clean";
  }
  return flags & 1 ? "not clean" : "clean";
}

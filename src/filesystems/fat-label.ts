import type { ProbeWindow } from "../core/layer.ts";
import type { FatGeometry } from "./fat-geometry.ts";
import { readExactly } from "./info.ts";

const ENTRY = 32;
const FREE = 0xe5;
/** Directory entry attributes ("FAT Directory Structure"). */
const VOLUME_ID = 0x08;
const DIRECTORY = 0x10;
const LONG_NAME = 0x0f;
const ATTRIBUTES = 0x3f;
/** What formatters write when there is no label. */
const NO_NAME = "NO NAME";
/** The label is usually the first entry; 8 KiB of a fixed root directory and this many clusters of a FAT32 one are searched. */
const FIXED_ROOT_BYTES = 8192;
const MAX_CLUSTERS = 8;
const MAX_CLUSTER_BYTES = 4096;

/** The volume label from the root directory, which wins over the boot sector's; null when there is none. */
export async function fatDirectoryLabel(window: ProbeWindow, geometry: FatGeometry): Promise<string | null> {
  if (geometry.version !== "FAT32") {
    const length = Math.min(geometry.rootEntries * ENTRY, FIXED_ROOT_BYTES);
    const root = await readExactly(window, geometry.rootOffset, length);
    return root ? search(root).label : null;
  }
  let cluster = geometry.rootCluster;
  for (let i = 0; i < MAX_CLUSTERS && cluster >= 2 && cluster < geometry.clusters + 2; i++) {
    const offset = geometry.dataOffset + (cluster - 2) * geometry.clusterSize;
    const bytes = await readExactly(window, offset, Math.min(geometry.clusterSize, MAX_CLUSTER_BYTES));
    if (!bytes) return null;
    const { label, ended } = search(bytes);
    if (label !== null || ended) return label;
    const next = await readExactly(window, geometry.fatOffset + cluster * 4, 4);
    if (!next) return null;
    cluster = Buffer.from(next).readUInt32LE(0) & 0x0fffffff;
  }
  return null;
}

function search(directory: Uint8Array): { label: string | null; ended: boolean } {
  for (let at = 0; at + ENTRY <= directory.length; at += ENTRY) {
    const first = directory[at]!;
    const attributes = directory[at + 11]!;
    if (first === 0) return { label: null, ended: true };
    if (first === FREE || (attributes & ATTRIBUTES) === LONG_NAME) continue;
    const cluster = directory[at + 20]! | directory[at + 21]! | directory[at + 26]! | directory[at + 27]!;
    if (cluster === 0 && (attributes & (VOLUME_ID | DIRECTORY)) === VOLUME_ID)
      return { label: oemLabel(directory.subarray(at, at + 11)), ended: true };
  }
  return { label: null, ended: false };
}

/** Eleven bytes padded with blanks; null for none and for the formatters' placeholder. A first byte 0x05 stands for 0xe5. */
export function oemLabel(bytes: Uint8Array): string | null {
  const copy = Buffer.from(bytes);
  if (copy[0] === 0x05) copy[0] = FREE;
  const end = copy.indexOf(0);
  const text = (end < 0 ? copy : copy.subarray(0, end)).toString("utf8").trimEnd();
  return text === "" || text === NO_NAME ? null : text;
}

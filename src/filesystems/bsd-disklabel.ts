import { struct, view } from "../bytes/struct.ts";
import type { Finding, Json } from "../core/finding.ts";
import { type Recogniser, readExactly } from "./info.ts";

/** Byte offsets where a label may stand: its sector on PCs, and those of other machines (util-linux libblkid/src/partitions/bsd.c). */
const PLACES = [512, 64, 128];
const MAGIC = 0x82564557;
/** MAXMAXPARTITIONS of NetBSD, the most of all (sys/sys/disklabel.h). */
const MAX_PARTITIONS = 22;
const PARTITIONS_AT = 148;

/** struct disklabel of the BSDs (FreeBSD sys/sys/disk/bsd.h). */
const LABEL = struct("BSD disklabel", "little", {
  magic: { at: 0, type: "u32" },
  packName: { at: 24, type: "ascii", length: 16 },
  sectorSize: { at: 40, type: "u32", ref: "d_secsize" },
  sectors: { at: 60, type: "u32", ref: "d_secperunit" },
  magic2: { at: 132, type: "u32" },
  partitions: { at: 138, type: "u16", ref: "d_npartitions" },
});

const PARTITION = struct("BSD partition", "little", {
  sectors: { at: 0, type: "u32", ref: "p_size" },
  start: { at: 4, type: "u32", ref: "p_offset, from the start of the disk or, in FreeBSD, of the slice" },
  type: { at: 12, type: "u8", ref: "p_fstype" },
});

/** p_fstype (the same file, fstypenames). */
const TYPES: Readonly<Record<number, string>> = {
  0: "unused",
  1: "swap",
  2: "Version 6",
  3: "Version 7",
  4: "System V",
  5: "4.1BSD",
  6: "Eighth Edition",
  7: "4.2BSD",
  8: "MSDOS",
  9: "4.4LFS",
  11: "HPFS",
  12: "ISO9660",
  13: "boot",
  14: "vinum",
  15: "raid",
  17: "ext2fs",
  18: "NTFS",
  27: "ZFS",
};

/**
 * A BSD disklabel: FreeBSD, NetBSD and OpenBSD divide their MBR partition with it once more. Known by name only: the partitions are
 * listed and not opened. Its three marks (two magics and a checksum) leave no room for chance.
 */
export const bsdDisklabel: Recogniser = {
  name: "BSD disklabel",
  usage: "other",
  // It stands where other formats leave room for boot code.
  tolerant: true,
  async recognise(window) {
    for (const at of PLACES) {
      const bytes = await readExactly(window, at, PARTITIONS_AT + MAX_PARTITIONS * 16);
      if (!bytes) continue;
      const label = LABEL.decode(bytes);
      if (label.magic !== MAGIC || label.magic2 !== MAGIC || label.partitions > MAX_PARTITIONS) continue;
      const length = PARTITIONS_AT + label.partitions * 16;
      if (checksum(bytes.subarray(0, length)) !== 0) continue;
      const partitions = Array.from({ length: label.partitions }, (_, i) => ({
        name: String.fromCharCode(97 + i),
        ...PARTITION.decode(bytes, PARTITIONS_AT + i * 16),
      })).filter((p) => p.sectors > 0);
      return {
        kind: "unknown",
        type: "bsd",
        uuid: null,
        label: null,
        size: null,
        state: null,
        details: {
          packName: label.packName,
          sectorSize: label.sectorSize,
          partitions: partitions.map((p): Json => ({ ...p, type: TYPES[p.type] ?? `type ${p.type}` })),
        },
        findings: [finding(at, partitions)],
      };
    }
    return null;
  },
};

/** d_checksum is chosen so that all 16-bit words of the label XOR to zero. */
function checksum(label: Uint8Array): number {
  const dv = view(label);
  let sum = 0;
  for (let at = 0; at < label.length; at += 2) sum ^= dv.getUint16(at, true);
  return sum;
}

function finding(offset: number, partitions: readonly { readonly name: string; readonly type: number }[]): Finding {
  // `c` is the whole of it, by convention of no type.
  const used = partitions.filter((p) => p.type !== 0);
  const list = used.map((p) => `${p.name} (${TYPES[p.type] ?? `type ${p.type}`})`).join(", ");
  return {
    severity: "info",
    code: "bsd-disklabel",
    message: `a BSD disklabel divides this into ${list || "no partitions"}: what is in them is not opened`,
    layer: "bsd",
    offset,
  };
}

import { view } from "../../bytes/struct.ts";
import type { ProbeHit, ProbeWindow } from "../../core/layer.ts";
import { hasPrimaryMagic, hasSecondaryMagic, isLuks1InReencryption, LUKS2_HEADER_SIZES } from "./magic.ts";

/** Of a binary LUKS2 header, up to the end of its offset field. */
const HEAD = 264;

/** LUKS1 and LUKS2 by the magic at the start; LUKS2 also by its second header when nothing else stands at the start. */
export async function probeLuks(window: ProbeWindow): Promise<ProbeHit | null> {
  const hit: ProbeHit = { setId: null, role: null, member: null };
  const start = await window.read(0, 8);
  if (hasPrimaryMagic(start) || isLuks1InReencryption(start)) return hit;
  for (const offset of LUKS2_HEADER_SIZES) {
    const head = await window.read(offset, HEAD);
    if (!isSecondHeader(head, offset)) continue;
    return (await overwritten(window)) ? null : hit;
  }
  return null;
}

/** Whether the bytes are a second LUKS2 header that was meant to lie at `offset` (checksums come when it is opened). */
function isSecondHeader(head: Uint8Array, offset: number): boolean {
  if (head.length < HEAD || !hasSecondaryMagic(head)) return false;
  const dv = view(head);
  return dv.getUint16(6) === 2 && dv.getBigUint64(8) === BigInt(offset) && dv.getBigUint64(256) === BigInt(offset);
}

/** What may have been put onto a former LUKS2 device and leaves the second header in place: magic and its byte offset. */
const OTHERS: readonly [offset: number, magic: readonly number[]][] = [
  [0x1fe, [0x55, 0xaa]], // MBR, FAT, NTFS
  [512, [...Buffer.from("EFI PART")]],
  [4096, [...Buffer.from("EFI PART")]],
  [1080, [0x53, 0xef]], // ext2, ext3, ext4
  [0, [...Buffer.from("XFSB")]],
  [0, [...Buffer.from("QFI\u00fb", "latin1")]],
  ...[0, 512, 1024, 1536].map((at): [number, number[]] => [at, [...Buffer.from("LABELONE")]]), // LVM2
  [4096, [0xfc, 0x4e, 0x2b, 0xa9]], // mdraid 1.2
  [4086, [...Buffer.from("SWAPSPACE2")]],
];

async function overwritten(window: ProbeWindow): Promise<boolean> {
  const start = await window.read(0, 8192);
  return OTHERS.some(([at, magic]) => magic.every((b, i) => start[at + i] === b));
}

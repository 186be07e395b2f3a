import { crc32cRaw } from "../bytes/crc.ts";
import { view } from "../bytes/struct.ts";
import { type ExtBlocks, extCorrupt } from "./blocks.ts";
import type { ExtInode } from "./inode.ts";

const MAGIC = 0xea020000;
const ENTRY = 16;
const BLOCK_HEADER = 32;
const BLOCK_CHECKSUM_AT = 0x10;

/** e_name_index ("Attribute Name Indices" in attributes.rst). */
const PREFIXES: Record<number, string> = {
  0: "",
  1: "user.",
  2: "system.posix_acl_access",
  3: "system.posix_acl_default",
  4: "trusted.",
  6: "security.",
  7: "system.",
  8: "system.richacl",
};
/** Names of attributes on disk by which inline data goes on behind i_block. */
const SYSTEM = 7;

export interface RawAttribute {
  readonly index: number;
  /** As on disk, without the prefix that the index stands for. */
  readonly name: Uint8Array;
  /** The value, or the inode that holds it (ea_inode) with its size in bytes. */
  readonly value: Uint8Array | { readonly inode: number; readonly size: number };
}

/** Full name in the form of xattr(7), or null for an index that nobody has given out. */
export function attributeName(attribute: RawAttribute): string | null {
  const prefix = PREFIXES[attribute.index];
  return prefix === undefined ? null : prefix + Buffer.from(attribute.name).toString("latin1");
}

/** The attributes that lie in the inode itself. */
export function attributesInBody(inode: ExtInode): RawAttribute[] {
  const { body } = inode;
  if (body.length < 8 || view(body).getUint32(0, true) !== MAGIC) return [];
  // Values are counted from the first entry.
  return entries(body.subarray(4), 0, `inode ${inode.number}`, inode.offset);
}

/** The attributes in the block of their own. */
export async function attributesInBlock(blocks: ExtBlocks, inode: ExtInode): Promise<RawAttribute[]> {
  if (inode.aclBlock === 0) return [];
  const block = await blocks.read(inode.aclBlock, `the attribute block of inode ${inode.number}`);
  const at = inode.aclBlock * blocks.geometry.blockSize;
  if (view(block).getUint32(0, true) !== MAGIC || view(block).getUint32(8, true) !== 1)
    throw extCorrupt(`the attribute block of inode ${inode.number} has no header`, at);
  if (inode.checksumSeed !== null) {
    const place = new Uint8Array(8);
    view(place).setBigUint64(0, BigInt(inode.aclBlock), true);
    const copy = block.slice();
    view(copy).setUint32(BLOCK_CHECKSUM_AT, 0, true);
    const sum = crc32cRaw(copy, crc32cRaw(place, blocks.geometry.checksumSeed!));
    if (sum !== view(block).getUint32(BLOCK_CHECKSUM_AT, true))
      throw extCorrupt(`the attribute block of inode ${inode.number} has a wrong checksum`, at);
  }
  return entries(block, BLOCK_HEADER, `inode ${inode.number}`, at);
}

/** `system.data`: what inline data has beyond i_block; empty when there is none. */
export function inlineRest(inode: ExtInode): Uint8Array {
  const found = attributesInBody(inode).find(
    (a) => a.index === SYSTEM && Buffer.from(a.name).toString("latin1") === "data",
  );
  return found?.value instanceof Uint8Array ? found.value : new Uint8Array(0);
}

/** True for what the file system itself uses and getfattr does not show. */
export function isInternal(attribute: RawAttribute): boolean {
  return attribute.index === SYSTEM && Buffer.from(attribute.name).toString("latin1") === "data";
}

/** struct ext4_xattr_entry, from `first` until four zero bytes; values at offsets from the start of `area`. */
function entries(area: Uint8Array, first: number, of: string, offset: number): RawAttribute[] {
  const dv = view(area);
  const out: RawAttribute[] = [];
  for (let at = first; ; ) {
    // The list may also end where the area does.
    if (at + 4 > area.length || dv.getUint32(at, true) === 0) return out;
    const nameLength = dv.getUint8(at);
    const next = at + ENTRY + Math.ceil(nameLength / 4) * 4;
    if (next > area.length) throw extCorrupt(`an attribute of ${of} reaches outside`, offset);
    const inode = dv.getUint32(at + 4, true);
    const size = dv.getUint32(at + 8, true);
    const start = dv.getUint16(at + 2, true);
    if (inode === 0 && size > 0 && start + size > area.length)
      throw extCorrupt(`the value of an attribute of ${of} reaches outside`, offset);
    out.push({
      index: dv.getUint8(at + 1),
      name: area.slice(at + ENTRY, at + ENTRY + nameLength),
      value: inode === 0 ? area.slice(start, start + size) : { inode, size },
    });
    at = next;
  }
}

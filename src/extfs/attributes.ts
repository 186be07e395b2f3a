import { view } from "../bytes/struct.ts";
import { readBytes } from "../core/device.ts";
import { type ExtBlocks, extCorrupt } from "./blocks.ts";
import { contentOf } from "./content.ts";
import { type ExtInode, InodeFlag, readInode } from "./inode.ts";
import { attributeName, attributesInBlock, attributesInBody, isInternal, type RawAttribute } from "./xattr.ts";

/** One extended attribute in the form in which setxattr(2) takes it. */
export interface ExtAttribute {
  readonly name: string;
  readonly value: Uint8Array;
}

/** XATTR_SIZE_MAX: Linux has no larger value, and ea_inode none either. */
const LARGEST_VALUE = 65536;

/** All attributes of an inode, without those by which inline data is kept. Names that no index is known for are left out. */
export async function attributeValues(blocks: ExtBlocks, inode: ExtInode): Promise<readonly ExtAttribute[]> {
  const raw = [...attributesInBody(inode), ...(await attributesInBlock(blocks, inode))];
  const out: ExtAttribute[] = [];
  for (const attribute of raw) {
    const name = attributeName(attribute);
    if (name === null || isInternal(attribute)) continue;
    const value = await storedValue(blocks, inode, attribute);
    out.push({ name, value: name.startsWith("system.posix_acl_") ? aclForLinux(value, inode) : value });
  }
  return out;
}

async function storedValue(blocks: ExtBlocks, inode: ExtInode, attribute: RawAttribute): Promise<Uint8Array> {
  const { value } = attribute;
  if (value instanceof Uint8Array) return value;
  const holder = await readInode(blocks, value.inode);
  if (!(holder.flags & InodeFlag.EA_INODE) || holder.size !== value.size || value.size > LARGEST_VALUE)
    throw extCorrupt(`inode ${value.inode} holds no attribute of inode ${inode.number}`, holder.offset);
  return readBytes(contentOf(blocks, holder), 0, value.size);
}

const ACL_DISK_VERSION = 1;
const ACL_LINUX_VERSION = 2;
/** Tags that name a user or a group; the others are 4 bytes on disk. */
const NAMED = [0x2, 0x8];
const NOBODY = 0xffffffff;

/** From ext4's short form (fs/ext4/acl.h) to that of system.posix_acl_* (include/uapi/linux/posix_acl_xattr.h). */
function aclForLinux(disk: Uint8Array, inode: ExtInode): Uint8Array {
  const bad = () => extCorrupt(`an access list of inode ${inode.number} is damaged`, inode.offset);
  const dv = view(disk);
  if (disk.length < 4 || dv.getUint32(0, true) !== ACL_DISK_VERSION) throw bad();
  const entries: Uint8Array[] = [];
  for (let at = 4; at < disk.length; ) {
    if (at + 4 > disk.length) throw bad();
    const named = NAMED.includes(dv.getUint16(at, true));
    if (named && at + 8 > disk.length) throw bad();
    const entry = new Uint8Array(8);
    entry.set(disk.subarray(at, at + 4));
    view(entry).setUint32(4, named ? dv.getUint32(at + 4, true) : NOBODY, true);
    entries.push(entry);
    at += named ? 8 : 4;
  }
  const head = new Uint8Array(4);
  view(head).setUint32(0, ACL_LINUX_VERSION, true);
  return Buffer.concat([head, ...entries]);
}

import { struct } from "../bytes/struct.ts";
import { isoTime, jsonNumber, type Recogniser, readExactly, sizeOf, truncation } from "./info.ts";

/** struct squashfs_super_block, version 4 (Linux, Documentation/filesystems/squashfs.rst; fs/squashfs/squashfs_fs.h). */
const SUPERBLOCK = struct("squashfs superblock", "little", {
  magic: { at: 0, type: "ascii", length: 4, ref: "s_magic" },
  inodes: { at: 4, type: "u32", ref: "inodes" },
  created: { at: 8, type: "u32", ref: "mkfs_time" },
  blockSize: { at: 12, type: "u32", ref: "block_size" },
  compression: { at: 20, type: "u16", ref: "compression" },
  major: { at: 28, type: "u16", ref: "s_major" },
  minor: { at: 30, type: "u16", ref: "s_minor" },
  bytesUsed: { at: 40, type: "u64", ref: "bytes_used" },
});

const COMPRESSION: Record<number, string> = { 1: "zlib", 2: "lzma", 3: "lzo", 4: "xz", 5: "lz4", 6: "zstd" };

export const squashfs: Recogniser = {
  name: "squashfs",
  usage: "filesystem",
  async recognise(window) {
    const raw = await readExactly(window, 0, 96);
    if (!raw) return null;
    const sb = SUPERBLOCK.decode(raw);
    if (sb.magic !== "hsqs" || sb.major !== 4) return null;
    return {
      kind: "filesystem",
      type: "squashfs",
      uuid: null,
      label: null,
      size: sizeOf(sb.bytesUsed, 1),
      state: null,
      details: {
        version: `${sb.major}.${sb.minor}`,
        blockSize: sb.blockSize,
        inodes: sb.inodes,
        created: isoTime(sb.created),
        bytesUsed: jsonNumber(sb.bytesUsed),
        compression: COMPRESSION[sb.compression] ?? `unknown (${sb.compression})`,
      },
      findings: truncation("squashfs", sb.bytesUsed, window, 0),
    };
  },
};

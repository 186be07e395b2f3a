import { createHash } from "node:crypto";
import { closeSync, lstatSync, openSync, readdirSync, readlinkSync, readSync } from "node:fs";
import { join } from "node:path";
import { type BlockDevice, readBytes } from "../../src/core/device.ts";
import type { ExtInode } from "../../src/extfs/inode.ts";
import type { ExtVolume } from "../../src/extfs/volume.ts";
import { libc, type NativeFunction } from "../../src/host/ffi.ts";
import { run } from "./programs.ts";

/** What can be said of a file by a kernel that mounted the volume, and by our reader. */
export interface Facts {
  readonly type: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly links: number;
  readonly inode: number;
  /** Nanoseconds since 1970. */
  readonly mtime: string;
  readonly atime: string;
  /** SHA-256 of a file, the target of a symbolic link, the number of a device. */
  readonly content: string;
  readonly allocated: number;
  /** Names and hex values, sorted. */
  readonly xattrs: string;
}

const TYPES: Record<number, string> = {
  1: "fifo",
  2: "char",
  4: "directory",
  6: "block",
  8: "file",
  10: "symlink",
  12: "socket",
};

/** Every file below a mounted folder, by its path from there (Latin-1 for bytes), as the kernel tells it. */
export function kernelFacts(root: string): Map<string, Facts> {
  const out = new Map<string, Facts>();
  const visit = (path: Buffer, shown: string): void => {
    const s = lstatSync(path, { bigint: true });
    const mode = Number(s.mode);
    const type = TYPES[mode >>> 12] ?? "unknown";
    const device = `${(s.rdev >> 8n) & 0xfffn}:${(s.rdev & 0xffn) | ((s.rdev >> 12n) & 0xfff00n)}`;
    const content =
      type === "file"
        ? hashOfFile(path)
        : type === "symlink"
          ? readlinkSync(path, { encoding: "buffer" }).toString("latin1")
          : type === "char" || type === "block"
            ? device
            : "";
    out.set(shown, {
      type,
      mode: mode & 0o7777,
      uid: Number(s.uid),
      gid: Number(s.gid),
      size: Number(s.size),
      links: Number(s.nlink),
      inode: Number(s.ino),
      mtime: String(s.mtimeNs),
      atime: String(s.atimeNs),
      content,
      allocated: Number(s.blocks) * 512,
      xattrs: kernelAttributes(path),
    });
    if (type !== "directory") return;
    for (const name of readdirSync(path, { encoding: "buffer" })) {
      const below = shown === "/" ? "/" : `${shown}/`;
      visit(Buffer.concat([path, Buffer.from("/"), name]), below + name.toString("latin1"));
    }
  };
  visit(Buffer.from(root), "/");
  return out;
}

function hashOfFile(path: Buffer): string {
  const hash = createHash("sha256");
  const fd = openSync(path, "r");
  const chunk = Buffer.alloc(1 << 20);
  for (let n = readSync(fd, chunk); n > 0; n = readSync(fd, chunk)) hash.update(chunk.subarray(0, n));
  closeSync(fd);
  return hash.digest("hex");
}

let list: NativeFunction | undefined;
let get: NativeFunction | undefined;
let set: NativeFunction | undefined;

function cString(text: string | Buffer): Uint8Array {
  return Uint8Array.from([...Buffer.from(text), 0]);
}

function kernelAttributes(path: Buffer): string {
  list ??= libc().libc.func("int64_t llistxattr(uint8_t *, uint8_t *, uint64_t)");
  get ??= libc().libc.func("int64_t lgetxattr(uint8_t *, uint8_t *, uint8_t *, uint64_t)");
  const names = new Uint8Array(65536);
  const length = Number(list(cString(path), names, names.length));
  const found: string[] = [];
  for (const name of Buffer.from(names.subarray(0, Math.max(0, length)))
    .toString("latin1")
    .split("\0")) {
    if (name === "") continue;
    const value = new Uint8Array(65536);
    const n = Number(get(cString(path), cString(Buffer.from(name, "latin1")), value, value.length));
    found.push(`${name}=${Buffer.from(value.subarray(0, n)).toString("hex")}`);
  }
  return found.sort().join("\n");
}

/** setxattr(2) on a mounted file. */
export function setAttribute(path: string, name: string, value: Uint8Array): void {
  set ??= libc().libc.func("int lsetxattr(uint8_t *, uint8_t *, uint8_t *, uint64_t, int)");
  if (Number(set(cString(path), cString(name), value, value.length, 0)) !== 0)
    throw new Error(`lsetxattr ${path} ${name}: errno ${libc().errno()}`);
}

/** The same facts from our reader. */
export async function readerFacts(volume: ExtVolume): Promise<Map<string, Facts>> {
  const out = new Map<string, Facts>();
  const visit = async (inode: ExtInode, shown: string): Promise<void> => {
    const { type, uid, gid, size, links } = inode;
    out.set(shown, {
      type,
      mode: inode.permissions,
      uid,
      gid,
      size,
      links,
      inode: inode.number,
      mtime: String(BigInt(inode.mtime.seconds) * 1_000_000_000n + BigInt(inode.mtime.nanoseconds)),
      atime: String(BigInt(inode.atime.seconds) * 1_000_000_000n + BigInt(inode.atime.nanoseconds)),
      content: await contentFact(volume, inode),
      allocated: inode.allocatedBytes,
      xattrs: (await volume.attributes(inode))
        .map((a) => `${a.name}=${Buffer.from(a.value).toString("hex")}`)
        .sort()
        .join("\n"),
    });
    if (type !== "directory") return;
    for await (const entry of volume.entries(inode)) {
      const child = await volume.inode(entry.inode);
      if (entry.type !== null && entry.type !== child.type) throw new Error(`${shown}: the entry says ${entry.type}`);
      await visit(child, (shown === "/" ? "/" : `${shown}/`) + Buffer.from(entry.name).toString("latin1"));
    }
  };
  await visit(await volume.root(), "/");
  return out;
}

async function contentFact(volume: ExtVolume, inode: ExtInode): Promise<string> {
  if (inode.type === "file") return hashOfDevice(volume.content(inode));
  if (inode.type === "symlink") return Buffer.from(await volume.linkTarget(inode)).toString("latin1");
  return inode.device ? `${inode.device.major}:${inode.device.minor}` : "";
}

/** SHA-256 of all bytes of a device. */
export async function hashOfDevice(device: BlockDevice): Promise<string> {
  const hash = createHash("sha256");
  for (let at = 0; at < device.size; at += 1 << 20)
    hash.update(await readBytes(device, at, Math.min(1 << 20, device.size - at)));
  return hash.digest("hex");
}

/** Mounts an image for the time of `work` through a loop device. Needs root. */
export async function mounted<T>(
  image: string,
  folder: string,
  options: string,
  work: (root: string) => T | Promise<T>,
): Promise<T> {
  const root = join(folder, `mnt-${Math.random().toString(36).slice(2)}`);
  run("mkdir", "-p", root);
  run("mount", "-t", "ext4", "-o", `loop,${options}`, image, root);
  try {
    return await work(root);
  } finally {
    run("umount", root);
    run("rmdir", root);
  }
}

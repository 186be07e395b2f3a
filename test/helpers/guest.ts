import { createCipheriv, createHash } from "node:crypto";
import {
  closeSync,
  copyFileSync,
  createReadStream,
  fstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { must } from "./cli.ts";

export type Layout = "mbr-ext4" | "gpt-ext4" | "mbr-lvm" | "gpt-lvm" | "mbr-lvm2";

export interface Guest {
  readonly disks: readonly string[];
  /** Of the ext4 on `disks[0]`, in bytes, where it is one run there (not for mbr-lvm2). */
  readonly root: { readonly offset: number; readonly size: number };
  /** The selector of that file system when this is the only source. */
  readonly selector: string;
}

/** Small enough to be hashed many times, large enough for several block groups. */
const SMALL = { SIZE: "80M", SWAP: "8M", LV: "48M" };
const LV_BYTES = 48 * 1024 * 1024;

/** A guest's raw disk(s) made by sfdisk, mkswap, lvm2 and mke2fs, with some files in its ext4. Needs root. */
export async function makeGuest(folder: string, layout: Layout, env: Record<string, string> = {}): Promise<Guest> {
  const files = join(folder, "files");
  mkdirSync(join(files, "etc/deep/er"), { recursive: true });
  mkdirSync(join(files, "home"), { recursive: true });
  for (let i = 0; i < 60; i++)
    writeFileSync(join(files, i % 2 ? "home" : "etc/deep", `file-${i}`), `content ${i}\n`.repeat(i * 7 + 1));
  writeFileSync(join(files, "etc/hostname"), "guest\n");
  const disks = layout === "mbr-lvm2" ? [join(folder, "a.raw"), join(folder, "b.raw")] : [join(folder, "guest.raw")];
  await must("sh", ["test/disks/make-guest.sh", layout, ...disks], { env: { ...SMALL, FILES: files, ...env } });
  const table = JSON.parse(await must("sfdisk", ["--json", disks[0]!])) as {
    partitiontable: { partitions: { start: number; size: number }[] };
  };
  const p2 = table.partitiontable.partitions[1]!;
  // pvcreate puts the first extent 1 MiB into the volume (lvm.conf, default_data_alignment); dumpe2fs proves that it is so.
  const shift = layout.includes("lvm") ? 1024 * 1024 : 0;
  const offset = p2.start * 512 + shift;
  const size = layout.includes("lvm") ? LV_BYTES : p2.size * 512;
  return { disks, root: { offset, size }, selector: layout.includes("lvm") ? `${env.VG ?? "lvg1"}/lvroot` : "p2" };
}

/** Wipes inodes and a bitmap with debugfs, so that e2fsck has something of each pass to do. Works on the raw disk. */
export async function damage(disk: string, offset: number): Promise<void> {
  const commands = [
    "clri /etc/deep",
    "clri /home/file-1",
    "set_inode_field /home/file-3 links_count 9",
    "freeb 900 30",
  ];
  for (const c of commands) await must("debugfs", ["-w", "-R", c, `${disk}?offset=${offset}`]);
}

export function sha256File(path: string): Promise<string> {
  return new Promise((done, fail) => {
    const hash = createHash("sha256");
    createReadStream(path, { highWaterMark: 1 << 20 })
      .on("data", (c) => hash.update(c))
      .on("error", fail)
      .on("end", () => done(hash.digest("hex")));
  });
}

/** A run of bytes of a file, as a file of its own. */
export function cutOut(path: string, offset: number, size: number, to: string): void {
  const from = openSync(path, "r");
  const out = openSync(to, "w");
  const buffer = Buffer.alloc(1 << 20);
  for (let at = 0; at < size; at += buffer.length) {
    const n = readSync(from, buffer, 0, Math.min(buffer.length, size - at), offset + at);
    if (!buffer.subarray(0, n).every((b) => b === 0)) writeSync(out, buffer, 0, n, at);
  }
  closeSync(from);
  closeSync(out);
  truncateSync(to, size);
}

export async function toQcow2(raw: string, qcow2: string, options: string[] = []): Promise<void> {
  await must("qemu-img", ["convert", "-f", "raw", "-O", "qcow2", ...options.flatMap((o) => ["-o", o]), raw, qcow2]);
}

export const PASSPHRASE = "correct horse battery staple";

/** LUKS1 by cryptsetup with the parameters of the field, filled by qemu-img. */
export async function toLuks1(raw: string, luks: string, keyFile: string): Promise<void> {
  writeFileSync(keyFile, PASSPHRASE, { mode: 0o600 });
  writeFileSync(luks, "");
  truncateSync(luks, fileSize(raw) + 8 * 1024 * 1024);
  const parameters = [
    "--type",
    "luks1",
    "--hash",
    "sha512",
    "--key-size",
    "512",
    "--cipher",
    "aes-xts-plain64",
    "--pbkdf-force-iterations",
    "1000",
  ];
  await must("cryptsetup", ["luksFormat", "-q", ...parameters, luks, keyFile]);
  const target = `driver=luks,key-secret=k,file.filename=${luks}`;
  await must("qemu-img", [
    "convert",
    "-f",
    "raw",
    "-n",
    "--object",
    `secret,id=k,file=${keyFile}`,
    raw,
    "--target-image-opts",
    target,
  ]);
}

/**
 * LUKS2 by cryptsetup (argon2id). No program here writes its payload without device-mapper, so it is encrypted sector by sector with OpenSSL's
 * AES-XTS and the volume key that cryptsetup itself gives out; nothing of ours takes part.
 */
export async function toLuks2(raw: string, luks: string, keyFile: string, sectorSize: 512 | 4096): Promise<void> {
  writeFileSync(keyFile, PASSPHRASE, { mode: 0o600 });
  const payload = 16 * 1024 * 1024;
  writeFileSync(luks, "");
  truncateSync(luks, fileSize(raw) + payload);
  const cost = [
    "--pbkdf",
    "argon2id",
    "--pbkdf-memory",
    "4096",
    "--pbkdf-parallel",
    "2",
    "--pbkdf-force-iterations",
    "4",
  ];
  await must("cryptsetup", [
    "luksFormat",
    "-q",
    "--type",
    "luks2",
    ...cost,
    "--sector-size",
    String(sectorSize),
    luks,
    keyFile,
  ]);
  const volumeKey = `${luks}.vk`;
  await must("cryptsetup", [
    "luksDump",
    "-q",
    "--dump-volume-key",
    "--volume-key-file",
    volumeKey,
    "--key-file",
    keyFile,
    luks,
  ]);
  const key = readFileSync(volumeKey);
  const from = openSync(raw, "r");
  const to = openSync(luks, "r+");
  const buffer = Buffer.alloc(1 << 20);
  for (let at = 0; at < fileSize(raw); at += buffer.length) {
    const n = readSync(from, buffer, 0, buffer.length, at);
    // dm-crypt counts the IV in 512-byte sectors unless iv_large_sectors is set, which LUKS2 does not use.
    for (let s = 0; s < n; s += sectorSize) {
      const iv = Buffer.alloc(16);
      iv.writeBigUInt64LE(BigInt((at + s) / 512));
      buffer.set(createCipheriv("aes-256-xts", key, iv).update(buffer.subarray(s, s + sectorSize)), s);
    }
    writeSync(to, buffer, 0, n, payload + at);
  }
  closeSync(from);
  closeSync(to);
}

export function fileSize(path: string): number {
  const fd = openSync(path, "r");
  try {
    return fstatSync(fd).size;
  } finally {
    closeSync(fd);
  }
}

export function copyOf(path: string, to: string): string {
  copyFileSync(path, to);
  return to;
}

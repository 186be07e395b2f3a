import {
  closeSync,
  copyFileSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { openFileDevice } from "../../src/core/file-device.ts";
import { memoryDevice } from "../../src/core/memory-device.ts";
import { findPath, nameText } from "../../src/extfs/path.ts";
import { openExt } from "../../src/extfs/volume.ts";
import { kernelFacts, mounted, readerFacts, setAttribute } from "../helpers/ext.ts";
import { noise, populate } from "../helpers/populate.ts";
import { run, temporaryFolder } from "../helpers/programs.ts";

const folder = temporaryFolder();
afterAll(() => folder.remove());

const KINDS: readonly (readonly [string, ...string[]])[] = [
  ["ext2, 1 KiB blocks", "-t", "ext2", "-b", "1024", "-I", "128"],
  ["ext2, no filetype", "-t", "ext2", "-b", "2048", "-O", "^filetype"],
  ["ext3", "-t", "ext3", "-O", "dir_index"],
  ["ext4, 1 KiB blocks, 64bit", "-t", "ext4", "-b", "1024", "-O", "64bit"],
  ["ext4 without checksums", "-t", "ext4", "-O", "^metadata_csum,^64bit"],
  ["ext4, uninit_bg", "-t", "ext4", "-O", "^metadata_csum,uninit_bg"],
  ["inline data", "-t", "ext4", "-O", "inline_data"],
  ["inline data, inodes of 1 KiB", "-t", "ext4", "-O", "inline_data", "-I", "1024"],
  ["bigalloc", "-t", "ext4", "-O", "bigalloc", "-C", "65536"],
  ["ea_inode, large_dir", "-t", "ext4", "-O", "ea_inode,large_dir"],
  [
    "meta_bg, no flex_bg, a seed of its own",
    ...["-t", "ext4", "-b", "1024", "-O", "meta_bg,^flex_bg,^resize_inode,metadata_csum_seed"],
  ],
];

describe("files beside the kernel's own mount", () => {
  it.each(KINDS)("%s", async (name, ...args) => {
    const image = join(folder.path, `${name.replaceAll(/\W/g, "-")}.img`);
    run("mke2fs", "-q", "-F", "-m", "0", ...args, image, "60M");
    await mounted(image, folder.path, "user_xattr,acl", (root) => {
      // The third level of indirect pointers begins behind 64 MiB where blocks are of 1 KiB.
      populate(root, name.startsWith("ext2") ? 72_000_001 : undefined);
      if (args.join().includes("ea_inode")) setAttribute(join(root, "small"), "user.huge", noise(20_000, 9));
    });
    const expected = await mounted(image, folder.path, "ro,noload", kernelFacts);
    await using device = openFileDevice(image);
    await using volume = await openExt(device);
    const seen = await readerFacts(volume);
    expect([...seen.keys()].sort()).toEqual([...expected.keys()].sort());
    for (const [path, facts] of expected) expect(seen.get(path), path).toEqual(facts);
    expect(expected.size).toBeGreaterThan(300);
    run("rm", image);
  });

  it("what was allocated and never written reads as zeros, and a tree of several levels is walked", async () => {
    const image = join(folder.path, "unwritten.img");
    run("mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024", image, "64M");
    await mounted(image, folder.path, "rw", (root) => {
      run("fallocate", "-l", "3M", join(root, "unwritten"));
      const fd = openSync(join(root, "unwritten"), "r+");
      for (let i = 0; i < 600; i++) writeSync(fd, noise(1024, i + 1), 0, 1024, i * 4096);
      closeSync(fd);
    });
    const expected = await mounted(image, folder.path, "ro", kernelFacts);
    await using device = openFileDevice(image);
    await using volume = await openExt(device);
    const seen = await readerFacts(volume);
    expect(seen.get("/unwritten")).toEqual(expected.get("/unwritten"));
    const kinds = new Set<string>();
    const inode = await volume.inode(seen.get("/unwritten")!.inode);
    for await (const extent of volume.content(inode).extents(0, inode.size)) kinds.add(extent.kind);
    expect([...kinds].sort()).toEqual(["data", "zero"]);
    expect(run("debugfs", "-R", "ex /unwritten", image)).toMatch(/ 1\/ 1|1\/ 2/);
  });

  it("a hashed directory of 20,000 names", async () => {
    const image = join(folder.path, "hashed.img");
    run("mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024", "-I", "128", "-N", "21000", image, "40M");
    const expected = await mounted(image, folder.path, "noatime", (root) => {
      for (let i = 0; i < 20_000; i++) closeSync(openSync(join(root, `a name that is long enough ${i}`), "w"));
      return readdirSync(root);
    });
    expect(run("debugfs", "-R", "htree /", image)).toMatch(/Indirect levels: 1/);
    await using device = openFileDevice(image);
    await using volume = await openExt(device);
    const names: string[] = [];
    for await (const { name } of volume.entries(await volume.root())) names.push(nameText(name));
    expect(names.sort()).toEqual(expected.sort());
    expect(names.length).toBe(20_001);
    expect((await findPath(volume, "/a name that is long enough 19999", { followLast: true })).type).toBe("file");
  });

  const UNMOUNTABLE: readonly (readonly [string, ...string[]])[] = [
    ["blocks of 64 KiB", "-b", "65536", "-N", "4000", "-O", "^has_journal"],
    ["quota, project, casefold, verity, orphan_file", "-O", "quota,project,casefold,verity,orphan_file"],
  ];
  it.each(UNMOUNTABLE)("%s, which not every kernel mounts, beside debugfs", async (name, ...args) => {
    const source = join(folder.path, `source ${name}`);
    mkdirSync(source);
    writeFileSync(join(source, "one"), noise(200_000, 3));
    mkdirSync(join(source, "folder"));
    for (let i = 0; i < 600; i++) writeFileSync(join(source, "folder", `file ${i} with a name of some length`), "");
    const image = join(folder.path, `${name.replaceAll(/\W/g, "-")}.img`);
    run("mke2fs", "-q", "-F", "-t", "ext4", ...args, "-d", source, image, "100M");
    await using device = openFileDevice(image);
    await using volume = await openExt(device);
    const seen = await readerFacts(volume);
    const out = join(folder.path, `dumped ${name}`);
    mkdirSync(out);
    run("debugfs", "-R", `rdump / "${out}"`, image);
    const expected = kernelFacts(out);
    expect([...seen.keys()].sort()).toEqual([...expected.keys()].sort());
    expect(seen.size).toBeGreaterThan(600);
    for (const [path, facts] of expected) expect(seen.get(path)?.content, path).toBe(facts.content);
  });
});

describe("a journal that waits for its replay", () => {
  const JOURNALS: readonly (readonly [string, string, ...string[]])[] = [
    ["csum v3, 64bit", "data=ordered", "-t", "ext4", "-O", "64bit,metadata_csum"],
    ["no checksums, 1 KiB blocks", "data=ordered", "-t", "ext4", "-b", "1024", "-O", "^64bit,^metadata_csum"],
    ["checksums of the first kind", "journal_checksum", "-t", "ext4", "-O", "^64bit,^metadata_csum"],
    ["ext3", "data=ordered", "-t", "ext3"],
    ["escaped blocks and revocations", "data=journal", "-t", "ext4", "-b", "1024"],
  ];
  it.each(JOURNALS)("%s", async (name, option, ...args) => {
    const image = join(folder.path, `journal-${name.replaceAll(/\W/g, "-")}.img`);
    const crashed = `${image}.crashed`;
    run("mke2fs", "-q", "-F", ...args, image, "64M");
    await mounted(image, folder.path, option, (root) => {
      populate(root);
      run("sync", "-f", root);
      // Freed directory blocks are revoked, and used again for data.
      run("rm", "-r", join(root, "many"), join(root, "deep"));
      const magic = noise(40_960, 7);
      for (let i = 0; i < magic.length; i += 1024) magic.set([0xc0, 0x3b, 0x39, 0x98], i);
      for (let i = 0; i < 40; i++) writeFileSync(join(root, `magic ${i}`), magic);
      run("sync", "-f", root);
      // A crash: what the disk holds now, before the journal was written back.
      copyFileSync(image, crashed);
    });
    const before = run("sha256sum", crashed);
    await using device = openFileDevice(crashed);
    await using volume = await openExt(device);
    expect(volume.notes.join()).toMatch(/replayed in memory/);
    const seen = await readerFacts(volume);
    expect(run("sha256sum", crashed)).toBe(before);
    // The kernel replays its copy for real.
    const expected = await mounted(crashed, folder.path, "rw,noatime", kernelFacts);
    expect([...seen.keys()].sort()).toEqual([...expected.keys()].sort());
    for (const [path, facts] of expected) expect(seen.get(path), path).toEqual(facts);
    expect(expected.has("/magic 39")).toBe(true);
  });

  it("fast commits are refused by name", async () => {
    const image = join(folder.path, "fast.img");
    const crashed = `${image}.crashed`;
    run("mke2fs", "-q", "-F", "-t", "ext4", "-O", "fast_commit", image, "64M");
    await mounted(image, folder.path, "noatime", (root) => {
      writeFileSync(join(root, "before"), "");
      run("sync", "-f", root);
      for (let i = 0; i < 5; i++) {
        const fd = openSync(join(root, `fast ${i}`), "w");
        writeSync(fd, "small");
        fsyncSync(fd);
        closeSync(fd);
      }
      copyFileSync(image, crashed);
    });
    await using device = openFileDevice(crashed);
    await expect(openExt(device)).rejects.toMatchObject({ code: "unsupported", feature: "fast_commit" });
  });

  it("a block of the journal that is damaged, and a damaged commit, are told", async () => {
    const image = join(folder.path, "damaged-journal.img");
    const crashed = `${image}.crashed`;
    run("mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024", image, "16M");
    await mounted(image, folder.path, "noatime", (root) => {
      for (let i = 0; i < 30; i++) mkdirSync(join(root, `folder ${i}`));
      run("sync", "-f", root);
      copyFileSync(image, crashed);
    });
    const bytes = readFileSync(crashed);
    const found = (type: number): number => {
      const header = Buffer.from([0xc0, 0x3b, 0x39, 0x98, 0, 0, 0, type]);
      for (let at = 0; at < bytes.length; at += 1024) if (bytes.subarray(at, at + 8).equals(header)) return at;
      throw new Error(`no journal block of type ${type}`);
    };
    const damagedAt = async (at: number) => {
      const copy = Uint8Array.from(bytes);
      copy[at] = copy[at]! ^ 1;
      await using volume = await openExt(memoryDevice(copy));
      return volume.notes.join();
    };
    // The first block behind a descriptor is the first copy; byte 500 of a commit block is covered by its checksum alone.
    await expect(damagedAt(found(1) + 1024 + 700)).rejects.toMatchObject({ code: "corrupt" });
    await expect(damagedAt(found(1) + 20)).rejects.toMatchObject({ code: "corrupt" });
    expect(await damagedAt(found(2) + 500)).toMatch(/transaction \d+ of the journal is damaged/);
  });
});

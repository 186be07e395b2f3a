import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { type FilesystemInfo, recognise } from "../../src/filesystems/registry.ts";
import { withFileWindow } from "../helpers/probe-window.ts";
import { blkid, run, sparseFile, temporaryFolder } from "../helpers/programs.ts";

const MiB = 1024 * 1024;
const folder = temporaryFolder();
afterAll(folder.remove);
const disk = join(folder.path, "disk");

async function recogniseFile(path: string): Promise<FilesystemInfo> {
  const info = await withFileWindow(path, recognise);
  if (!info) throw new Error(`${path}: nothing recognised`);
  return info;
}

/** Values of `key: value` lines. */
function table(text: string): Map<string, string> {
  const rows = text.split("\n").map((line) => /^([^:]+):\s*(.*)$/.exec(line));
  return new Map(rows.flatMap((row) => (row ? [[row[1]!, row[2]!.trim()] as const] : [])));
}

const EXT_CASES: readonly (readonly [string, string[]])[] = [
  ["ext2", ["-t", "ext2"]],
  ["ext3", ["-t", "ext3", "-L", "root"]],
  ["ext4", ["-t", "ext4", "-L", "Überbau 日本"]],
  ["blocks of 4 KiB", ["-t", "ext4", "-b", "4096"]],
  ["blocks of 2 KiB, errors=panic", ["-t", "ext4", "-b", "2048", "-e", "panic"]],
  ["blocks of 64 KiB", ["-F", "-t", "ext4", "-b", "65536"]],
  ["revision 0", ["-t", "ext2", "-r", "0"]],
  ["ext4 without a journal", ["-t", "ext4", "-O", "^has_journal"]],
  ["ext2 with an ext4 feature", ["-t", "ext2", "-O", "huge_file"]],
  ["ext3 with meta_bg", ["-t", "ext3", "-O", "meta_bg,^resize_inode"]],
  ["bigalloc", ["-t", "ext4", "-O", "bigalloc"]],
  ["32-bit", ["-t", "ext4", "-O", "^64bit"]],
  ["uninit_bg", ["-t", "ext4", "-O", "^metadata_csum,uninit_bg"]],
  ["metadata_csum_seed, casefold, orphan_file", ["-t", "ext4", "-O", "metadata_csum_seed,casefold,orphan_file"]],
  ["mmp, inline_data, ea_inode, quota, project", ["-t", "ext4", "-O", "mmp,inline_data,ea_inode,quota,project"]],
  ["encrypt, verity, fast_commit, large_dir", ["-t", "ext4", "-O", "encrypt,verity,fast_commit,large_dir"]],
  ["sparse_super2", ["-t", "ext4", "-O", "sparse_super2,^resize_inode"]],
  ["Hurd", ["-t", "ext2", "-o", "hurd", "-O", "none"]],
  ["a fixed UUID and mount counts", ["-t", "ext4", "-U", "11223344-5566-7788-99aa-bbccddeeff00", "-M", "/srv/data"]],
];

describe("ext against dumpe2fs and blkid", () => {
  const iso = (text: string | undefined) =>
    text === undefined || text === "n/a" || text.startsWith("Thu Jan  1 00:00:00 1970")
      ? null
      : `${new Date(`${text} UTC`).toISOString().slice(0, 19)}Z`;

  function expectSame(info: FilesystemInfo): void {
    const says = table(run("dumpe2fs", "-h", disk));
    const number = (key: string) => Number.parseInt(says.get(key)!, 10);
    const d = info.details;
    const features = d.features as { compat: string[]; incompat: string[]; ro_compat: string[] };
    const names = [...features.compat, ...features.incompat, ...features.ro_compat].join(" ");
    expect(names).toBe(says.get("Filesystem features")!.replace(/^\(none\)$/, ""));
    expect(d.filesystemState).toBe(says.get("Filesystem state"));
    expect(d.blocks).toBe(number("Block count"));
    expect(d.freeBlocks).toBe(number("Free blocks"));
    expect(d.reservedBlocks).toBe(number("Reserved block count"));
    expect(d.inodes).toBe(number("Inode count"));
    expect(d.freeInodes).toBe(number("Free inodes"));
    expect(d.inodesUsed).toBe(number("Inode count") - number("Free inodes"));
    expect(d.blockSize).toBe(number("Block size"));
    expect(d.mountCount).toBe(number("Mount count"));
    expect(d.maxMountCount).toBe(number("Maximum mount count"));
    expect(d.checkInterval).toBe(number("Check interval"));
    expect(d.inodeSize).toBe(says.has("Inode size") ? number("Inode size") : 128);
    expect(d.blocksPerGroup).toBe(number("Blocks per group"));
    expect(d.inodesPerGroup).toBe(number("Inodes per group"));
    expect(d.created).toBe(iso(says.get("Filesystem created")));
    expect(d.lastCheck).toBe(iso(says.get("Last checked")));
    expect(d.lastMount).toBe(iso(says.get("Last mount time")));
    expect(d.lastWrite).toBe(iso(says.get("Last write time")));
    expect(d.lastMountedOn ?? "<not available>").toBe(says.get("Last mounted on"));
    expect(String(d.errorBehaviour)).toBe(
      { Continue: "continue", "Remount read-only": "remount-ro", Panic: "panic" }[says.get("Errors behavior")!],
    );
    expect(d.creatorOs).toBe(says.get("Filesystem OS type"));
    expect(String(d.revision).split(".")[0]).toBe(says.get("Filesystem revision #")!.split(" ")[0]);
    expect(info.uuid).toBe(says.get("Filesystem UUID"));
    const journal = d.journal as { where: string; inode?: number } | null;
    expect(journal?.where === "internal" ? String(journal.inode) : undefined).toBe(says.get("Journal inode"));
    const named = blkid(disk)!;
    expect([info.type, info.uuid, info.label, d.revision]).toEqual([
      named.type,
      named.uuid,
      named.label,
      named.version,
    ]);
  }

  it.each(EXT_CASES)("%s", async (_name, options) => {
    sparseFile(disk, 64 * MiB);
    run("mke2fs", "-q", ...options, disk);
    const info = await recogniseFile(disk);
    expectSame(info);
    expect(info.state).toBe("clean");
    expect(info.size).toBeLessThanOrEqual(64 * MiB);
    expect(info.findings).toEqual([]);
  });

  it("mount counts, intervals and dates that tune2fs sets", async () => {
    sparseFile(disk, 16 * MiB);
    run("mke2fs", "-q", "-t", "ext4", disk);
    run("tune2fs", "-c", "30", "-C", "3", "-i", "180d", "-T", "20180806", "-e", "remount-ro", disk);
    const info = await recogniseFile(disk);
    expectSame(info);
    expect(info.details.lastCheck).toBe("2018-08-06T00:00:00Z");
    expect(info.details.checkInterval).toBe(180 * 86400);
  });

  it.each([
    [0, "not clean"],
    [1, "clean"],
    [2, "errors"],
    [3, "errors"],
    [5, "clean"],
  ])("the state %i is '%s'", async (value, state) => {
    sparseFile(disk, 16 * MiB);
    run("mke2fs", "-q", "-t", "ext3", disk);
    run("debugfs", "-w", "-R", `set_super_value state ${value}`, disk);
    const info = await recogniseFile(disk);
    expectSame(info);
    expect(info.state).toBe(state);
  });

  it("a journal that must be replayed", async () => {
    sparseFile(disk, 16 * MiB);
    run("mke2fs", "-q", "-t", "ext4", disk);
    run("debugfs", "-w", "-R", "feature needs_recovery", disk);
    const info = await recogniseFile(disk);
    expectSame(info);
    expect([info.state, info.details.needsRecovery]).toEqual(["needs journal recovery", true]);
  });

  it("names every feature bit as e2fsprogs does", async () => {
    for (const at of [0x5c, 0x60, 0x64]) {
      sparseFile(disk, 8 * MiB);
      run("mke2fs", "-q", "-t", "ext4", "-O", "^metadata_csum", disk);
      const bytes = readFileSync(disk);
      // Without metadata_csum and journal_dev, which change what else dumpe2fs wants to see.
      bytes.writeUInt32LE({ 92: 0xffffffff, 96: 0xfffffff7, 100: 0xfffffbff }[at]!, 1024 + at);
      sparseFile(disk, 8 * MiB, [[0, bytes]]);
      const info = await recogniseFile(disk);
      const { compat, incompat, ro_compat } = info.details.features as Record<string, string[]>;
      const says = table(run("dumpe2fs", "-f", "-h", disk));
      expect([...compat!, ...incompat!, ...ro_compat!].join(" ")).toBe(says.get("Filesystem features"));
      expect(info.findings.map((f) => f.code)).toContain("ext-unknown-feature");
    }
  });

  it("an external journal and the file system that uses it", async () => {
    const journal = join(folder.path, "journal");
    sparseFile(journal, 8 * MiB);
    run("mke2fs", "-q", "-b", "4096", "-O", "journal_dev", "-L", "log", journal);
    const info = await recogniseFile(journal);
    const named = blkid(journal)!;
    expect([info.kind, info.type, info.uuid, info.label]).toEqual(["unknown", named.type, named.uuid, named.label]);
    expect(named.type).toBe("jbd");
    sparseFile(disk, 16 * MiB);
    run("mke2fs", "-q", "-t", "ext4", "-b", "4096", disk);
    run("debugfs", "-w", "-R", `set_super_value journal_uuid ${info.uuid}`, disk);
    run("debugfs", "-w", "-R", "set_super_value journal_inum 0", disk);
    expect((await recogniseFile(disk)).details.journal).toEqual({ where: "external", uuid: info.uuid });
  });

  it("a wrong checksum and a missing end are findings; a wiped superblock is not recognised", async () => {
    sparseFile(disk, 16 * MiB);
    run("mke2fs", "-q", "-t", "ext4", disk);
    const bytes = readFileSync(disk);
    bytes[1024 + 0x78] = 0x41;
    sparseFile(disk, 16 * MiB, [[0, bytes]]);
    const damaged = await recogniseFile(disk);
    expect(damaged.state).toBe("superblock damaged");
    expect(damaged.findings.map((f) => [f.code, f.severity, f.offset])).toEqual([
      ["ext-superblock-checksum", "error", 1024],
    ]);
    bytes[1024 + 0x78] = 0;
    sparseFile(disk, 16 * MiB, [[0, bytes]]);
    expect((await recogniseFile(disk)).findings).toEqual([]);
    sparseFile(disk, 12 * MiB, [[0, bytes.subarray(0, 12 * MiB)]]);
    expect((await recogniseFile(disk)).findings.map((f) => f.code)).toEqual(["ext-truncated"]);
    bytes.fill(0, 1024, 2048);
    sparseFile(disk, 16 * MiB, [[0, bytes]]);
    expect(await withFileWindow(disk, recognise)).toBeNull();
  });
});

describe("others against blkid and their own tools", () => {
  const OTHERS: readonly (readonly [string, number, string, string[]])[] = [
    ["FAT12", 4 * MiB, "mkfs.vfat", ["-F", "12", "-n", "BOOT", "-i", "deadbeef"]],
    ["FAT16", 32 * MiB, "mkfs.vfat", ["-F", "16"]],
    ["FAT16 with 4 KiB sectors", 64 * MiB, "mkfs.vfat", ["-F", "16", "-S", "4096", "-n", "A B"]],
    ["FAT32", 64 * MiB, "mkfs.vfat", ["-F", "32", "-n", "EFI"]],
    ["FAT32 without a label", 64 * MiB, "mkfs.vfat", ["-F", "32", "-s", "1"]],
    ["FAT without Atari or MBR magic", 4 * MiB, "mkfs.vfat", ["-m", "/dev/null"]],
    ["swap", 16 * MiB, "mkswap", ["-L", "swap-a"]],
    ["swap with pages of 64 KiB", 16 * MiB, "mkswap", ["-p", "65536"]],
    ["swap with pages of 16 KiB", 16 * MiB, "mkswap", ["-p", "16384", "-L", "sixteen bytes ab"]],
    ["XFS", 310 * MiB, "mkfs.xfs", ["-q", "-L", "daten"]],
    ["XFS version 4", 310 * MiB, "mkfs.xfs", ["-q", "-m", "crc=0"]],
    [
      "XFS with blocks of 1 KiB and sectors of 1 KiB",
      310 * MiB,
      "mkfs.xfs",
      ["-q", "-b", "size=1024", "-s", "size=1024"],
    ],
    ["Btrfs", 120 * MiB, "mkfs.btrfs", ["-q", "-L", "Übung"]],
    ["Btrfs with sha256", 120 * MiB, "mkfs.btrfs", ["-q", "--csum", "sha256", "-M"]],
    ["Btrfs with xxhash", 120 * MiB, "mkfs.btrfs", ["-q", "--csum", "xxhash"]],
  ];

  it.each(OTHERS)("%s", async (_name, size, program, options) => {
    sparseFile(disk, size);
    run(program, ...options, disk);
    const info = await recogniseFile(disk);
    const named = blkid(disk)!;
    expect([info.type, info.uuid, info.label]).toEqual([named.type, named.uuid, named.label]);
    if (info.type === "vfat" || info.type === "swap") expect(info.details.version).toBe(named.version);
    expect(info.kind).toBe(info.type === "swap" ? "swap" : "filesystem");
    expect(info.findings.filter((f) => f.severity !== "info")).toEqual([]);
    expect(info.state).toBe({ vfat: "clean", swap: null, xfs: "clean", btrfs: null }[info.type]);
    sparseFile(disk, size - 2 * MiB, [[0, readFileSync(disk).subarray(0, size - 2 * MiB)]]);
    const code = `${info.type === "vfat" ? "fat" : info.type}-truncated`;
    expect((await recogniseFile(disk)).findings.map((f) => f.code)).toContain(code);
  });

  it("swap: size and pages as swaplabel and mkswap say", async () => {
    sparseFile(disk, 10 * MiB);
    const made = run("mkswap", "-U", "0a0b0c0d-1111-2222-3333-444455556666", "-L", "s", disk);
    const info = await recogniseFile(disk);
    expect(made).toContain(`(${10 * MiB - 4096} bytes)`);
    expect(info.size).toBe(10 * MiB);
    expect(info.details).toMatchObject({ lastPage: 2559, pageSize: 4096, badPages: 0, byteOrder: "little" });
    const says = table(run("swaplabel", disk));
    expect([info.label, info.uuid]).toEqual([says.get("LABEL"), says.get("UUID")]);
  });

  it("a hibernated system is seen in the swap signature", async () => {
    for (const signature of ["S1SUSPEND", "S2SUSPEND", "ULSUSPEND", "LINHIB0001"]) {
      sparseFile(disk, 10 * MiB);
      run("mkswap", "-L", "s", disk);
      const bytes = readFileSync(disk);
      bytes.write(signature.padEnd(10, "\0"), 0xff6, "latin1");
      sparseFile(disk, 10 * MiB, [[0, bytes]]);
      const info = await recogniseFile(disk);
      const named = blkid(disk)!;
      expect([info.type, info.uuid, info.label]).toEqual([named.type, named.uuid, named.label]);
      expect([info.kind, info.state, info.findings.map((f) => f.code)]).toEqual([
        "swap",
        "hibernated",
        ["swap-hibernated"],
      ]);
    }
  });

  it("XFS: geometry as xfs_db prints it", async () => {
    sparseFile(disk, 310 * MiB);
    run("mkfs.xfs", "-q", "-L", "hello", disk);
    const says = new Map(
      run("xfs_db", "-r", "-c", "sb 0", "-c", "p", disk)
        .split("\n")
        .map((line) => line.split(" = ") as [string, string]),
    );
    const info = await recogniseFile(disk);
    const number = (key: string) => Number(says.get(key));
    expect(info.size).toBe(number("dblocks") * number("blocksize"));
    expect(info.uuid).toBe(says.get("uuid"));
    expect(info.details).toMatchObject({
      version: number("versionnum") & 0xf,
      blockSize: number("blocksize"),
      sectorSize: number("sectsize"),
      inodeSize: number("inodesize"),
      blocks: number("dblocks"),
      freeBlocks: number("fdblocks"),
      inodes: number("icount"),
      freeInodes: number("ifree"),
      allocationGroups: number("agcount"),
      agBlocks: number("agblocks"),
      logBlocks: number("logblocks"),
    });
    const bytes = readFileSync(disk);
    bytes[108] = 0x48;
    sparseFile(disk, 310 * MiB, [[0, bytes.subarray(0, 4096)]]);
    const damaged = await recogniseFile(disk);
    expect([damaged.state, damaged.findings.map((f) => f.code)]).toEqual([
      "superblock damaged",
      ["xfs-superblock-checksum"],
    ]);
  });

  it("XFS: the log is clean only with an unmount record at its end, as xfs_logprint says", async () => {
    sparseFile(disk, 310 * MiB);
    run("mkfs.xfs", "-q", disk);
    const logprint = () => /state: <(\w+)>/.exec(run("xfs_logprint", "-t", disk))?.[1];
    expect([(await recogniseFile(disk)).state, logprint()]).toEqual(["clean", "CLEAN"]);
    const bytes = readFileSync(disk);
    const record = bytes.indexOf(Buffer.from("feedbabe", "hex"), 4096);
    bytes[record + 512 + 9] = 0;
    sparseFile(disk, 310 * MiB, [[0, bytes]]);
    expect([(await recogniseFile(disk)).state, logprint()]).toEqual(["dirty log", "DIRTY"]);
  });

  it("XFS: mkfs in progress and needsrepair", async () => {
    sparseFile(disk, 310 * MiB);
    run("mkfs.xfs", "-q", disk);
    run("xfs_db", "-x", "-c", "sb 0", "-c", "write inprogress 1", disk);
    expect((await recogniseFile(disk)).state).toBe("mkfs in progress");
    run("xfs_db", "-x", "-c", "sb 0", "-c", "write inprogress 0", "-c", "write features_incompat 0x1b", disk);
    expect((await recogniseFile(disk)).state).toBe("needs repair");
  });

  it("Btrfs: as dump-super prints it", async () => {
    sparseFile(disk, 120 * MiB);
    run("mkfs.btrfs", "-q", "-L", "b", disk);
    const says = new Map(
      run("btrfs", "inspect-internal", "dump-super", disk)
        .split("\n")
        .map((line) => line.split(/\t+/).map((part) => part.trim()) as [string, string]),
    );
    const info = await recogniseFile(disk);
    expect(info.uuid).toBe(says.get("fsid"));
    expect(info.size).toBe(Number(says.get("dev_item.total_bytes")));
    expect(info.details).toMatchObject({
      generation: Number(says.get("generation")),
      totalBytes: Number(says.get("total_bytes")),
      bytesUsed: Number(says.get("bytes_used")),
      devices: Number(says.get("num_devices")),
      sectorSize: Number(says.get("sectorsize")),
      nodeSize: Number(says.get("nodesize")),
      deviceUuid: says.get("dev_item.uuid"),
      incompatFlags: says.get("incompat_flags"),
      checksum: "valid",
      logReplayPending: false,
    });
    const bytes = readFileSync(disk);
    bytes[65536 + 299] = 0x42;
    sparseFile(disk, 120 * MiB, [[0, bytes.subarray(0, 128 * 1024)]]);
    expect((await recogniseFile(disk)).findings.map((f) => f.code)).toEqual(["btrfs-superblock-checksum"]);
  });

  it("FAT: the marks of an unclean shutdown", async () => {
    for (const [type, at, mask] of [
      ["32", 65, 1],
      ["16", 37, 1],
      ["12", 37, 1],
    ] as const) {
      const size = type === "32" ? 64 * MiB : type === "16" ? 32 * MiB : 4 * MiB;
      sparseFile(disk, size);
      run("mkfs.vfat", "-F", type, disk);
      const bytes = readFileSync(disk);
      bytes[at]! |= mask;
      sparseFile(disk, size, [[0, bytes]]);
      expect((await recogniseFile(disk)).state).toBe("not clean");
    }
  });

  it("two signatures: named as blkid's first, with a finding where blkid refuses", async () => {
    sparseFile(disk, 120 * MiB);
    run("mkfs.btrfs", "-q", disk);
    const keep = readFileSync(disk).subarray(65536, 65536 + 4096);
    sparseFile(disk, 120 * MiB);
    run("mkfs.xfs", "-q", "-f", "-d", "size=120m", "--unsupported", disk);
    const bytes = readFileSync(disk);
    bytes.set(keep, 65536);
    sparseFile(disk, 120 * MiB, [[0, bytes]]);
    expect(blkid(disk)).toBeNull();
    const info = await recogniseFile(disk);
    expect([info.type, info.findings.map((f) => f.code)]).toEqual(["xfs", ["filesystem-ambiguous"]]);
  });
});

import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { deflateRawSync } from "node:zlib";
import { LvmHost } from "../test/helpers/lvm.ts";
import { emptyDisk, feed } from "../test/helpers/partition-tables.ts";
import { run, sparseFile, temporaryFolder } from "../test/helpers/programs.ts";
import { Sparse } from "./engine/sparse.ts";
import { Meter } from "./engine/watched.ts";
import type { InputJson } from "./seeds.ts";
import { tolerant } from "./targets/exercise.ts";
import { targetNamed } from "./targets/index.ts";

/**
 * Makes fuzz/seeds with the formats' own tools (needs root for loop devices): `node fuzz/run.mjs --make-seeds`. They are committed, so
 * that a run of the fuzzer depends on its seed alone.
 */
const MIB = 1024 * 1024;
const FOLDER = "fuzz/seeds";
/** Pages of all parts that are kept: metadata lies in front, or is all there is. */
const KEPT = 96;
const PAGE = 4096;
/** A page that does not get smaller than this is key material: it tells a parser nothing, and nobody can read the diff. */
const COMPRESSIBLE = 800;

/** Where the disks are made. It is there only while seeds are: whoever imports this for a run of the fuzzer leaves nothing behind. */
let folder = "";
const at = (name: string): string => join(folder, name);

function version(program: string, ...args: string[]): string {
  return run(program, ...args).split("\n")[0] ?? program;
}

function save(name: string, description: string, ...paths: string[]): void {
  const parts = paths.map((path) => {
    const whole = Sparse.of(readFileSync(path));
    const kept = new Sparse(whole.size);
    const pages = whole.pages().map((page) => [page * PAGE, whole.read(page * PAGE, PAGE)] as const);
    const telling = pages.filter(([, bytes]) => deflateRawSync(bytes).length < COMPRESSIBLE);
    for (const [offset, bytes] of telling.slice(0, Math.ceil(KEPT / paths.length))) kept.write(offset, bytes);
    return kept.toJson();
  });
  const json: InputJson = { description, parts };
  writeFileSync(join(FOLDER, `${name}.json`), `${JSON.stringify(json)}\n`);
}

function qcow2(): void {
  const tool = version("qemu-img", "--version");
  const image = (name: string, options: string, more: (path: string) => void = () => undefined): void => {
    const path = at(`${name}.qcow2`);
    run("qemu-img", "create", "-q", "-f", "qcow2", "-o", options, path, "1M");
    run("qemu-io", "-c", "write -P 7 0 64k", "-c", "write -P 9 512k 3k", "-c", "write -z 768k 64k", path);
    more(path);
    save(`qcow2-${name}`, `${tool}: create -o ${options}`, path);
  };
  image("v3", "cluster_size=64k");
  image("v2", "compat=0.10,cluster_size=4k");
  image("small", "cluster_size=512");
  image("refcount1", "refcount_bits=1,cluster_size=4k");
  image("refcount64", "refcount_bits=64,cluster_size=4k");
  image("extended", "extended_l2=on,cluster_size=16k");
  image("lazy", "lazy_refcounts=on,cluster_size=4k");
  image("snapshot", "cluster_size=4k", (path) => {
    run("qemu-img", "snapshot", "-c", "one", path);
    run("qemu-io", "-c", "write -P 3 0 8k", path);
    run("qemu-img", "snapshot", "-c", "two", path);
  });
  image("bitmap", "cluster_size=4k", (path) => void run("qemu-img", "bitmap", "--add", path, "b0"));
  const base = at("base.raw");
  writeFileSync(base, Buffer.alloc(512 * 1024, 5));
  for (const compression of ["zlib", "zstd"]) {
    const path = at(`${compression}.qcow2`);
    const options = `compression_type=${compression},cluster_size=4k`;
    run("qemu-img", "convert", "-c", "-O", "qcow2", "-o", options, base, path);
    save(`qcow2-${compression}`, `${tool}: convert -c -o ${options}`, path);
  }
  const top = at("top.qcow2");
  run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", base, top);
  run("qemu-io", "-c", "write -P 1 0 512", top);
  save("qcow2-backing", `${tool}: create -b base.raw -F raw`, top, base);
  const data = at("data.raw");
  const external = at("external.qcow2");
  run("qemu-img", "create", "-q", "-f", "qcow2", "-o", `data_file=${data},data_file_raw=on`, external, "1M");
  save("qcow2-data-file", `${tool}: create -o data_file=data.raw,data_file_raw=on`, external, data);
  const luks = at("luks.qcow2");
  const secret = ["--object", "secret,id=s,data=secret"];
  const encrypt = "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10,cluster_size=4k";
  run("qemu-img", "create", "-q", ...secret, "-f", "qcow2", "-o", encrypt, luks, "256k");
  save("qcow2-luks", `${tool}: create -o encrypt.format=luks, keyslots cut off`, luks);
}

function otherImages(): void {
  const tool = version("qemu-img", "--version");
  const raw = at("other.raw");
  writeFileSync(raw, Buffer.alloc(256 * 1024, 5));
  truncateSync(raw, 2 * MIB);
  for (const [format, options] of [
    ["vmdk", "subformat=monolithicSparse"],
    ["vmdk", "subformat=streamOptimized"],
    ["vdi", "static=off"],
    ["vdi", "static=on"],
    ["vhdx", "block_size=1M"],
  ] as const) {
    const name = `${format}-${options.replaceAll(/.*=/g, "")}`;
    run("qemu-img", "convert", "-O", format, "-o", options, raw, at(name));
    save(name, `${tool}: convert -O ${format} -o ${options}`, at(name));
  }
  for (const subformat of ["dynamic", "fixed"]) {
    run("qemu-img", "convert", "-O", "vpc", "-o", `subformat=${subformat}`, raw, at(`vhd-${subformat}`));
    save(`vhd-${subformat}`, `${tool}: convert -O vpc -o subformat=${subformat}`, at(`vhd-${subformat}`));
  }
  const flat = at("flat.vmdk");
  run("qemu-img", "convert", "-O", "vmdk", "-o", "subformat=monolithicFlat", raw, flat);
  save("vmdk-flat", `${tool}: convert -O vmdk -o subformat=monolithicFlat`, flat, at("flat-flat.vmdk"));
}

function luks(): void {
  const tool = version("cryptsetup", "--version");
  const format = (name: string, size: number, ...args: string[]): void => {
    const path = emptyDisk(at(name), size);
    feed("secret", "cryptsetup", "luksFormat", "-q", ...args, path, "-");
    save(`luks-${name}`, `${tool}: luksFormat ${args.join(" ")}, keyslots cut off`, path);
  };
  const fast = ["--pbkdf-force-iterations", "1000"];
  format("1", 4 * MIB, "--type", "luks1", ...fast);
  format("2-pbkdf2", 18 * MIB, "--type", "luks2", "--pbkdf", "pbkdf2", ...fast);
  const argon = [
    "--pbkdf",
    "argon2id",
    "--pbkdf-memory",
    "32",
    "--pbkdf-force-iterations",
    "4",
    "--pbkdf-parallel",
    "1",
  ];
  format("2-argon2", 18 * MIB, "--type", "luks2", "--sector-size", "4096", "--label", "guest", ...argon);
  const token = at("2-argon2");
  feed('{"type":"luks2-keyring","keyslots":["0"],"key_description":"k"}', "cryptsetup", "token", "import", token);
  save("luks-2-token", `${tool}: token import, keyslots cut off`, token);
}

function partitions(): void {
  const sfdisk = version("sfdisk", "--version");
  const table = (name: string, size: number, text: string, sectorSize = 512): void => {
    const path = emptyDisk(at(name), size);
    const loop = run("losetup", "-b", String(sectorSize), "--find", "--show", path).trim();
    try {
      feed(text, "sfdisk", "-q", loop);
    } finally {
      run("losetup", "-d", loop);
    }
    save(name, `${sfdisk}: ${text.replaceAll("\n", "; ")}`, path);
  };
  const logical = Array.from({ length: 4 }, () => ",512K,L").join("\n");
  table("mbr-logical", 16 * MIB, `label: dos\n,2M,L,*\n,2M,82\n,8M,E\n,2M,8e\n${logical}\n`);
  table("mbr-bsd", 16 * MIB, "label: dos\n,4M,a5\n,4M,a6\n,4M,bf\n");
  table(
    "gpt-plain",
    16 * MIB,
    "label: gpt\nsize=4M,name=root\nsize=2M,type=U\ntype=E6D6D379-F507-44C2-A23C-238F2A3DF928\n",
  );
  table("gpt-4096", 16 * MIB, "label: gpt\nsize=4M\ntype=L\n", 4096);
  const hybrid = at("hybrid");
  copyFileSync(at("gpt-plain"), hybrid);
  run("sgdisk", "-h", "1:2", hybrid);
  save("gpt-hybrid", `${version("sgdisk", "--version")}: -h 1:2`, hybrid);
}

function lvm(): void {
  using host = new LvmHost(folder);
  const tool = host.run("lvm", "version").split("\n")[0]!.trim();
  const group = (name: string, disks: number, pvcreate: string[], make: () => void): void => {
    const paths = Array.from({ length: disks }, (_, i) => host.disk(`${name}${i}`, 32 * MIB));
    host.run("pvcreate", "-q", "-y", ...pvcreate, ...paths);
    host.run("vgcreate", "-q", "-y", "-s", "1m", "vg", ...paths);
    make();
    for (const path of paths) host.detach(path);
    save(`lvm-${name}`, `${tool}`, ...paths);
  };
  group("linear", 1, [], () => {
    host.lvcreate("-n", "root", "-l", "4", "vg");
    host.lvcreate("-n", "swap", "-l", "2", "vg");
    host.run("lvextend", "-l", "+2", "vg/root");
    host.run("lvchange", "--addtag", "atag", "vg/root");
  });
  group("striped", 2, ["--metadatacopies", "2"], () =>
    host.lvcreate("-n", "s", "-i", "2", "-I", "64k", "-l", "8", "vg"),
  );
}

function filesystems(): void {
  const tree = at("tree");
  mkdirSync(join(tree, "sub", "deep"), { recursive: true });
  writeFileSync(join(tree, "small"), "hello\n");
  writeFileSync(join(tree, "sub", "large"), Buffer.alloc(40_000, 3));
  for (let i = 0; i < 60; i++) writeFileSync(join(tree, "sub", `a-file-with-a-long-name-${i}`), "");
  execFileSync("ln", ["-s", "sub/large", join(tree, "link")]);
  execFileSync("ln", ["-s", "x".repeat(100), join(tree, "sub", "slow-link")]);
  const e2fs = "mke2fs of e2fsprogs";
  const ext = (name: string, size: number, ...args: string[]): void => {
    const path = emptyDisk(at(name), size);
    run("mke2fs", "-q", "-F", "-d", tree, ...args, path);
    save(`ext-${name}`, `${e2fs}: ${args.join(" ")}`, path);
  };
  ext("2", MIB, "-t", "ext2", "-b", "1024", "-L", "two");
  ext("3", 4 * MIB, "-t", "ext3", "-b", "1024");
  ext("4", 4 * MIB, "-t", "ext4", "-b", "1024", "-O", "metadata_csum,64bit", "-J", "size=1");
  ext("4k", 8 * MIB, "-t", "ext4", "-b", "4096");
  ext("inline", 2 * MIB, "-t", "ext4", "-b", "1024", "-O", "inline_data,^has_journal", "-I", "256");
  ext("bigalloc", 16 * MIB, "-t", "ext4", "-O", "bigalloc,^has_journal", "-C", "16384");
  ext("metabg", 16 * MIB, "-t", "ext4", "-b", "1024", "-O", "meta_bg,^resize_inode,^has_journal");
  run("mkfs.xfs", "-q", "-f", emptyDisk(at("xfs"), 320 * MIB));
  save("xfs-5", version("mkfs.xfs", "-V"), at("xfs"));
  run("mkfs.btrfs", "-q", "-f", emptyDisk(at("btrfs"), 128 * MIB));
  save("btrfs-1", version("mkfs.btrfs", "--version"), at("btrfs"));
  for (const [bits, size] of [
    ["12", MIB],
    ["16", 16 * MIB],
    ["32", 40 * MIB],
  ] as const) {
    run("mkfs.vfat", "-F", bits, "-n", "LABEL", "-s", "1", emptyDisk(at(`fat${bits}`), size));
    save(`fat-${bits}`, `mkfs.vfat -F ${bits}`, at(`fat${bits}`));
  }
  run("mkswap", "-L", "sw", emptyDisk(at("swap"), MIB));
  save("swap-1", version("mkswap", "--version"), at("swap"));
  sparseFile(at("zero"), MIB);
}

/** Makes a seed of disks that are there already, for what only a kernel can make: `--add-seed NAME DESCRIPTION DISK…`. */
export async function addSeed(name: string, description: string, ...disks: string[]): Promise<void> {
  const whole = disks.map((path) => Sparse.of(readFileSync(path)));
  const meter = new PageMeter();
  await tolerant(() => targetNamed("stack").run(whole, meter));
  const parts = whole.map((disk, i) => {
    const kept = new Sparse(disk.size);
    for (const page of meter.pages(i)) {
      const bytes = disk.read(page * PAGE, PAGE);
      if (deflateRawSync(bytes).length < COMPRESSIBLE) kept.write(page * PAGE, bytes);
    }
    return kept.toJson();
  });
  writeFileSync(join(FOLDER, `${name}.json`), `${JSON.stringify({ description, parts } satisfies InputJson)}\n`);
}

/** Remembers which pages were read in small pieces, as metadata is. */
class PageMeter extends Meter {
  readonly #pages = new Map<number, Set<number>>();

  override count(part: number, offset: number, length: number): void {
    const pages = this.#pages.get(part) ?? new Set();
    this.#pages.set(part, pages);
    if (length > 64 * 1024) return;
    for (let page = Math.floor(offset / PAGE); page * PAGE < offset + length; page++) pages.add(page);
  }

  pages(part: number): number[] {
    return [...(this.#pages.get(part) ?? [])].sort((a, b) => a - b);
  }
}

/** Writes all seeds that tools alone can make anew. */
export function makeSeeds(): void {
  mkdirSync(FOLDER, { recursive: true });
  const made = temporaryFolder();
  folder = made.path;
  try {
    for (const make of [qcow2, otherImages, luks, partitions, lvm, filesystems]) make();
  } finally {
    made.remove();
  }
}

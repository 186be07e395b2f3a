import { createHash } from "node:crypto";
import {
  chmodSync,
  chownSync,
  closeSync,
  copyFileSync,
  existsSync,
  ftruncateSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { Ajv } from "ajv";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { unterbau } from "../helpers/cli.ts";
import { type Facts, kernelFacts, setAttribute } from "../helpers/ext.ts";
import { run, sparseFile, temporaryFolder } from "../helpers/programs.ts";

const folder = temporaryFolder();
afterAll(() => folder.remove());
const at = (...parts: string[]): string => join(folder.path, ...parts);

const ajv = new Ajv({ strict: true, allowUnionTypes: true });
for (const verb of ["ls", "cp", "inspect"])
  ajv.addSchema(JSON.parse(readFileSync(`docs/schemas/${verb}.json`, "utf8")) as object, verb);

/** Host volume (ext4 on a whole disk) with a guest's disk as qcow2 and raw in it; needs root for owners and devices. */
beforeAll(() => {
  mkdirSync(at("guest/etc/deep/er"), { recursive: true });
  writeFileSync(at("guest/etc/fstab"), "the guest's fstab\n");
  writeFileSync(at("guest/etc/deep/er/file"), Buffer.alloc(100_000, "deep"));
  run("mke2fs", "-q", "-F", "-t", "ext4", "-L", "guestroot", "-d", at("guest"), at("guest.img"), "32M");
  mkdirSync(at("host/images"), { recursive: true });
  run("qemu-img", "convert", "-O", "qcow2", at("guest.img"), at("host/images/os43.qcow2"));
  copyFileSync(at("guest.img"), at("host/images/os44.raw"));
  run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", "os43.qcow2", at("host/images/child.qcow2"));
  const tree = at("host/tree");
  mkdirSync(join(tree, "sub/folder"), { recursive: true });
  writeFileSync(join(tree, "plain"), "plain text\n");
  writeFileSync(join(tree, "sub/setuid"), "#!/bin/sh\n");
  chownSync(join(tree, "sub/setuid"), 1234, 70_000);
  chmodSync(join(tree, "sub/setuid"), 0o4755);
  const sparse = openSync(join(tree, "sparse"), "w");
  writeSync(sparse, "end", 50_000_000);
  ftruncateSync(sparse, 60_000_000);
  closeSync(sparse);
  linkSync(join(tree, "plain"), join(tree, "sub/folder/second name"));
  symlinkSync("../plain", join(tree, "sub/link"));
  symlinkSync("/etc/passwd", join(tree, "absolute"));
  run("mkfifo", join(tree, "fifo"));
  run("mknod", join(tree, "device"), "c", "1", "3");
  writeFileSync(join(tree, "red \u001b[31m"), "");
  setAttribute(join(tree, "plain"), "user.note", Buffer.from("kept"));
  chmodSync(join(tree, "sub/folder"), 0o1750);
  utimesSync(join(tree, "plain"), 1_000_000_000, 1_100_000_000);
  utimesSync(join(tree, "sub/folder"), 1_000_000_000, 1_200_000_000);
  run("mke2fs", "-q", "-F", "-t", "ext4", "-O", "^metadata_csum", "-d", at("host"), at("host.img"), "96M");
});

const sha = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

describe("ls", () => {
  it("lists a folder of more files than are told at once, each once and in order", async () => {
    const many = at("many");
    mkdirSync(many);
    const names = Array.from({ length: 20_001 }, (_, i) => `f${String(i).padStart(5, "0")}`);
    for (const name of names) writeFileSync(join(many, name), "");
    run("mke2fs", "-q", "-F", "-t", "ext4", "-N", "24000", "-d", many, at("many.img"), "64M");
    const ls = async (...more: string[]) =>
      (await unterbau(["ls", at("many.img"), "--volume", "disk1", ...more])).stdout.toString();
    expect(await ls()).toBe(`${[...names, "lost+found"].join("\n")}\n`);
    expect(await ls("-R")).toBe(`/:\n${[...names, "lost+found"].join("\n")}\n\n/lost+found:\n`);
    const doc = JSON.parse(await ls("--json"));
    expect(ajv.validate("ls", doc), ajv.errorsText()).toBe(true);
    expect(doc.listings.map((l: { entries: { name: string }[] }) => l.entries.map((e) => e.name))).toEqual([
      [...names, "lost+found"],
    ]);
    const long = (await ls("-l")).split("\n");
    expect([long.length, long.filter((line) => /^-rw.* f\d{5}$/.test(line)).length]).toEqual([20_003, 20_001]);
  });

  it("follows its schema and says what is there", async () => {
    const r = await unterbau(["ls", at("host.img"), "--volume", "disk1", "/tree", "-R", "--json"]);
    const doc = JSON.parse(r.stdout.toString());
    expect(ajv.validate("ls", doc), ajv.errorsText()).toBe(true);
    expect(doc.listings.map((l: { path: string }) => l.path)).toEqual(["/tree", "/tree/sub", "/tree/sub/folder"]);
    const names = doc.listings[0].entries.map((e: { name: string }) => e.name);
    expect(names).toEqual(readdirSync(at("host/tree")).sort());
    const device = doc.listings[0].entries.find((e: { name: string }) => e.name === "device");
    expect(device).toMatchObject({ type: "char", device: { major: 1, minor: 3 } });
    expect(r.code).toBe(0);
  });

  it("writes long lines, and no control characters", async () => {
    const r = await unterbau(["ls", at("host.img"), "--volume", "disk1", "/tree/sub", "-l"]);
    expect(r.stdout.toString()).toMatch(/^-rwsr-xr-x +1 +1234 +70000 +10 \d{4}-\d\d-\d\d \d\d:\d\d setuid$/m);
    expect(r.stdout.toString()).toMatch(/^lrwxrwxrwx .* link -> \.\.\/plain$/m);
    expect(r.stdout.toString()).toMatch(/^drwxr-x--T .* 2008-01-10 21:20 folder$/m);
    const all = await unterbau(["ls", at("host.img"), "--volume", "disk1", "/tree"]);
    expect(all.stdout.toString()).toContain("red \\x1b[31m\n");
    expect(all.stdout.includes(0x1b)).toBe(false);
  });

  it("is a usage error for what is not there, and refused by name where there is no ext", async () => {
    const r = await unterbau(["ls", at("host.img"), "--volume", "disk1", "/nowhere"]);
    expect([r.code, r.stderr]).toEqual([2, expect.stringContaining("/nowhere: there is no nowhere")]);
    sparseFile(at("swap.img"), 1 << 20);
    run("mkswap", at("swap.img"));
    const swap = await unterbau(["ls", at("swap.img"), "--volume", "disk1"]);
    expect([swap.code, swap.stderr]).toEqual([1, expect.stringContaining("disk1 holds swap")]);
  });
});

describe("cat", () => {
  it("gives a file's bytes, through links of the guest", async () => {
    const r = await unterbau(["cat", at("host.img"), "--volume", "disk1", "/tree/sub/link"]);
    expect(r.stdout.toString()).toBe("plain text\n");
    const large = await unterbau(["cat", at("host.img"), "--volume", "disk1", "images/os44.raw"]);
    expect(sha(large.stdout)).toBe(sha(readFileSync(at("guest.img"))));
    const directory = await unterbau(["cat", at("host.img"), "--volume", "disk1", "/tree"]);
    expect([directory.code, directory.stderr]).toEqual([2, expect.stringContaining("is a directory")]);
  });
});

describe("cp", () => {
  /** What a copy keeps; mke2fs -d keeps times to the second. */
  const kept = (f: Facts | undefined) =>
    f && {
      type: f.type,
      mode: f.mode,
      uid: f.uid,
      gid: f.gid,
      size: f.type === "directory" ? 0 : f.size,
      links: f.links,
      content: f.content,
      xattrs: f.xattrs,
      mtime: f.mtime.slice(0, -9),
    };

  it("keeps a tree as it is with --special", async () => {
    const r = await unterbau([
      "cp",
      at("host.img"),
      "--volume",
      "disk1",
      "-r",
      "--special",
      "/tree",
      at("copy"),
      "--json",
    ]);
    const doc = JSON.parse(r.stdout.toString());
    expect(ajv.validate("cp", doc), ajv.errorsText()).toBe(true);
    expect([doc.problems, doc.special, r.code]).toEqual([[], 2, 0]);
    const expected = kernelFacts(at("host/tree"));
    const copied = kernelFacts(at("copy"));
    expect([...copied.keys()].sort()).toEqual([...expected.keys()].sort());
    for (const [path, facts] of expected) expect(kept(copied.get(path)), path).toEqual(kept(facts));
    expect(copied.get("/plain")!.inode).toBe(copied.get("/sub/folder/second name")!.inode);
    expect(statSync(at("copy/sparse")).blocks * 512).toBeLessThan(1_000_000);
  });

  it("leaves devices, fifos and setuid out without it, and names them", async () => {
    const r = await unterbau(["cp", at("host.img"), "--volume", "disk1", "-r", "/tree", at("tame")]);
    expect(r.code).toBe(1);
    expect(r.stderr).toMatch(/tree\/device: a char is copied with --special only/);
    expect(r.stderr).toMatch(/tree\/fifo: a fifo is copied with --special only/);
    expect(existsSync(at("tame/device"))).toBe(false);
    expect(statSync(at("tame/sub/setuid")).mode & 0o7777).toBe(0o755);
  });

  it("copies a file into a folder under its own name, and overwrites nothing", async () => {
    mkdirSync(at("into"));
    const args = ["cp", at("host.img"), "--volume", "disk1", "/tree/plain", at("into")];
    expect((await unterbau(args)).code).toBe(0);
    expect(readFileSync(at("into/plain"), "utf8")).toBe("plain text\n");
    writeFileSync(at("into/plain"), "mine");
    const again = await unterbau(args);
    expect([again.code, again.stderr]).toEqual([2, expect.stringContaining("is there already")]);
    expect(readFileSync(at("into/plain"), "utf8")).toBe("mine");
    const tree = await unterbau(["cp", at("host.img"), "--volume", "disk1", "/tree", at("into")]);
    expect([tree.code, tree.stderr]).toEqual([2, expect.stringContaining("-r copies it whole")]);
  });

  it("writes nothing outside, whatever a guest calls its files", async () => {
    mkdirSync(at("evil/top/zzfolder"), { recursive: true });
    writeFileSync(at("evil/top/zzfolder/victim"), "overwritten");
    for (const name of ["AAAAAAAAAA", "BBBBBBBBBB", "CC"]) writeFileSync(at("evil/top", name), "outside");
    mkdirSync(at("outside"));
    writeFileSync(at("outside/victim"), "untouched");
    symlinkSync(at("outside"), at("evil/top/aafolder"));
    run("mke2fs", "-q", "-F", "-t", "ext4", "-O", "^metadata_csum,^dir_index", "-d", at("evil"), at("evil.img"), "8M");
    const bytes = readFileSync(at("evil.img"));
    const rename = (from: string, to: string) => {
      const found = bytes.indexOf(from);
      expect(found, from).toBeGreaterThan(0);
      bytes.write(to, found, "latin1");
    };
    rename("AAAAAAAAAA", "../escaped");
    rename("BBBBBBBBBB", "/tmp/x\0abc");
    rename("CC", "..");
    // The link and then a folder of the same name.
    rename("zzfolder", "aafolder");
    writeFileSync(at("evil.img"), bytes);
    const r = await unterbau(["cp", at("evil.img"), "--volume", "disk1", "-r", "/top", at("caught")]);
    expect(r.code).toBe(1);
    expect(r.stderr.match(/a name in the volume is none/g)).toHaveLength(2);
    expect(r.stderr).toMatch(/aafolder: .*is there already/);
    expect(readFileSync(at("outside/victim"), "utf8")).toBe("untouched");
    expect(existsSync(at("escaped"))).toBe(false);
    expect(readdirSync(at("caught"))).toEqual(["aafolder"]);
  });
});

describe("--inside", () => {
  it("makes an image in a volume the source", async () => {
    const inside = ["--inside", "/images/os43.qcow2"];
    const tree = await unterbau(["inspect", at("host.img"), ...inside, "--json"]);
    const doc = JSON.parse(tree.stdout.toString());
    expect(ajv.validate("inspect", doc), ajv.errorsText()).toBe(true);
    expect(doc.volumes).toMatchObject([{ type: "ext4", label: "guestroot", path: ["qcow2"] }]);
    expect(tree.stderr).toContain("/images/os43.qcow2 in disk1 is taken as qcow2");
    const read = await unterbau(["read", at("host.img"), ...inside, "--volume", "LABEL=guestroot"]);
    expect(sha(read.stdout)).toBe(sha(readFileSync(at("guest.img"))));
    const named = ["--inside", "disk1:/images/os44.raw", "--inside-format", "raw"];
    const fstab = await unterbau(["cat", at("host.img"), ...named, "--volume", "disk1", "/etc/fstab"]);
    expect([fstab.stdout.toString(), fstab.stderr]).toEqual(["the guest's fstab\n", ""]);
    const check = await unterbau(["check", at("host.img"), ...named, "--json"]);
    expect(JSON.parse(check.stdout.toString())).toMatchObject({ exitCode: 0, volumes: [{ verdict: "clean" }] });
    const dump = ["exec", at("host.img"), ...inside, "--volume", "disk1", "--", "dumpe2fs", "-h", "{}"];
    expect((await unterbau(dump)).stdout.toString()).toContain("guestroot");
  });

  it("writes nothing: --repair and --write are refused with the way", async () => {
    const before = sha(readFileSync(at("host.img")));
    const inside = ["--inside", "/images/os43.qcow2"];
    const repair = await unterbau(["check", at("host.img"), ...inside, "--repair"]);
    expect([repair.code, repair.stderr]).toEqual([8, expect.stringMatching(/only read[\s\S]*hint: .*unterbau cp/)]);
    const write = ["exec", at("host.img"), ...inside, "--volume", "disk1", "--write", "--", "true", "{}"];
    expect((await unterbau(write)).code).toBe(1);
    expect(sha(readFileSync(at("host.img")))).toBe(before);
  });

  it("refuses an image inside that names another file, and what is no image", async () => {
    const child = await unterbau(["inspect", at("host.img"), "--inside", "/images/child.qcow2"]);
    expect([child.code, child.stdout.toString()]).toEqual([1, expect.stringContaining("names the file os43.qcow2")]);
    const directory = await unterbau(["inspect", at("host.img"), "--inside", "/images"]);
    expect([directory.code, directory.stderr]).toEqual([2, expect.stringContaining("is a directory, and no image")]);
  });
});

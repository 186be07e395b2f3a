import { spawnSync } from "node:child_process";
import { randomFillSync } from "node:crypto";
import {
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openFileDevice } from "../../src/core/file-device.ts";
import { createQcow2 } from "../../src/layers/qcow2/create.ts";
import { bundleScript } from "../faults/bundle.ts";
import { unterbau } from "../helpers/cli.ts";
import { run, sparseFile, temporaryFolder } from "../helpers/programs.ts";

const MIB = 1024 * 1024;
const folder = temporaryFolder();
const at = (name: string): string => join(folder.path, name);
const raw = at("disk.raw");
let child: ReturnType<typeof bundleScript>;

beforeAll(() => {
  child = bundleScript("convert-child.ts");
  sparseFile(raw, 96 * MIB + 512 * 3);
  const fd = openSync(raw, "r+");
  for (let i = 0; i < 40; i++) {
    const bytes = randomFillSync(Buffer.alloc(1 + ((i * 97_003) % 900_000)));
    writeSync(fd, bytes, 0, bytes.length, (i * 2_654_435) % (95 * MIB));
  }
  // Zeros that are allocated.
  writeSync(fd, Buffer.alloc(2 * MIB), 0, 2 * MIB, 60 * MIB);
  closeSync(fd);
});
afterAll(() => {
  child.cleanup();
  folder.remove();
});

async function convert(...args: string[]) {
  const r = await unterbau(["convert", ...args, "--no-prompt"]);
  return { code: r.code, out: r.stdout.toString(), err: r.stderr };
}
const same = (a: string, b: string): string => run("qemu-img", "compare", a, b);

describe("convert", () => {
  it.each([
    ["raw", "raw", []],
    ["plain qcow2", "qcow2", []],
    ["deflated qcow2", "qcow2", ["-c"]],
    ["zstd qcow2", "qcow2", ["-c", "-o", "compression_type=zstd"]],
    ["VMDK", "vmdk", ["-o", "subformat=streamOptimized"]],
  ])("from %s gives qemu-img's bytes, as raw and as qcow2", async (name, format, options) => {
    const source = at(`${name}.${format}`);
    run("qemu-img", "convert", "-f", "raw", "-O", format, ...options, raw, source);
    for (const target of [at(`${name}-out.raw`), at(`${name}-out.qcow2`)]) {
      expect(await convert(source, target, "--verify")).toMatchObject({ code: 0 });
      expect(same(raw, target)).toContain("identical");
      expect(statSync(target).mode & 0o777).toBe(0o600);
      expect(statSync(target).blocks * 512).toBeLessThan(statSync(raw).blocks * 512 + MIB);
    }
    run("qemu-img", "check", at(`${name}-out.qcow2`));
    expect(readdirSync(folder.path).filter((n) => n.includes(".part"))).toEqual([]);
  });

  it("copies one volume", async () => {
    const fs = at("fs.raw");
    sparseFile(fs, 20 * MIB);
    run("mke2fs", "-q", "-F", "-t", "ext4", fs);
    const disk = at("parted.raw");
    sparseFile(disk, 30 * MIB);
    run("sh", "-c", `echo 'start=2048,size=40960' | sfdisk -q ${disk}`);
    run("dd", `if=${fs}`, `of=${disk}`, "bs=1M", "seek=1", "conv=notrunc", "status=none");
    expect(await convert(disk, at("p1.raw"), "--volume", "p1")).toMatchObject({ code: 0 });
    expect(readFileSync(at("p1.raw")).equals(readFileSync(fs))).toBe(true);
  });

  it("into an existing LUKS1 container, which QEMU then reads", async () => {
    const key = at("key");
    writeFileSync(key, "correct horse");
    const luks = at("luks.img");
    sparseFile(luks, 110 * MIB);
    run("cryptsetup", "luksFormat", "-q", "--type", "luks1", "--iter-time", "20", "--key-file", key, luks);
    const header = readFileSync(luks).subarray(0, MIB);
    expect(await convert(raw, luks, "--to", "luks", "--target-key-file", key, "--verify", "--overwrite")).toMatchObject(
      {
        code: 0,
      },
    );
    expect(readFileSync(luks).subarray(0, MIB).equals(header)).toBe(true);
    const back = at("back.raw");
    run(
      "qemu-img",
      "convert",
      "--object",
      `secret,id=k,file=${key}`,
      "--image-opts",
      `driver=luks,key-secret=k,file.filename=${luks}`,
      "-O",
      "raw",
      back,
    );
    expect(readFileSync(back).subarray(0, statSync(raw).size).equals(readFileSync(raw))).toBe(true);
    const small = at("small.img");
    sparseFile(small, 40 * MIB);
    run("cryptsetup", "luksFormat", "-q", "--type", "luks1", "--iter-time", "20", "--key-file", key, small);
    const refused = await convert(raw, small, "--to", "luks", "--target-key-file", key);
    expect(refused.code).toBe(2);
    expect(refused.err).toMatch(/has room for \d+ bytes; the source has 100664832/);
  });

  it("refuses to overwrite, and names what stands there", async () => {
    const luks = at("held.img");
    writeFileSync(at("k2"), "x");
    sparseFile(luks, 110 * MIB);
    run("cryptsetup", "luksFormat", "-q", "--type", "luks1", "--iter-time", "20", "--key-file", at("k2"), luks);
    const key = ["--target-key-file", at("k2")];
    expect((await convert(at("fs.raw"), luks, "--to", "luks", ...key, "--overwrite")).code).toBe(0);
    const again = await convert(raw, luks, "--to", "luks", ...key);
    expect(again).toMatchObject({ code: 2, err: expect.stringContaining("it holds ext4") });
    const wrong = await convert(raw, luks, "--to", "luks");
    expect(wrong).toMatchObject({ code: 1, err: expect.stringContaining("--target-key-file") });
    expect(await convert(raw, raw)).toMatchObject({ code: 2, err: expect.stringContaining("the source itself") });
    expect(await convert(raw, at("fs.raw"))).toMatchObject({ code: 2, err: expect.stringContaining("there already") });
    expect(await convert(raw, at("no/such/x.raw"))).toMatchObject({ code: 1 });
  });

  it.each(["raw", "qcow2"])("killed anywhere, is continued by the same command: %s", (format) => {
    const target = at(`killed.${format}`);
    const copy = (chunk: number) => spawnSync("node", [child.path, raw, target, String(chunk)], { encoding: "utf8" });
    for (const chunk of [1, 14, 2, 25, 3]) {
      const died = copy(chunk);
      expect(`${died.signal} ${died.stderr}`).toBe("SIGKILL ");
      expect(existsSync(target)).toBe(false);
    }
    const last = copy(0);
    expect(last.status).toBe(0);
    expect(JSON.parse(last.stdout)).toMatchObject({ verified: true, continuedAt: expect.any(Number) });
    expect(JSON.parse(last.stdout).continuedAt).toBeGreaterThan(8 * MIB);
    expect(same(raw, target)).toContain("identical");
    // Clean, and nothing leaked by the attempts.
    if (format === "qcow2") run("qemu-img", "check", target);
  });

  it("looks again at what it had copied into a container, which may have been made anew", async () => {
    const key = at("k3");
    writeFileSync(key, "y");
    const luks = at("again.img");
    const format = () =>
      run("cryptsetup", "luksFormat", "-q", "--type", "luks1", "--iter-time", "20", "--key-file", key, luks);
    sparseFile(luks, 110 * MIB);
    format();
    const copy = (chunk: number) =>
      spawnSync("node", [child.path, raw, luks, String(chunk), key], { encoding: "utf8" });
    expect(copy(30).signal).toBe("SIGKILL");
    const went = copy(31);
    expect(went.signal).toBe("SIGKILL");
    format();
    const anew = copy(0);
    expect(`${anew.status} ${anew.stderr}`).toBe("0 ");
    expect(JSON.parse(anew.stdout)).toMatchObject({ continuedAt: 0, verified: true });
  });

  it("does not hand out a copy that was found wrong", async () => {
    const target = at("spoiled.raw");
    const env = { ...process.env, SPOIL: "1" };
    const died = spawnSync("node", [child.path, raw, target, "0"], { encoding: "utf8", env });
    expect(died.status).toBe(1);
    expect(died.stderr).toContain("the copy differs from the source");
    expect(readdirSync(folder.path).filter((n) => n.startsWith("spoiled"))).toEqual([]);
    expect(await convert(raw, target)).toMatchObject({ code: 0 });
    expect(same(raw, target)).toContain("identical");
  });

  it("notices when a backing file was changed between two attempts", async () => {
    const base = at("base.raw");
    writeFileSync(base, readFileSync(raw));
    const top = at("top.qcow2");
    run("qemu-img", "create", "-q", "-f", "qcow2", "-b", "base.raw", "-F", "raw", top);
    const target = at("chain.raw");
    expect(spawnSync("node", [child.path, top, target, "20"]).signal).toBe("SIGKILL");
    const fd = openSync(base, "r+");
    writeSync(fd, "changed", 4096);
    closeSync(fd);
    const r = await convert(top, target);
    expect(r).toMatchObject({ code: 2, err: expect.stringContaining("interrupted copy of something else") });
  });

  it("refuses a container whose content cannot be opened", async () => {
    const broken = at("broken.raw");
    const bytes = Buffer.alloc(4 * MIB);
    bytes.write("LUKS\xba\xbe\x00\x01", "latin1");
    bytes.fill(0xff, 8, 4096);
    writeFileSync(broken, bytes);
    const luks = at("outer.img");
    sparseFile(luks, 110 * MIB);
    run("cryptsetup", "luksFormat", "-q", "--type", "luks1", "--iter-time", "20", "--key-file", at("k2"), luks);
    const key = ["--to", "luks", "--target-key-file", at("k2")];
    expect((await convert(broken, luks, ...key, "--overwrite", "--format", "raw")).code).toBe(0);
    expect(await convert(raw, luks, ...key)).toMatchObject({ code: 2, err: expect.stringContaining("is not empty") });
  });

  it("does not continue the copy of something else", async () => {
    const target = at("other.raw");
    spawnSync("node", [child.path, raw, target, "3"]);
    expect(existsSync(`${target}.part`)).toBe(true);
    const r = await convert(at("fs.raw"), target);
    expect(r).toMatchObject({ code: 2, err: expect.stringContaining("interrupted copy of something else") });
  });
});

describe("a new qcow2 image", () => {
  it.each([
    [0, 65536],
    [512, 512],
    [64 * MIB + 512, 4096],
    [2 ** 40, 65536],
    [2 ** 45, 65536],
    [2 ** 40, 2 * MIB],
  ])("of %i bytes in clusters of %i is what qemu-img calls clean", async (size, clusterSize) => {
    const path = at(`new-${size}-${clusterSize}.qcow2`);
    sparseFile(path, 0);
    const device = openFileDevice(path, { writable: true });
    await createQcow2(device, { size, clusterSize });
    await device[Symbol.asyncDispose]();
    run("qemu-img", "check", path);
    const info = JSON.parse(run("qemu-img", "info", "--output=json", path));
    expect(info).toMatchObject({ "virtual-size": size, "cluster-size": clusterSize, format: "qcow2" });
  });
});

import { closeSync, mkdtempSync, openSync, rmSync, truncateSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { CheckDocument, InspectDocument } from "../../src/usecases/documents.ts";
import { must, run, unterbau } from "../helpers/cli.ts";
import { copyOf, cutOut, sha256File } from "../helpers/guest.ts";

const MIB = 1024 * 1024;
const TIME = { E2FSCK_TIME: "1800000000", E2FSPROGS_FAKE_TIME: "1800000000" };

function poke(path: string, offset: number, bytes: Uint8Array): void {
  const fd = openSync(path, "r+");
  writeSync(fd, bytes, 0, bytes.length, offset);
  closeSync(fd);
}

describe("a file system that nothing recognises any more is not passed over", () => {
  let folder: string;
  let env: Record<string, string>;
  let disk: string;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "unterbau-lost-"));
    env = { UNTERBAU_STATE_DIR: join(folder, "state"), ...TIME };
    disk = join(folder, "disk.raw");
    writeFileSync(disk, "");
    truncateSync(disk, 40 * MIB);
    const layout = "label: gpt\nstart=1MiB, size=16MiB, type=linux\nstart=18MiB, size=16MiB, type=linux\n";
    await must("sfdisk", ["--quiet", disk], { input: Buffer.from(layout) });
    for (const start of [1, 18]) {
      const options = ["-q", "-F", "-t", "ext4", "-b", "1024", "-E", `offset=${start * MIB}`];
      await must("mke2fs", [...options, disk, "16M"]);
    }
    poke(disk, 18 * MIB + 1024, new Uint8Array(1024));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const check = async (path: string, ...args: string[]) => {
    const r = await unterbau(["check", path, "--json", ...args], { env });
    return { code: r.code, doc: JSON.parse(r.stdout.toString()) as CheckDocument };
  };

  it("is shown as unknown, with a warning", async () => {
    const r = await unterbau(["inspect", disk, "--json"]);
    expect(r.code).toBe(0);
    const doc = JSON.parse(r.stdout.toString()) as InspectDocument;
    expect(doc.volumes.find((v) => v.selector === "p2")).toMatchObject({ kind: "unknown", type: null });
    expect(doc.findings.map((f) => f.code)).toEqual(["ext-superblock-lost"]);
  });

  it("is checked from its backup, as e2fsck does by itself", async () => {
    const plain = join(folder, "plain");
    cutOut(disk, 18 * MIB, 16 * MIB, plain);
    const direct = await run("sh", ["-c", 'e2fsck -fy "$1" 2>&1', "sh", plain], { env: TIME });
    expect(direct.code).toBe(1);
    const { code, doc } = await check(disk);
    expect(code).toBe(4);
    expect(doc.volumes.map((v) => [v.selector, v.verdict])).toEqual([
      ["p1", "clean"],
      ["p2", "would-repair"],
    ]);
    expect(doc.volumes[1]!.log.trim()).toBe(direct.stdout.toString().replaceAll(plain, "/disk").trim());
  });

  it("is repaired only by name, to the bytes of e2fsck; undo takes it back", async () => {
    const copy = copyOf(disk, join(folder, "copy.raw"));
    const before = await sha256File(copy);
    const unnamed = await check(copy, "--repair");
    expect(unnamed.code).toBe(8);
    expect(unnamed.doc.volumes[1]).toMatchObject({ selector: "p2", verdict: "not-checked", changedBytes: 0 });
    expect(unnamed.doc.volumes[1]!.reason).toContain("--volume p2");
    expect((await unterbau(["undo", unnamed.doc.run!], { env })).code).toBe(0);
    const named = await check(copy, "--repair", "--volume", "p2");
    expect(named.code).toBe(1);
    const plain = join(folder, "plain2");
    cutOut(disk, 18 * MIB, 16 * MIB, plain);
    await run("e2fsck", ["-fy", plain], { env: TIME });
    const repaired = join(folder, "repaired");
    cutOut(copy, 18 * MIB, 16 * MIB, repaired);
    expect(await sha256File(repaired)).toBe(await sha256File(plain));
    expect((await unterbau(["undo", named.doc.run!], { env })).code).toBe(0);
    expect(await sha256File(copy)).toBe(before);
  });

  it("what a check of everything did not look into is named", async () => {
    const other = copyOf(disk, join(folder, "other.raw"));
    poke(other, 18 * MIB, Buffer.alloc(16 * MIB, "no file system "));
    const r = await unterbau(["check", other], { env });
    expect(r.code).toBe(0);
    expect(r.stdout.toString()).toMatch(/p1: clean[^\n]*\n\nNot looked at[^\n]*: p2 \(unknown content\)\n$/);
    expect((await unterbau(["check", other, "--volume", "p1"], { env })).stdout.toString()).not.toContain("Not looked");
  });

  it("a file system whose end is missing is never clean, and e2fsck's own words are kept", async () => {
    const cut = join(folder, "cut.ext4");
    cutOut(disk, 1 * MIB, 12 * MIB, cut);
    const direct = await run("sh", ["-c", 'e2fsck -fy "$1" 2>&1', "sh", copyOf(cut, join(folder, "cut2.ext4"))]);
    const { code, doc } = await check(cut, "--repair");
    expect(code).toBe(8);
    expect(doc.run).toBeNull();
    expect(doc.volumes[0]).toMatchObject({ verdict: "not-checked", exitCode: direct.code });
    expect(doc.volumes[0]!.log).toContain("Abort? yes");
  });
});

describe("half a mirror without a file system", () => {
  it("is opened, and named as not looked into beside a clean file system", async () => {
    const folder = mkdtempSync(join(tmpdir(), "unterbau-md-"));
    try {
      const disk = join(folder, "disk.raw");
      writeFileSync(disk, "");
      truncateSync(disk, 24 * MIB);
      const layout = "label: dos\nstart=2048, size=16384, type=83\nstart=20480, type=fd\n";
      await must("sfdisk", ["--quiet", disk], { input: Buffer.from(layout) });
      await must("mke2fs", ["-q", "-F", "-E", `offset=${MIB}`, disk, "8M"]);
      poke(disk, 20480 * 512 + 4096, raid1Superblock());
      // libblkid proves that the superblock is one.
      expect(await must("blkid", ["-p", "-O", String(20480 * 512), "-s", "TYPE", "-o", "value", disk])).toBe(
        "linux_raid_member\n",
      );
      const env = { UNTERBAU_STATE_DIR: join(folder, "state") };
      const r = await unterbau(["check", disk], { env });
      expect(r.stdout.toString()).toMatch(/p1: clean[\s\S]*Not looked at, as no file system is in it: md\/0/);
      expect(r.code).toBe(0);
      // Who names it is told that there is nothing to check.
      const named = await unterbau(["check", disk, "--json", "--volume", "md/0"], { env });
      const doc = JSON.parse(named.stdout.toString()) as CheckDocument;
      expect(named.code).toBe(8);
      expect(doc.volumes.map((v) => [v.selector, v.verdict])).toEqual([["md/0", "not-checked"]]);
      expect(doc.volumes[0]!.reason).toContain("no file system");
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

/** mdp_superblock_1, version 1.2, of a mirror of two (Linux, include/uapi/linux/raid/md_p.h). */
function raid1Superblock(): Uint8Array {
  const sb = Buffer.alloc(256 + 2 * 2);
  sb.writeUInt32LE(0xa92b4efc, 0);
  sb.writeUInt32LE(1, 4);
  sb.fill(0xab, 16, 32);
  sb.write("guest:0", 32, "latin1");
  sb.writeUInt32LE(1, 72);
  sb.writeBigUInt64LE(8192n, 80);
  sb.writeUInt32LE(2, 92);
  sb.writeBigUInt64LE(2048n, 128);
  sb.writeBigUInt64LE(8192n, 136);
  sb.writeBigUInt64LE(8n, 144);
  sb.fill(0xcd, 168, 184);
  sb.writeUInt32LE(2, 220);
  sb.writeUInt16LE(1, 258);
  // calc_sb_1_csum: the sum of all 32-bit words, carried once.
  let sum = 0n;
  for (let at = 0; at + 4 <= sb.length; at += 4) sum += BigInt(sb.readUInt32LE(at));
  sb.writeUInt32LE(Number((sum & 0xffffffffn) + (sum >> 32n)) % 2 ** 32, 216);
  return sb;
}

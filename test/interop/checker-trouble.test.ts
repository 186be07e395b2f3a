import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { crc32cRaw } from "../../src/bytes/crc.ts";
import { check } from "../../src/usecases/check.ts";
import { passphrases } from "../helpers/keys.ts";
import { run, sparseFile, temporaryFolder } from "../helpers/programs.ts";

const MIB = 1024 * 1024;
const folder = temporaryFolder();
const disk = join(folder.path, "disk.raw");
/** Not below /tmp, where the cage has an empty folder of its own. */
const bin = mkdtempSync("/var/tmp/unterbau-test-");
const before = { path: process.env.PATH, state: process.env.UNTERBAU_STATE_DIR };

beforeAll(() => {
  process.env.UNTERBAU_STATE_DIR = join(folder.path, "state");
});
afterEach(() => {
  process.env.PATH = before.path;
});
afterAll(() => {
  if (before.state === undefined) delete process.env.UNTERBAU_STATE_DIR;
  else process.env.UNTERBAU_STATE_DIR = before.state;
  folder.remove();
  rmSync(bin, { recursive: true, force: true });
});

function ext4(): void {
  sparseFile(disk, 8 * MIB);
  run("mke2fs", "-q", "-F", "-t", "ext4", disk);
}

/** Preview and forced repair: both must say not-checked and leave every byte. */
async function neverChecked(timeoutMs = 60_000): Promise<string[]> {
  const bytes = readFileSync(disk);
  const reasons: string[] = [];
  for (const repair of [false, true]) {
    const all = { sources: [disk], keys: passphrases(), volumes: [], preen: false, force: repair, repair, timeoutMs };
    const doc = await check(all);
    expect(doc).toMatchObject({ run: null, exitCode: 8, volumes: [{ verdict: "not-checked" }] });
    reasons.push(doc.volumes[0]!.reason!);
    expect(Buffer.compare(readFileSync(disk), bytes)).toBe(0);
  }
  return reasons;
}

describe("a file system that is newer than its checker", () => {
  // Bit 29 of each feature word belongs to nobody (Linux fs/ext4/ext4.h); debugfs names it so.
  it.each(["FEATURE_C29", "FEATURE_I29", "FEATURE_R29"])(
    "ext4 with %s is not-checked: tool too old",
    async (feature) => {
      ext4();
      run("debugfs", "-w", "-R", `feature ${feature}`, disk);
      for (const reason of await neverChecked())
        expect(reason).toBe(`tool too old: this e2fsck does not know ${feature}`);
    },
  );

  it("XFS with an unknown incompatible feature is not-checked: tool too old", async () => {
    sparseFile(disk, 300 * MIB);
    run("mkfs.xfs", "-q", disk);
    const bytes = readFileSync(disk);
    // sb_features_incompat and sb_crc of struct xfs_dsb (Linux fs/xfs/libxfs/xfs_format.h).
    bytes.writeUInt32BE((bytes.readUInt32BE(216) + 0x4000_0000) >>> 0, 216);
    bytes.writeUInt32LE(0, 224);
    bytes.writeUInt32LE(~crc32cRaw(bytes.subarray(0, 512), 0xffff_ffff) >>> 0, 224);
    writeFileSync(disk, bytes);
    for (const reason of await neverChecked()) expect(reason).toMatch(/^tool too old: this xfs_repair/);
  });
});

/** The smallest program that this machine runs: an ELF file of one page with `code` at its start (System V ABI, gabi 4.1). */
function program(path: string, code: Readonly<Record<string, number[]>>): void {
  const machine = { x64: 62, arm64: 183 }[process.arch as "x64" | "arm64"];
  const bytes = Buffer.alloc(120 + 16);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  bytes.writeUInt16LE(2, 16); // ET_EXEC
  bytes.writeUInt16LE(machine, 18);
  bytes.writeUInt32LE(1, 20);
  bytes.writeBigUInt64LE(0x400078n, 24); // e_entry
  bytes.writeBigUInt64LE(64n, 32); // e_phoff
  bytes.writeUInt16LE(64, 52);
  bytes.writeUInt16LE(56, 54);
  bytes.writeUInt16LE(1, 56);
  bytes.writeUInt32LE(1, 64); // PT_LOAD
  bytes.writeUInt32LE(5, 68); // readable, executable
  bytes.writeBigUInt64LE(0x400000n, 80);
  bytes.writeBigUInt64LE(0x400000n, 88);
  bytes.writeBigUInt64LE(BigInt(bytes.length), 96);
  bytes.writeBigUInt64LE(BigInt(bytes.length), 104);
  bytes.writeBigUInt64LE(0x1000n, 112);
  bytes.set(code[process.arch]!, 120);
  writeFileSync(path, bytes);
  chmodSync(path, 0o755);
}

describe("a checker that does not come to an end", () => {
  function instead(code: Readonly<Record<string, number[]>>): void {
    program(join(bin, "e2fsck"), code);
    process.env.PATH = `${bin}:${before.path}`;
  }

  it("gives not-checked when it crashes", async () => {
    ext4();
    instead({ x64: [0x0f, 0x0b], arm64: [0, 0, 0, 0] }); // ud2; udf #0
    for (const reason of await neverChecked()) expect(reason).toMatch(/^e2fsck crashed or was killed \(SIGILL\)$/);
  });

  it("gives not-checked when it hangs", async () => {
    ext4();
    instead({ x64: [0xeb, 0xfe], arm64: [0, 0, 0, 0x14] }); // jmp .; b .
    for (const reason of await neverChecked(700)) expect(reason).toContain("ran longer than the time limit");
  });
});

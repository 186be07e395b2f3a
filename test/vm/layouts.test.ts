import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { CheckDocument } from "../../src/usecases/documents.ts";
import { CLI, must, run, unterbau } from "../helpers/cli.ts";
import { sha256File } from "../helpers/guest.ts";
import { type Disk, mustInMachine } from "./machine.ts";

const MIB = 1 << 20;
const folder = mkdtempSync(join(tmpdir(), "unterbau-layouts-"));
const share = join(folder, "share");
/** Pinned: e2fsck writes the time of the check. */
const TIME = { E2FSCK_TIME: "1800000000", E2FSPROGS_FAKE_TIME: "1800000000" };
const env = { UNTERBAU_STATE_DIR: join(folder, "state"), ...TIME };
const sizes: Record<string, number> = { a1: 240, a2: 240, s1: 32, s2: 32, l1: 32, l2: 40, k1: 48, k2: 48 };
for (const name of ["r1", "r2", "r3", "r4", "r5"]) sizes[name] = 80;
for (const name of ["m1", "m2", "m3", "m4"]) sizes[name] = 100;
const path = (name: string) => join(folder, `${name}.raw`);
const disks = Object.entries(sizes).map(([name, mib]): Disk => ({ name, path: path(name), size: mib * MIB }));

/** Which disks belong together, and the volumes on them by their selectors. */
const SETS: readonly {
  readonly name: string;
  readonly disks: readonly string[];
  readonly volumes: readonly string[];
}[] = [
  {
    name: "a group over two disks",
    disks: ["a1", "a2"],
    volumes: ["alone", "across", "stripes", "base", "before", "thin", "thinold", "thinown", "cached"].map(
      (v) => `two/${v}`,
    ),
  },
  {
    name: "LVM's RAID",
    disks: ["r1", "r2", "r3", "r4", "r5"],
    volumes: ["red/raid1", "red/raid5", "red/raid6", "red/raid10"],
  },
  {
    name: "md",
    disks: ["m1", "m2", "m3", "m4"],
    volumes: ["raid1", "raid5", "raid6", "raid10", "raid0", "linear"].map((level) => `md/md-${level}`),
  },
  { name: "two groups of one name", disks: ["s1", "s2"], volumes: ["LABEL=same-s1", "LABEL=same-s2"] },
  { name: "LUKS1", disks: ["l1"], volumes: ["LABEL=crypt-l1"] },
  { name: "LUKS2 with 4096-byte sectors", disks: ["l2"], volumes: ["LABEL=crypt-l2"] },
  { name: "a striped group over two LUKS disks", disks: ["k1", "k2"], volumes: ["secret/root"] },
];

/** What is written to by us and judged by the kernel; the rest is refused by name or shares its blocks. */
const WRITTEN: Readonly<Record<string, readonly string[]>> = {
  "a group over two disks": ["two/alone", "two/across", "two/stripes", "two/thinown"],
  "LVM's RAID": ["red/raid1", "red/raid5", "red/raid6", "red/raid10"],
  md: ["raid1", "raid5", "raid6", "raid10", "raid0", "linear"].map((level) => `md/md-${level}`),
  "two groups of one name": ["LABEL=same-s1", "LABEL=same-s2"],
  LUKS1: ["LABEL=crypt-l1"],
  "LUKS2 with 4096-byte sectors": ["LABEL=crypt-l2"],
  "a striped group over two LUKS disks": ["secret/root"],
};

let truth: Map<string, string>;
const expected = new Map<string, string>();
const key = join(folder, "key");
const sources = (names: readonly string[]) => [...names.map(path), "--key-file", key];

async function readTo(names: readonly string[], volume: string, out: string): Promise<string> {
  const command = [process.execPath, CLI, "read", ...sources(names), "--volume", volume];
  await must("sh", ["-c", 'exec "$@" > "$OUT"', "sh", ...command], { env: { OUT: out, ...env } });
  return sha256File(out);
}

beforeAll(async () => {
  writeFileSync(key, "a key for tests", { mode: 0o600 });
  await mustInMachine({ script: readFileSync("test/vm/scripts/make-layouts.sh", "utf8"), disks, share, limit: 800 });
  truth = new Map(
    readFileSync(join(share, "truth"), "utf8")
      .trim()
      .split("\n")
      .map((line) => line.split(" ") as [string, string]),
  );
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("what the kernel's device-mapper and md read, byte for byte", () => {
  it("is known of every volume", () => {
    expect([...truth.keys()].sort()).toEqual(SETS.flatMap((s) => s.volumes).sort());
  });
  for (const set of SETS) {
    for (const volume of set.volumes) {
      it(`${set.name}: ${volume}`, async () => {
        expect(await readTo(set.disks, volume, join(folder, "volume"))).toBe(truth.get(volume));
      });
    }
  }
});

describe("what is written here, as the kernel sees it", () => {
  const damage = join(folder, "damage");
  beforeAll(() => {
    writeFileSync(
      damage,
      "clri /etc/deep\nclri /home/file-1\nset_inode_field /home/file-3 links_count 9\nfreeb 900 30\n",
    );
  });
  for (const set of SETS) {
    for (const volume of WRITTEN[set.name] ?? []) {
      it(`${set.name}: ${volume} is damaged and repaired as e2fsck does it to a plain file`, async () => {
        const plain = join(folder, "plain");
        await readTo(set.disks, volume, plain);
        await must("debugfs", ["-w", "-f", damage, plain], { env });
        const tool = ["debugfs", "-w", "-f", damage, "{}"];
        const harm = await unterbau(["exec", ...sources(set.disks), "--volume", volume, "--write", "--", ...tool], {
          env,
        });
        expect(harm).toMatchObject({ code: 0, stderr: expect.stringContaining("bytes changed") });
        const direct = await run("e2fsck", ["-fy", plain], { env });
        expect(direct.code).toBe(1);
        const repair = await unterbau(["check", ...sources(set.disks), "--volume", volume, "--repair", "--json"], {
          env,
        });
        expect((JSON.parse(repair.stdout.toString()) as CheckDocument).volumes).toMatchObject([
          { verdict: "repaired" },
        ]);
        const sha = await sha256File(plain);
        expect(await readTo(set.disks, volume, join(folder, "volume"))).toBe(sha);
        expected.set(volume, sha);
      });
    }
  }

  it("assembles, is consistent (no mismatch in any mirror or parity), clean, and holds the same bytes", async () => {
    rmSync(join(share, "truth"));
    const script = readFileSync("test/vm/scripts/judge-layouts.sh", "utf8");
    const output = await mustInMachine({
      script,
      disks: disks.map((d) => ({ ...d, size: undefined })),
      share,
      limit: 800,
    });
    const after = new Map(
      readFileSync(join(share, "truth"), "utf8")
        .trim()
        .split("\n")
        .map((line) => line.split(" ") as [string, string]),
    );
    for (const [volume, sha] of expected) expect(`${volume} ${after.get(volume)}`).toBe(`${volume} ${sha}`);
    // What was not written to is as it was.
    for (const [volume, sha] of truth)
      if (!expected.has(volume)) expect(`${volume} ${after.get(volume)}`).toBe(`${volume} ${sha}`);
    const mismatches = output.split("\n").filter((line) => line.startsWith("mismatch "));
    expect(mismatches).toEqual([
      ...["raid1", "raid5", "raid6", "raid10"].map((level) => `mismatch red/${level} 0`),
      ...["raid1", "raid5", "raid6", "raid10"].map((level) => `mismatch md/md-${level} 0`),
    ]);
  });
});

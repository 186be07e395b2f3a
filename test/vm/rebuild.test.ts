import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { CheckDocument, InspectDocument } from "../../src/usecases/documents.ts";
import { CLI, must, run, unterbau } from "../helpers/cli.ts";
import { sha256File } from "../helpers/guest.ts";
import { type Disk, mustInMachine, runInMachine } from "./machine.ts";

const MIB = 1 << 20;
const folder = mkdtempSync(join(tmpdir(), "unterbau-rebuild-"));
const share = join(folder, "share");
const TIME = { E2FSCK_TIME: "1800000000", E2FSPROGS_FAKE_TIME: "1800000000" };
const env = { UNTERBAU_STATE_DIR: join(folder, "state"), ...TIME };
const path = (name: string) => join(folder, `${name}.raw`);
const LVM = ["r1", "r2", "r3", "r4", "r5"].map(path);
const MD = ["m1", "m2", "m3", "m4"].map(path);
const disks = [...LVM, ...MD].map(
  (file): Disk => ({ name: file.slice(-6, -4), path: file, size: (file.includes("/r") ? 100 : 72) * MIB }),
);
const LVS = ["red/rebuild5", "red/rebuild1", "red/resync1", "red/resync6"];
const ARRAYS = ["md/md-resync1", "md/md-rebuild5", "md/md-resync6", "md/md-rebuild1"];
const part = (name: string) => readFileSync(`test/vm/scripts/${name}.sh`, "utf8");
const truths = () =>
  new Map(
    readFileSync(join(share, "truth"), "utf8")
      .trim()
      .split("\n")
      .map((line) => line.split(" ") as [string, string]),
  );

let output: string;
let truth: Map<string, string>;

async function readTo(sources: readonly string[], volume: string, out: string): Promise<string> {
  const command = [process.execPath, CLI, "read", ...sources, "--volume", volume];
  await must("sh", ["-c", 'exec "$@" > "$OUT"', "sh", ...command], { env: { OUT: out, ...env } });
  return sha256File(out);
}

beforeAll(async () => {
  ({ output } = await runInMachine({ script: part("make-rebuilds"), disks, share, powerCut: true, limit: 800 }));
  truth = truths();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("arrays whose power was cut in the middle of a synchronisation", () => {
  it("are in the middle of it", () => {
    expect([...truth.keys()].sort()).toEqual([...LVS, ...ARRAYS].sort());
    for (const name of ["md-resync1 resync", "md-rebuild5 recover", "md-resync6 resync", "md-rebuild1 recover"])
      expect(output).toContain(`${name} 14336/`);
    for (const lv of ["rebuild5", "rebuild1", "resync1", "resync6"]) {
      const [, , , , ratio] = output
        .split("\n")
        .find((line) => line.startsWith(`${lv} `))!
        .split(" ");
      const [done, all] = ratio!.split("/").map(Number);
      expect(done).toBeLessThan(all!);
    }
  });

  for (const volume of LVS) {
    it(`${volume} reads as the kernel read it, with a finding, and is not written to`, async () => {
      expect(await readTo(LVM, volume, join(folder, "volume"))).toBe(truth.get(volume));
      const doc = JSON.parse((await unterbau(["inspect", ...LVM, "--json"])).stdout.toString()) as InspectDocument;
      const about = JSON.stringify(doc.groups);
      expect(about).toMatch(/rebuilt|synchronis/);
      const write = await unterbau(["exec", ...LVM, "--volume", volume, "--write", "--", "tune2fs", "-L", "x", "{}"], {
        env,
      });
      expect(write.code).not.toBe(0);
      expect(await readTo(LVM, volume, join(folder, "volume"))).toBe(truth.get(volume));
    });
  }

  const expected = new Map<string, string>();
  for (const volume of ARRAYS) {
    it(`${volume} reads as the kernel read it, and is repaired as a plain file`, async () => {
      const plain = join(folder, "plain");
      expect(await readTo(MD, volume, plain)).toBe(truth.get(volume));
      const damage = join(folder, "damage");
      writeFileSync(damage, "clri /etc/deep\nclri /home/file-1\nfreeb 900 30\n");
      await must("debugfs", ["-w", "-f", damage, plain], { env });
      const tool = ["debugfs", "-w", "-f", damage, "{}"];
      expect((await unterbau(["exec", ...MD, "--volume", volume, "--write", "--", ...tool], { env })).code).toBe(0);
      expect((await run("e2fsck", ["-fy", plain], { env })).code).toBe(1);
      const repair = await unterbau(["check", ...MD, "--volume", volume, "--repair", "--json"], { env });
      expect((JSON.parse(repair.stdout.toString()) as CheckDocument).volumes).toMatchObject([{ verdict: "repaired" }]);
      expected.set(volume, await sha256File(plain));
      expect(await readTo(MD, volume, join(folder, "volume"))).toBe(expected.get(volume));
    });
  }

  it("are taken up by the kernel where they were, and are consistent in the end", async () => {
    rmSync(join(share, "truth"));
    const judged = await mustInMachine({
      script: part("judge-rebuilds"),
      disks: disks.map((d) => ({ ...d, size: undefined })),
      share,
      limit: 800,
    });
    const after = truths();
    for (const volume of LVS) expect(`${volume} ${after.get(volume)}`).toBe(`${volume} ${truth.get(volume)}`);
    for (const volume of ARRAYS) {
      for (const when of [volume, volume.replace(/^md/, "now")])
        expect(`${when} ${after.get(when)}`).toBe(`${when} ${expected.get(volume)}`);
    }
    expect(judged.match(/^mismatch .*$/gm)).toEqual([...LVS, ...ARRAYS].map((volume) => `mismatch ${volume} 0`));
  });
});

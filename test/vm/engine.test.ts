import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Ajv } from "ajv";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { must } from "../helpers/cli.ts";
import { type Disk, mustInMachine } from "./machine.ts";

const MIB = 1 << 20;
const folder = mkdtempSync(join(tmpdir(), "unterbau-engine-"));
const disks = Object.entries({ pv: 400, d1: 40, d2: 40 }).map(
  ([name, mib]): Disk => ({ name, path: join(folder, name), size: mib * MIB }),
);
const part = (name: string) => readFileSync(`test/vm/scripts/${name}.sh`, "utf8");
/** Each test has the disks as they were made. */
const inMachine = (script: string, share: string) =>
  mustInMachine({
    script: part("engine-lib") + part("engine-host") + script,
    disks: disks.map((d) => ({ ...d, size: undefined, keep: true })),
    share: join(folder, share),
    unterbau: true,
    limit: 1700,
  });

beforeAll(() => mustInMachine({ script: part("engine-make"), disks, share: join(folder, "make") }));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("the kernel engine, in a real kernel", () => {
  it("opens every variant, checks and repairs, and leaves nothing behind", async () => {
    const output = await inMachine(part("engine-variants"), "variants");
    expect(output.match(/^script .*$/gm)).toHaveLength(8);
    expect(output.match(/^run-plan .*$/gm)).toHaveLength(11);
    const schema = JSON.parse(readFileSync("docs/schemas/run-plan.json", "utf8")) as object;
    const ajv = new Ajv({ strict: true, allowUnionTypes: true });
    const doc: unknown = JSON.parse(readFileSync(join(folder, "variants", "run-plan.json"), "utf8"));
    expect(ajv.validate(schema, doc), ajv.errorsText()).toBe(true);
    expect(doc).toMatchObject({ mode: "look", failure: null, left: [], exitCode: 0 });
    // The very scripts that ran.
    const scripts = readdirSync(join(folder, "variants")).filter((name) => /^(variant|two|same).*\.sh$/.test(name));
    expect(scripts.length).toBe(8);
    for (const name of scripts) await must("shellcheck", ["--shell=sh", join(folder, "variants", name)]);
  }, 1_800_000);

  const PARTS = 2;
  const KILLED: readonly (readonly [string, string, readonly string[]])[] = [
    [
      "variant-2",
      `/dev/volssd10/v2 --key-file /run/key --inside "$image" --volume lvg1/lvroot`,
      ["cryptsetup", "mount", "qemu-nbd", "losetup", "vgchange", "fsck", "umount", "rmdir", "mkdir", "udevadm"],
    ],
    [
      "renamed",
      "$v/d1 $v/d2 --rename",
      ["dd", "truncate", "vgrename", "vgchange", "touch", "dmsetup", "rm", "losetup"],
    ],
  ];
  for (const [name, args, tools] of KILLED) {
    // Each kill begins anew, so all of them take long: in parts, each with a machine of its own.
    it(`${name} is killed at every command, and recover takes down what is there`, async () => {
      const kills: { at: number; tool: string }[] = [];
      const counts: number[] = [];
      for (let first = 1; first <= PARTS; first++) {
        const script = `${part("engine-kill")}\nkills ${name} ${first} ${PARTS} ${args}\n`;
        const output = await inMachine(script, `kill-${name}-${first}`);
        for (const [, at, tool] of output.matchAll(/^killed at (\d+): (\S+) (?:before|during|after)$/gm))
          kills.push({ at: Number(at), tool: tool! });
        counts.push(Number(new RegExp(`^${name} has (\\d+) commands$`, "m").exec(output)?.[1]));
      }
      // Every command once, by what a run that is not killed has of them.
      expect(kills.map((k) => k.at).sort((a, b) => a - b)).toEqual(Array.from({ length: counts[0]! }, (_, i) => i + 1));
      expect(new Set(counts).size).toBe(1);
      expect([...new Set(kills.map((k) => k.tool))]).toEqual(expect.arrayContaining([...tools]));
    }, 3_600_000);
  }
});

import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import type { InspectDocument } from "../../src/usecases/documents.ts";
import { unterbau } from "../helpers/cli.ts";
import { type LvmFixture, lvmFixture } from "../helpers/lvm-fixture.ts";
import { temporaryFolder } from "../helpers/programs.ts";

const folder = temporaryFolder();
afterAll(() => folder.remove());
const env = { UNTERBAU_STATE_DIR: join(folder.path, "state") };

/** Writes the fixture's disks to files, without those named; their paths. */
function files(fixture: LvmFixture, without: readonly string[] = []): string[] {
  return [...fixture.disks]
    .filter(([name]) => !without.includes(name))
    .map(([name, bytes]) => {
      const path = join(folder.path, `${name}.raw`);
      writeFileSync(path, bytes);
      return path;
    });
}

describe("LVM's layouts on the command line", () => {
  it("reads RAID volumes with a disk missing, and lists no parts of them as volumes", async () => {
    const fixture = lvmFixture("degraded");
    const disks = files(fixture, ["pb"]);
    for (const { name, sha256 } of fixture.volumes) {
      const { code, stdout, stderr } = await unterbau(["read", ...disks, "--volume", `vgd/${name}`]);
      expect([name, stderr, code]).toEqual([name, "", 0]);
      expect([name, createHash("sha256").update(stdout).digest("hex")]).toEqual([name, sha256]);
    }
    const { stdout } = await unterbau(["inspect", ...disks, "--json"]);
    const selectors = (JSON.parse(stdout.toString()) as InspectDocument).volumes.map((v) => v.selector);
    expect(selectors.sort()).toEqual(fixture.volumes.map((v) => `vgd/${v.name}`).sort());
  });

  it("writes to a thin volume what needs no new block; a refused write changes no byte of any disk", async () => {
    const fixture = lvmFixture("thin");
    const disks = files(fixture);
    const write = (volume: string, sector: number) =>
      unterbau(
        // biome-ignore format: one command
        ["exec", ...disks, "--volume", volume, "--write", "--", "dd", "if=/dev/zero", "of={}", "bs=512", "count=1", `seek=${sector}`, "conv=notrunc", "status=none"],
        { env },
      );
    // A block that a snapshot shares, one that the pool has not provisioned.
    for (const [volume, sector] of [
      ["vgt/snap2", 5 * 128],
      ["vgt/onext", 0],
    ] as const) {
      const refused = await write(volume, sector);
      expect([volume, refused.code]).not.toEqual([volume, 0]);
      expect(refused.stderr).toMatch(/writing to a thin volume/);
      for (const [i, bytes] of [...fixture.disks.values()].entries()) {
        expect([volume, Buffer.compare(readFileSync(disks[i]!), bytes)]).toEqual([volume, 0]);
      }
    }
    const done = await write("vgt/solo", 5);
    expect([done.code, done.stderr]).toEqual([0, expect.stringMatching(/512 bytes changed/)]);
    const { stdout } = await unterbau(["read", ...disks, "--volume", "vgt/solo"]);
    expect(stdout.subarray(5 * 512, 6 * 512).every((b) => b === 0)).toBe(true);
    const changed = disks.map((path, i) => {
      const before = [...fixture.disks.values()][i]!;
      return readFileSync(path).reduce((n, b, at) => n + Number(b !== before[at]), 0);
    });
    expect(changed[0]! + changed[1]!).toBeLessThanOrEqual(512);
  });
});

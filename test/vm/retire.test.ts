import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import type { RetireDocument } from "../../src/usecases/retire-documents.ts";
import { daemonFor } from "./daemon.ts";
import { mustInMachine } from "./machine.ts";

const folder = mkdtempSync(join(tmpdir(), "unterbau-retire-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Runs one part in a machine; what was said of a guest's disk, and its deletion record. */
async function part(name: string) {
  const share = join(folder, name);
  const output = await mustInMachine({
    script: `${daemonFor(share)}${readFileSync("test/vm/scripts/retire.sh", "utf8")}\n${name}\n`,
    disks: [{ name: "pv", path: join(folder, `${name}.pv`), size: 400 * 2 ** 20 }],
    share,
    unterbau: true,
    limit: 1500,
  });
  const lines = output.split("\n");
  const said = (guest: string) => lines.filter((line) => line.startsWith(`${guest}: `)).join("\n");
  const record = (guest: string) => JSON.parse(readFileSync(join(share, `${guest}.json`), "utf8")) as RetireDocument;
  return { output, said, record };
}

it("a thin volume is gone from the medium, and takes nothing of its pool; not while others share its blocks", async () => {
  const { output, said, record } = await part("thin");
  expect(said("thin")).toMatch(/vg0-thin has snapshots, which keep what it held: first/);
  expect(said("thin")).toMatch(
    /vg0-thin shares \d+ MiB with other volumes of the thin pool pool \(it has .*second.*\)/,
  );
  expect(said("thin")).toMatch(
    /somebody else looks at the metadata of the thin pool vg0-pool-tpool[\s\S]*release_metadata_snap/,
  );
  expect(said("thin")).toMatch(/of \S*vg0-thin a snapshot was made since \d+ MiB of it were written/);
  expect(output).toContain("thin is gone");
  const [target] = record("thin").targets;
  expect(target!.overwrittenBytes).toBeLessThan(32 * 2 ** 20);
  expect(target!.verdict).toBe("warn");
  expect(target!.residual.join("\n")).toMatch(/thin volume.*lies in the free blocks of the pool pool as it was/);
}, 1_600_000);

it("a linear volume is gone from the medium, but not while there is a snapshot, nor as one", async () => {
  const { output, said, record } = await part("linear");
  expect(said("linear")).toMatch(/vg0-linear has snapshots, which keep what it held: before/);
  expect(said("snapshot")).toMatch(
    /vg0-before is a snapshot of linear: what is written to it goes elsewhere, and linear keeps/,
  );
  expect(output).toContain("linear is gone");
  const [target] = record("linear").targets;
  expect(target).toMatchObject({
    identity: { kind: "blockdev" },
    overwrittenBytes: 16 * 2 ** 20,
    discard: "discarded",
  });
  expect(target!.lvUuid).toMatch(/^\w{6}(-\w{4}){5}-\w{6}$/);
}, 1_600_000);

it("a thin snapshot, a file on a volume with a snapshot and a cached volume are named with what keeps them", async () => {
  const { output, said } = await part("others");
  expect(said("child")).toMatch(/vg0-child shares \d+ MiB with other volumes of the thin pool pool \(it has base/);
  expect(said("file")).toMatch(/vg0-files has snapshots, which keep what it held: nightly/);
  expect(said("cached")).toMatch(/vg0-cached has a cache[\s\S]*lvconvert --splitcache/);
  for (const name of ["file", "cached"]) expect(output).toContain(`${name} is gone`);
}, 1_600_000);

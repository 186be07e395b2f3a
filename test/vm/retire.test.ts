import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import type { RetireDocument } from "../../src/usecases/retire-documents.ts";
import { daemonFor } from "./daemon.ts";
import { mustInMachine } from "./machine.ts";

const folder = mkdtempSync(join(tmpdir(), "unterbau-retire-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it("old disks on logical volumes are gone from the medium, or named with what keeps them", async () => {
  const output = await mustInMachine({
    script: daemonFor(folder) + readFileSync("test/vm/scripts/retire.sh", "utf8"),
    disks: [{ name: "pv", path: join(folder, "pv"), size: 400 * 2 ** 20 }],
    share: folder,
    unterbau: true,
    limit: 1500,
  });
  for (const name of ["linear", "thin", "file", "cached"]) expect(output).toContain(`${name} is gone`);
  const said = (name: string) =>
    output
      .split("\n")
      .filter((line) => line.startsWith(`${name}: `))
      .join("\n");
  expect(said("linear")).toMatch(/vg0-linear has snapshots, which keep what it held: before/);
  expect(said("snapshot")).toMatch(
    /vg0-before is a snapshot of linear: what is written to it goes elsewhere, and linear keeps/,
  );
  expect(said("thin")).toMatch(/vg0-thin has snapshots, which keep what it held: first/);
  expect(said("thin")).toMatch(
    /vg0-thin shares \d+ MiB with other volumes of the thin pool pool \(it has .*second.*\)/,
  );
  expect(said("thin")).toMatch(
    /somebody else looks at the metadata of the thin pool vg0-pool-tpool[\s\S]*release_metadata_snap/,
  );
  expect(said("child")).toMatch(/vg0-child shares \d+ MiB with other volumes of the thin pool pool \(it has base/);
  expect(said("file")).toMatch(/vg0-files has snapshots, which keep what it held: nightly/);
  expect(said("cached")).toMatch(/vg0-cached has a cache[\s\S]*lvconvert --splitcache/);
  const record = (name: string) => JSON.parse(readFileSync(join(folder, `${name}.json`), "utf8")) as RetireDocument;
  const [linear] = record("linear").targets;
  expect(linear).toMatchObject({
    identity: { kind: "blockdev" },
    overwrittenBytes: 16 * 2 ** 20,
    discard: "discarded",
  });
  expect(linear!.lvUuid).toMatch(/^\w{6}(-\w{4}){5}-\w{6}$/);
  const [thin] = record("thin").targets;
  expect(thin!.overwrittenBytes).toBeLessThan(32 * 2 ** 20);
  expect(thin!.verdict).toBe("warn");
  expect(thin!.residual.join("\n")).toMatch(/thin volume.*lies in the free blocks of the pool pool as it was/);
}, 1_600_000);

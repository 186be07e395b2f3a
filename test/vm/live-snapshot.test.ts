import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Ajv } from "ajv";
import { afterAll, expect, it } from "vitest";
import type { CheckDocument } from "../../src/usecases/documents.ts";
import { mustInMachine } from "./machine.ts";

const folder = mkdtempSync(join(tmpdir(), "unterbau-live-snapshot-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it("a guest on a raw logical volume is looked at through a snapshot, which never stays", async () => {
  const disks = ["pv", "other"].map((name) => ({ name, path: join(folder, name), size: 200 << 20 }));
  const output = await mustInMachine({
    script: readFileSync("test/vm/scripts/live-snapshot.sh", "utf8"),
    disks,
    share: join(folder, "share"),
    unterbau: true,
    limit: 1200,
  });
  expect(output).toContain("looked at through snapshots of its logical volumes");
  expect(output).toContain("killed: taken away");
  expect(output).toContain("both killed: recovered");
  expect(output).toContain("two disks: one instant");
  for (const how of ["before", "during", "both"]) expect(output).toContain(`two disks, killed ${how}: taken away`);
  const validate = new Ajv({ strict: true, allowUnionTypes: true }).compile(
    JSON.parse(readFileSync("docs/schemas/check.json", "utf8")) as object,
  );
  const document = (name: string): CheckDocument => {
    const doc = JSON.parse(readFileSync(join(folder, "share", `${name}.json`), "utf8")) as CheckDocument;
    expect(validate(doc)).toBe(true);
    expect(doc.live).toMatchObject({ guest: name === "quiesced" ? "db" : "web", via: "lvm-snapshot" });
    return doc;
  };
  for (const name of ["chosen", "named"]) {
    const [volume] = document(name).volumes;
    expect(volume).toMatchObject({ type: "ext4", verdict: "clean" });
    // A mounted file system was seen, in the middle of its writing.
    expect(volume!.reason).toContain("journal replayed for the check");
  }
  const quiesced = document("quiesced").volumes;
  expect(quiesced.map((v) => v.verdict)).toEqual(["clean", "clean"]);
  // Frozen, a file system has nothing in its journal that would have to be replayed.
  for (const { reason } of quiesced) expect(reason ?? "").not.toContain("journal replayed");
  expect(document("full").volumes[0]).toMatchObject({ verdict: "snapshot-invalid" });
  expect(document("damaged").volumes[0]).toMatchObject({ verdict: "errors" });
}, 1_300_000);

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Ajv } from "ajv";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { VERSION } from "../../src/cli/version.ts";
import { unterbau } from "../helpers/cli.ts";
import { damage, makeGuest, toLuks1, toQcow2 } from "../helpers/guest.ts";

const ajv = new Ajv({ strict: true, allowUnionTypes: true });

for (const verb of ["inspect", "check", "runs", "undo", "accept", "prune", "doctor"]) {
  ajv.addSchema(JSON.parse(readFileSync(`docs/schemas/${verb}.json`, "utf8")) as object, verb);
}

/** What differs from run to run: UUIDs, disk ids, dates, sizes of sparse files, temporary folders. */
function normalised(text: string, folder: string): string {
  return text
    .replaceAll(folder, "FOLDER")
    .replace(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, "UUID--------------------------------")
    .replace(/[A-Za-z0-9]{6}(-[A-Za-z0-9]{4}){5}-[A-Za-z0-9]{6}/g, "LVMUUID-------------------------------")
    .replace(/0x[0-9a-f]{8}/g, "0xDISKID--")
    .replace(/\d{4}-\d\d-\d\d/g, "YYYY-MM-DD")
    .replace(/[\d.]+ [KM]iB allocated/g, "N MiB allocated");
}

describe("documents", () => {
  let folder: string;
  let env: Record<string, string>;

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "unterbau-doc-"));
    env = { UNTERBAU_STATE_DIR: join(folder, "state") };
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it("follow their schemas, from the first inspect to the undo", async () => {
    const guest = await makeGuest(folder, "mbr-lvm");
    await damage(guest.disks[0]!, guest.root.offset);
    const disk = join(folder, "guest.qcow2");
    await toQcow2(guest.disks[0]!, disk);
    const json = async (verb: string, args: string[]) => {
      const r = await unterbau([...(args[0] === "runs" ? [] : [verb]), ...args, "--json"], { env });
      const doc = JSON.parse(r.stdout.toString()) as Record<string, unknown>;
      expect(ajv.validate(verb, doc), `${verb}: ${ajv.errorsText()}`).toBe(true);
      return doc;
    };
    await json("inspect", [disk]);
    await json("check", [disk]);
    const repaired = await json("check", [disk, "--repair"]);
    await json("runs", []);
    await json("undo", [String(repaired.run)]);
    const again = await json("check", [disk, "--repair"]);
    const refused = await unterbau(["runs", "--accept", String(again.run)], { env });
    expect([refused.code, refused.stderr]).toEqual([2, expect.stringContaining("--yes")]);
    await json("accept", ["runs", "--accept", String(again.run), "--yes"]);
    expect(await json("prune", ["runs", "--prune", "0"])).toMatchObject({
      removed: [repaired.run, again.run],
      removedVerdicts: 1,
    });
    expect((await unterbau(["runs", "--prune", "0"], { env })).stdout.toString()).toBe(
      "There is no run that ended more than 0 days ago.\n",
    );
    await json("doctor", []);
  });

  it("the tree as a person reads it: golden", async () => {
    const sub = mkdtempSync(join(folder, "tree-"));
    const guest = await makeGuest(sub, "mbr-lvm");
    const qcow2 = join(sub, "os43.qcow2");
    await toQcow2(guest.disks[0]!, qcow2);
    const luks = join(sub, "os43.luks");
    await toLuks1(guest.disks[0]!, luks, join(sub, "key"));
    const two = await makeGuest(mkdtempSync(join(folder, "two-")), "mbr-lvm2");
    const show = async (...args: string[]) =>
      normalised((await unterbau(["inspect", ...args, "--no-prompt"])).stdout.toString(), folder);
    const text = [
      await show(qcow2),
      await show(luks),
      await show(luks, "--key-file", join(sub, "key")),
      await show(...two.disks),
      await show(two.disks[1]!),
    ]
      .join("\n")
      .replace(/FOLDER\/(tree|two)-\w{6}/g, "FOLDER/$1");
    await expect(text).toMatchFileSnapshot("../golden/trees.txt");
  });

  it("the version is the package's", async () => {
    expect((JSON.parse(readFileSync("package.json", "utf8")) as { version: string }).version).toBe(VERSION);
    expect((await unterbau(["--version"])).stdout.toString()).toBe(`${VERSION}\n`);
  });
});

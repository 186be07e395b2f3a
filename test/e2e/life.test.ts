import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Ajv } from "ajv";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { LifeDocument } from "../../src/usecases/life-documents.ts";
import { unterbau } from "../helpers/cli.ts";
import { fileDisk, testGuests, uuidOf } from "../helpers/libvirt.ts";

let folder: string;
let disk: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "unterbau-life-"));
  disk = join(folder, "disk.raw");
  writeFileSync(disk, "");
  truncateSync(disk, 1 << 20);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const ajv = new Ajv({ strict: true, allowUnionTypes: true });
for (const verb of ["unlock", "lock"])
  ajv.addSchema(JSON.parse(readFileSync(`docs/schemas/${verb}.json`, "utf8")) as object, verb);

const guard = (role: string, state: string) =>
  `<metadata><u:migration xmlns:u="urn:unterbau:migration:1" role="${role}" state="${state}" partner="${uuidOf(1)}" run="20261124-1"/></metadata>`;

/** The dm-crypt path itself is tested in test/vm. */
describe("unlock and lock where nothing is encrypted", () => {
  const cli = (verb: string, args: readonly string[], devices = fileDisk(disk, "raw"), state?: "running") =>
    unterbau([
      verb,
      ...args,
      "--connect",
      testGuests(folder, [{ name: "mail", devices, ...(state ? { state } : {}) }]),
    ]);

  it("find nothing to do, and follow their schemas", async () => {
    for (const verb of ["unlock", "lock"]) {
      const { code, stdout, stderr } = await cli(verb, ["vm:mail", "--json"]);
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      const doc = JSON.parse(stdout.toString()) as LifeDocument;
      expect(ajv.validate(verb, doc), ajv.errorsText()).toBe(true);
      expect(doc).toMatchObject({ guest: "mail", uuid: uuidOf(0), dryRun: false, steps: [], exitCode: 0 });
    }
    expect((await cli("unlock", ["vm:mail"])).stdout.toString()).toBe("mail: nothing has to be opened\n");
  });

  it("start the guest, and shut it down", async () => {
    const started = await cli("unlock", ["vm:mail", "--start"]);
    expect([started.code, started.stdout.toString()]).toEqual([0, "guest mail: started\n"]);
    const again = await cli("unlock", ["vm:mail", "--start"], undefined, "running");
    expect([again.code, again.stdout.toString()]).toEqual([0, "guest mail: not started again, it is running\n"]);
    const plan = await cli("lock", ["vm:mail", "--dry-run"], undefined, "running");
    expect(plan.stdout.toString()).toBe(`virsh shutdown --domain=${uuidOf(0)} --mode=acpi\n`);
  });

  it("name a disk that is not there, and what would bring it", async () => {
    const gone = fileDisk("/dev/mapper/mail-crypt", "raw")
      .replaceAll("file", "block")
      .replace("source block", "source dev");
    const { code, stderr } = await cli("unlock", ["vm:mail", "--start"], gone);
    expect(code).toBe(1);
    expect(stderr).toContain("the guest mail needs /dev/mapper/mail-crypt, which is not there (host)");
    expect(stderr).toContain("hint: a line in /etc/crypttab");
  });

  it("refuse what is no guest", async () => {
    for (const verb of ["unlock", "lock"]) {
      const plain = await unterbau([verb, "mail"]);
      expect([plain.code, plain.stderr]).toEqual([2, expect.stringContaining("vm:mail")]);
      const none = await cli(verb, ["vm:web"]);
      expect([none.code, none.stderr]).toEqual([2, expect.stringContaining("there is no guest web")]);
    }
  });
});

describe("a guest of a migration", () => {
  const start = (mark: string, partner: "shut off" | "running") => {
    const uri = testGuests(folder, [
      { name: "mail", devices: fileDisk(disk, "raw") },
      { name: "partner", devices: "", state: partner },
    ]);
    const path = uri.slice("test://".length);
    const first = `<uuid>${uuidOf(0)}</uuid>`;
    writeFileSync(path, readFileSync(path, "utf8").replace(first, `${first}${mark}`));
    return unterbau(["unlock", "vm:mail", "--start", "--connect", uri]);
  };

  it("is not started when its copy took its place, or its partner runs", async () => {
    const old = await start(guard("old", "ready"), "shut off");
    expect([old.code, old.stderr]).toEqual([1, expect.stringContaining("the guest mail is not started")]);
    const clone = await start(guard("clone", "ready"), "running");
    expect([clone.code, clone.stderr]).toEqual([1, expect.stringContaining("is running")]);
    const whole = await start(guard("clone", "ready"), "shut off");
    expect([whole.code, whole.stdout.toString()]).toEqual([0, "guest mail: started\n"]);
  });
});

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Ajv } from "ajv";
import { afterAll, expect, it } from "vitest";
import type { AuditDocument } from "../../src/audit/model.ts";
import type { LifeDocument } from "../../src/usecases/life-documents.ts";
import type { TrimExplainDocument } from "../../src/usecases/trim-documents.ts";
import { mustInMachine } from "./machine.ts";

const folder = mkdtempSync(join(tmpdir(), "unterbau-unlock-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const ajv = new Ajv({ strict: true, allowUnionTypes: true });
for (const verb of ["unlock", "lock"])
  ajv.addSchema(JSON.parse(readFileSync(`docs/schemas/${verb}.json`, "utf8")) as object, verb);

it("unlock and lock, on real encrypted volumes", async () => {
  const disks = ["d1", "d2", "d3"].map((name) => ({ name, path: join(folder, name), size: 80 << 20 }));
  const script = readFileSync("test/vm/scripts/unlock.sh", "utf8");
  const output = await mustInMachine({ script, disks, share: folder, unterbau: true, limit: 900 });
  expect(output).toContain("end: 0");
  const read = (name: string) => readFileSync(join(folder, name), "utf8");
  const document = (verb: string, name: string): LifeDocument => {
    const doc = JSON.parse(read(name)) as LifeDocument;
    expect(ajv.validate(verb, doc), ajv.errorsText()).toBe(true);
    return doc;
  };
  expect(JSON.parse(read("backup.out"))).toMatchObject({ disks: [{ kind: "ciphertext", header: "vda.luks-header" }] });
  expect(JSON.parse(read("verify.out"))).toMatchObject({ check: { volumes: [{ type: "ext4", verdict: "clean" }] } });
  expect(read("backup-open.err")).toContain("mail-crypt is open: what lies in it may change");
  expect(read("backup-plain.err")).toContain("would lie in the clear");
  expect(JSON.parse(read("backup-content.out"))).toMatchObject({
    disks: [{ kind: "content", source: "/dev/mapper/mail-crypt" }],
  });
  const found = (doc: LifeDocument) => doc.steps.map((s) => `${s.kind} ${s.name} ${s.outcome}`);
  expect(found(document("unlock", "unlock.out"))).toEqual([
    "crypt mail-crypt done",
    "crypt images done",
    "mount /srv/images done",
    "crypt pv done",
    "volume secret/data done",
    "mount /srv/images/data done",
  ]);
  expect(read("again.out")).toContain("guest mail: started");
  expect(read("again.out").match(/already/g)).toHaveLength(6);
  const samples = (JSON.parse(read("sample.json")) as AuditDocument).samples!;
  expect(samples.map((s) => [s.mapping, s.finding])).toEqual(
    ["images", "mail-crypt", "pv"].map((name) => [name, expect.stringMatching(/^(random|few)$/)]),
  );
  for (const { equalShare } of samples) expect(equalShare!).toBeLessThan(0.05);
  const trim = (name: string) =>
    (JSON.parse(read(name)) as TrimExplainDocument).disks.map((d) => [d.target, d.stopsAt]);
  expect(trim("trim.out").map(([, at]) => at)).toEqual(["qemu vda", "qemu vdb", "qemu vdc"]);
  const [vda, vdb, vdc] = trim("trim-unmap.out");
  expect(vda).toEqual(["vda", null]);
  expect(vdb![1]).toMatch(/^(file system|crypt)/);
  expect(vdc![1]).toMatch(/^(file system|crypt)/);
  const links = (JSON.parse(read("trim-unmap.out")) as TrimExplainDocument).disks.map((d) =>
    d.links.filter((l) => l.layer === "crypt").map((l) => [l.name, l.passes]),
  );
  // As dmsetup's tables say.
  expect(links).toEqual([
    [["/dev/mapper/mail-crypt", true]],
    [["/dev/mapper/images", false]],
    [["/dev/mapper/pv", false]],
  ]);
  const busy = document("lock", "busy.out");
  expect(found(busy)).toEqual([
    "mount /srv/images/data failed",
    "volume secret/data failed",
    "crypt pv failed",
    "mount /srv/images failed",
    "crypt images failed",
    "crypt mail-crypt done",
  ]);
  expect(busy.steps[0]!.reason).toMatch(/^in use: sleep \(pid \d+\)/);
  expect(busy.steps[3]!.reason).toContain("the mount on /srv/images/data");
  expect(busy.steps[4]!.reason).toContain("is mounted on /srv/images");
  expect(read("shared.out")).toContain("left mounted, needed by the guest other");
  expect(found(document("lock", "lock.out"))).toEqual(["mount /srv/images done", "crypt images done"]);
  expect(read("nothing.out")).toContain("nothing of it is open");
  expect(read("undeclared.out")).toMatch(/mail-crypt UUID=[0-9a-f-]{36} none luks,noauto/);
  expect(read("undeclarable.err")).toContain("the guest mail needs /dev/mapper/mail-crypt, which is not there");
}, 1_000_000);

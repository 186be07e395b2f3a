import { mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Ajv } from "ajv";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { GuestDiskDocument, GuestsDocument } from "../../src/usecases/documents.ts";
import { must, unterbau } from "../helpers/cli.ts";
import { damage, type Guest, makeGuest, PASSPHRASE, toLuks1, toQcow2 } from "../helpers/guest.ts";
import { fileDisk, type TestGuest, testGuests, uuidOf } from "../helpers/libvirt.ts";
import { untilQemuCanTell } from "../helpers/programs.ts";

let folder: string;
let guest: Guest;
let env: Record<string, string>;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "unterbau-list-"));
  env = { UNTERBAU_STATE_DIR: join(folder, "state") };
  guest = await makeGuest(folder, "mbr-lvm", { VG: "secretvg" });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const validate = new Ajv({ strict: true, allowUnionTypes: true }).compile(
  JSON.parse(readFileSync("docs/schemas/list.json", "utf8")) as object,
);

async function list(guests: readonly TestGuest[], more = ""): Promise<GuestsDocument> {
  const { code, stdout, stderr } = await unterbau(["list", "--json", "--connect", testGuests(folder, guests, more)], {
    env,
  });
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  const doc = JSON.parse(stdout.toString()) as GuestsDocument;
  validate(doc);
  expect(validate.errors).toBeNull();
  return doc;
}
const disksOf = async (guests: readonly TestGuest[]): Promise<readonly GuestDiskDocument[]> =>
  (await list(guests)).guests[0]!.disks;

describe("list", () => {
  it("shows every guest with its state and all its drives", async () => {
    const drives = `<disk type='file' device='cdrom'><target dev='sda' bus='sata'/><readonly/></disk>${fileDisk(guest.disks[0]!, "raw")}
      <disk type='network' device='disk'><source protocol='rbd' name='p/x'><host name='mon'/></source><target dev='vdb' bus='virtio'/></disk>
      ${fileDisk("/nowhere/gone.raw", "raw", "vdc")}`;
    const uri = testGuests(folder, [
      { name: "web", devices: drives, state: "running" },
      { name: "mail", devices: "", managedSave: true },
    ]);
    const doc = await list([
      { name: "web", devices: drives, state: "running" },
      { name: "mail", devices: "", managedSave: true },
    ]);
    expect(doc.guests.map((g) => [g.name, g.uuid, g.state, g.managedSave])).toEqual(
      expect.arrayContaining([
        ["web", uuidOf(0), "running", false],
        ["mail", uuidOf(1), "shut off", true],
      ]),
    );
    const web = doc.guests.find((g) => g.name === "web")!;
    expect(web.disks.map((d) => [d.target, d.place, d.problem === null])).toEqual([
      ["sda", "no medium", true],
      ["vda", guest.disks[0], true],
      ["vdb", "a network disk (rbd)", true],
      ["vdc", "/nowhere/gone.raw", false],
    ]);
    // As the kernel says where a file lies.
    const source = (await must("findmnt", ["--noheadings", "--output", "SOURCE,FSTYPE", "--target", folder])).split(
      /\s+/,
    );
    const [below] = web.disks[1]!.restsOn;
    expect(source).toContain(below!.kind === "memory" ? below!.name : below!.path);
    expect(web.encrypted).toBe(false);
    const text = (await unterbau(["list", "--connect", uri], { env })).stdout.toString();
    expect(text).toContain("web  running");
    expect(text).toContain("mail  shut off, its memory is saved");
    expect(text).toContain("/nowhere/gone.raw");
  });

  it("says encrypted only where all of a disk is", async () => {
    const key = join(folder, "key");
    const luks = join(folder, "luks.raw");
    await toLuks1(guest.disks[0]!, luks, key);
    const qcow2 = join(folder, "luks.qcow2");
    const secret = [
      "--object",
      `secret,id=k,data=${PASSPHRASE}`,
      "-o",
      "encrypt.format=luks,encrypt.key-secret=k,encrypt.iter-time=10",
    ];
    await untilQemuCanTell(() => must("qemu-img", ["create", "-q", "-f", "qcow2", ...secret, qcow2, "8M"]));
    const part = join(folder, "part.raw");
    writeFileSync(part, "");
    truncateSync(part, 64 * 1024 * 1024);
    await must("sfdisk", ["--quiet", part], {
      input: Buffer.from("label: dos\nstart=2048,size=16384,type=83\ntype=83\n"),
    });
    const image = join(folder, "container");
    writeFileSync(image, "");
    truncateSync(image, 16 * 1024 * 1024);
    await must("cryptsetup", ["luksFormat", "-q", "--type", "luks1", "--pbkdf-force-iterations", "1000", image, key]);
    await must("dd", [`if=${image}`, `of=${part}`, "bs=512", "seek=18432", "conv=notrunc", "status=none"]);
    const guests = [
      [luks, "raw", "full"],
      [qcow2, "qcow2", "full"],
      [part, "raw", "partial"],
      [guest.disks[0]!, "raw", "none"],
    ] as const;
    const devices = guests.map(([path, format], i) => fileDisk(path, format, `vd${"abcd"[i]}`)).join("");
    const disks = await disksOf([{ name: "web", devices }]);
    expect(disks.map((d) => [d.path, d.format, d.encryption?.inside])).toEqual(guests);
    expect(disks.map((d) => d.encrypted)).toEqual([true, true, false, false]);
    expect(disks.map((d) => d.encryption?.byQemu)).toEqual([false, false, false, false]);
    const one = await list([{ name: "web", devices: fileDisk(luks, "raw"), state: "running" }]);
    expect(one.guests[0]!.encrypted).toBe(true);
  });

  it("names what a disk rests on below it, and who shares one", async () => {
    const base = join(folder, "base.qcow2");
    await toQcow2(guest.disks[0]!, base);
    const top = join(folder, "top.qcow2");
    await must("qemu-img", ["create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", top]);
    const doc = await list([
      { name: "web", devices: fileDisk(top, "qcow2") },
      { name: "twin", devices: fileDisk(top, "qcow2") },
    ]);
    expect(doc.guests[0]!.disks[0]).toMatchObject({ path: top, backing: [base], restsOn: [{}, {}] });
    expect(doc.findings.map((f) => f.code)).toEqual(["libvirt-shared-disk"]);
    expect(doc.findings[0]!.message).toContain(top);
  });

  it("remembers the last verdict, without a word of the guest's, until the disk changes", async () => {
    const disk = guest.disks[0]!;
    const guests = [{ name: "web", devices: fileDisk(disk, "raw") }];
    expect((await disksOf(guests))[0]!.lastCheck).toBeNull();
    const check = (...more: string[]) =>
      unterbau(["check", "vm:web", "--connect", testGuests(folder, guests), ...more], { env });
    expect((await check()).code).toBe(0);
    expect((await disksOf(guests))[0]!.lastCheck).toMatchObject({
      mode: "preview",
      verdict: "clean",
      complete: true,
      changedSince: false,
    });
    const records = readdirSync(join(folder, "state", "checks"));
    expect(records).toHaveLength(1);
    expect(readFileSync(join(folder, "state", "checks", records[0]!), "utf8")).not.toContain("secretvg");

    await damage(disk, guest.root.offset);
    expect((await disksOf(guests))[0]!.lastCheck).toMatchObject({ verdict: "clean", changedSince: true });
    expect((await check()).code).toBe(4);
    expect((await disksOf(guests))[0]!.lastCheck).toMatchObject({ verdict: "would-repair", changedSince: false });
    const { run } = JSON.parse((await check("--repair", "--json")).stdout.toString()) as { run: string };
    expect((await disksOf(guests))[0]!.lastCheck).toMatchObject({
      mode: "repair",
      verdict: "repaired",
      changedSince: false,
    });
    expect((await check("--volume", "secretvg/lvroot")).code).toBe(0);
    expect((await disksOf(guests))[0]!.lastCheck).toMatchObject({ verdict: "clean", complete: false });
    const running = [{ ...guests[0]!, state: "running" as const }];
    expect((await disksOf(running))[0]!.lastCheck).toMatchObject({ changedSince: true });
    await must(process.execPath, ["dist/cli.js", "undo", run, "--force"], { env });
    expect((await disksOf(guests))[0]!.lastCheck).toBeNull();
  });

  it("tells of a migration what its mark tells, where journal and record are not here, and of a mark that is none", async () => {
    const mark = (role: string, partner: string, state = "ready") =>
      `<u:migration xmlns:u='urn:unterbau:migration:1' role='${role}' partner='${partner}' run='20260102-030405-abcd' state='${state}'/>`;
    const guests: TestGuest[] = [
      { name: "plain", devices: "", metadata: mark("old", uuidOf(1), "retired") },
      { name: "mail", devices: "", metadata: mark("clone", uuidOf(0)) },
      { name: "lonely", devices: "", metadata: mark("clone", uuidOf(8)) },
      { name: "half", devices: "", metadata: mark("clone", uuidOf(0), "copying") },
      { name: "odd", devices: "", metadata: mark("neither", uuidOf(0)) },
      { name: "web", devices: "" },
    ];
    const doc = await list(guests);
    const of = (name: string) => doc.guests.find((g) => g.name === name)!.migration;
    const run = "20260102-030405-abcd";
    const plain = { uuid: uuidOf(0), name: "plain", defined: true };
    expect(of("plain")).toEqual({
      role: "old",
      run,
      state: "done",
      partner: { uuid: uuidOf(1), name: "mail", defined: true },
      oldDisk: "unknown",
      retired: null,
    });
    expect(of("mail")).toEqual({ ...of("plain"), role: "new", partner: plain });
    expect(of("lonely")!.partner).toEqual({ uuid: uuidOf(8), name: null, defined: false });
    expect([of("lonely")!.oldDisk, of("half")!.state, of("odd"), of("web")]).toEqual([
      "unknown",
      "copying",
      null,
      null,
    ]);
    expect(doc.findings).toMatchObject([{ code: "libvirt-migration-mark", message: expect.stringContaining("odd: ") }]);
    const text = (await unterbau(["list", "--connect", testGuests(folder, guests)], { env })).stdout.toString();
    expect(text).toContain("migrated: mail took its place, start that one · whether the old disk is destroyed is not");
    expect(text).toContain(`migrated from ${uuidOf(8)} (not defined here)`);
    expect(text).toContain(`the unfinished copy of plain: unterbau migrate --resume ${run} goes on`);
  });

  it("says why there is nothing to list", async () => {
    const { code, stderr } = await unterbau(["list", "--connect", "qemu+unix:///system?socket=/nowhere/sock"]);
    expect({ code, stderr }).toMatchObject({ code: 1, stderr: expect.stringContaining("libvirt cannot be reached") });
  });
});

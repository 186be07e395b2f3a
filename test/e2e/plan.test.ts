import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Ajv } from "ajv";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { RecoverDocument } from "../../src/usecases/recover-plan.ts";
import { type CliOptions, must, run, unterbau } from "../helpers/cli.ts";
import { makeGuest, PASSPHRASE, sha256File, toLuks1, toQcow2 } from "../helpers/guest.ts";
import { fileDisk, testGuests, uuidOf } from "../helpers/libvirt.ts";

const folder = mkdtempSync(join(tmpdir(), "unterbau-plan-"));
const runDir = join(folder, "run");
const env = { UNTERBAU_STATE_DIR: join(folder, "state"), UNTERBAU_RUN_DIR: runDir };
const call = (args: readonly string[], more: CliOptions = {}) =>
  unterbau(args, { ...more, env: { ...env, ...more.env } });
const key = join(folder, "key");
const place = (name: string) => join(folder, name);
const ajv = new Ajv({ strict: true, allowUnionTypes: true });
for (const verb of ["plan", "recover"])
  ajv.addSchema(JSON.parse(readFileSync(`docs/schemas/${verb}.json`, "utf8")) as object, verb);

/** A LUKS volume of the host with an ext4 that holds `disk` as /images/NAME. */
async function hostVolume(disk: string, name: string, to: string): Promise<void> {
  const files = mkdtempSync(join(folder, "files-"));
  mkdirSync(join(files, "images"));
  copyFileSync(disk, join(files, "images", name));
  symlinkSync(`/images/${name}`, join(files, "link"));
  const plain = `${to}.ext4`;
  await must("truncate", ["--size", "140M", plain]);
  await must("mke2fs", ["-q", "-t", "ext4", "-d", files, plain]);
  await toLuks1(plain, to, key);
  for (const made of [files, plain]) rmSync(made, { recursive: true });
}

beforeAll(async () => {
  writeFileSync(key, PASSPHRASE);
  const guest = await makeGuest(place("one"), "mbr-lvm");
  const raw = guest.disks[0]!;
  await toLuks1(raw, place("variant1.luks"), key);
  await toQcow2(raw, place("os43.qcow2"));
  await hostVolume(place("os43.qcow2"), "os43.qcow2", place("variant2.luks"));
  await hostVolume(raw, "os43.raw", place("variant3.luks"));
  await makeGuest(place("two"), "mbr-lvm2");
}, 240_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** What differs from run to run. */
function normalised(text: string): string {
  return text
    .replaceAll(folder, "FOLDER")
    .replace(/unterbau([-_])[0-9a-f]{6}(?![0-9a-z])/g, "unterbau$1HASH--")
    .replace(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, "UUID--------------------------------")
    .replace(/[A-Za-z0-9]{6}(-[A-Za-z0-9]{4}){5}-[A-Za-z0-9]{6}/g, "LVMUUID-------------------------------")
    .replace(/LVM-[A-Za-z0-9]{32}/g, "LVM-LVMUUID-------------------------");
}

const VARIANTS: readonly { readonly name: string; readonly args: () => readonly string[] }[] = [
  { name: "variant-1", args: () => [place("variant1.luks"), "--key-file", key] },
  {
    name: "variant-2",
    args: () => [
      place("variant2.luks"),
      "--key-file",
      key,
      "--inside",
      "/images/os43.qcow2",
      "--volume",
      "lvg1/lvroot",
      "--repair",
    ],
  },
  { name: "variant-3", args: () => [place("variant3.luks"), "--key-file", key, "--inside", "/images/os43.raw"] },
  { name: "two-disks", args: () => [join(place("two"), "a.raw"), join(place("two"), "b.raw"), "--rename"] },
];

describe("plan", () => {
  for (const { name, args } of VARIANTS) {
    it(`prints ${name} as a script that is as it should be, and is correct shell`, async () => {
      const before = await sha256File(args()[0]!);
      const r = await call(["plan", ...args(), "--inside-format", name === "variant-2" ? "qcow2" : "raw"]);
      expect([r.code, r.stderr]).toEqual([0, ""]);
      const script = r.stdout.toString();
      await expect(normalised(script)).toMatchFileSnapshot(`../golden/plans/${name}.sh`);
      const path = place(`${name}.sh`);
      writeFileSync(path, script);
      await must("sh", ["-n", path]);
      await must("shellcheck", [path]);
      expect(await sha256File(args()[0]!)).toBe(before);
      expect(existsSync(runDir)).toBe(false);
    });
  }

  it("has the offsets that sfdisk says", async () => {
    const table = JSON.parse(await must("sfdisk", ["--json", place("one/guest.raw")])) as {
      partitiontable: { partitions: { start: number; size: number }[] };
    };
    const { start, size } = table.partitiontable.partitions[1]!;
    const script = (await call(["plan", place("os43.qcow2")])).stdout.toString();
    expect(script).toContain(`${start} * 512 = ${start * 512}`);
    expect(script).toContain(`losetup --read-only --offset ${start * 512} --sizelimit ${size * 512} "$loop1" "$nbd1"`);
  });

  it("gives the steps as a document, too", async () => {
    const r = await call(["plan", place("os43.qcow2"), "--json"]);
    const doc: unknown = JSON.parse(r.stdout.toString());
    expect(ajv.validate("plan", doc), ajv.errorsText()).toBe(true);
  });

  it("does not know the passphrase that was typed, and lets cryptsetup ask for it", async () => {
    const r = await call(["plan", place("variant1.luks"), "--key-file", "-"], { input: Buffer.from(PASSPHRASE) });
    expect(r.code).toBe(0);
    expect(r.stdout.toString()).not.toContain(PASSPHRASE);
    expect(r.stdout.toString()).toMatch(/cryptsetup open --type luks/);
  });

  describe("of a guest by its name", () => {
    const both = () => [
      fileDisk(join(place("two"), "a.raw"), "raw"),
      fileDisk(join(place("two"), "b.raw"), "raw", "vdb"),
    ];
    const guests = () =>
      testGuests(folder, [
        { name: "web 'n' mail", devices: both().join("") },
        { name: "on", devices: fileDisk(place("os43.qcow2"), "qcow2"), state: "running" },
        { name: "saved", devices: fileDisk(place("os43.qcow2"), "qcow2"), managedSave: true },
        { name: "raw", devices: fileDisk(place("os43.qcow2"), "raw") },
        { name: "net", devices: nbdDisk },
      ]);
    const nbdDisk =
      "<disk type='network' device='disk'><driver name='qemu' type='raw'/><source protocol='nbd' name='x'><host transport='unix' socket='/nowhere'/></source><target dev='vda'/></disk>";

    it("has all its disks, in the formats that libvirt says, and asks libvirt again when it is run", async () => {
      const uri = guests();
      const named = await call(["plan", "vm:web 'n' mail", "--connect", uri, "--json"]);
      expect([named.code, named.stderr]).toEqual([0, ""]);
      const doc = JSON.parse(named.stdout.toString()) as { steps: { act: object }[]; sources: string[] };
      expect(ajv.validate("plan", doc), ajv.errorsText()).toBe(true);
      expect(doc).toMatchObject({ guests: [{ name: "web 'n' mail", uri }] });
      expect(doc.sources).toEqual([join(place("two"), "a.raw"), join(place("two"), "b.raw")]);
      const script = (await call(["plan", "vm:web 'n' mail", "--connect", uri])).stdout.toString();
      const path = place("guest.sh");
      writeFileSync(path, script);
      await must("shellcheck", [path]);
      const guard = script.split("\n").find((line) => line.includes("domstate"))!;
      const guarded = (line: string) => run("sh", ["-c", `fail() { echo "$*"; exit 8; }\n${line}\necho goes on`]);
      expect((await guarded(guard)).stdout.toString()).toBe("goes on\n");
      const running = guard.replace(uuidOf(0), uuidOf(1));
      expect((await guarded(running)).stdout.toString()).toBe("the guest web 'n' mail is not shut off\n");
    });

    it.each([
      ["that runs", "on", [], "the guest on is running"],
      ["whose memory is saved, for repair", "saved", ["--repair"], "the memory of the guest saved is saved"],
      ["whose raw disk looks like an image", "raw", [], "there is no file system to plan for"],
      ["with a disk over NBD", "net", ["--i-know"], "files and block devices"],
    ] as const)("is refused for one %s", async (_what, name, more, message) => {
      for (const verb of ["plan", "run-plan"]) {
        const r = await call([verb, `vm:${name}`, "--connect", guests(), ...more, "--no-prompt"]);
        expect(r.code).not.toBe(0);
        expect(r.stdout.toString()).toBe("");
        expect(r.stderr).toContain(message);
      }
      expect(existsSync(runDir) ? readdirSync(runDir) : []).toEqual([]);
    });
  });

  const REFUSED: readonly (readonly [string, () => readonly string[], string])[] = [
    ["a locked disk", () => [place("variant1.luks")], "is locked: no key was given"],
    [
      "a link to the image inside",
      () => [place("variant2.luks"), "--key-file", key, "--inside", "/link", "--inside-format", "qcow2"],
      "/link is a symbolic link",
    ],
    ["half a group", () => [join(place("two"), "b.raw"), "--volume", "lvg1/lvroot"], "is missing"],
    ["an NBD source", () => ["nbd+unix:///?socket=/nowhere"], "files and block devices"],
    ["a snapshot", () => [place("os43.qcow2"), "--snapshot", "x"], "not its snapshots"],
    ["a disk without file systems", () => [key], "there is no file system to plan for"],
  ];
  for (const [what, args, message] of REFUSED) {
    it(`refuses ${what}`, async () => {
      const r = await call(["plan", ...args(), "--no-prompt"]);
      expect(r.code).not.toBe(0);
      expect(r.stdout.toString()).toBe("");
      expect(r.stderr).toContain(message);
    });
  }
});

describe("run-plan", () => {
  it("is refused by name where the kernel or a program lacks what it needs, with nothing done", async () => {
    // Most machines that run tests lack one of them; the others do it. test/vm has a kernel with all of it.
    const r = await call(["run-plan", place("os43.qcow2")]);
    if (existsSync("/sys/module/dm_mod") && existsSync("/sys/module/nbd")) expect(r.code).toBe(0);
    else {
      expect(r.code).toBe(8);
      expect(r.stderr).toMatch(
        /this kernel has no device mapper|this kernel has no network block devices|is not installed/,
      );
    }
    expect((await call(["recover"])).stdout.toString()).toBe("No plan has left anything.\n");
  });

  it("is root's", async () => {
    const { uid } = { uid: 65534 };
    const r = await run("setpriv", [`--reuid=${uid}`, "--clear-groups", process.execPath, "dist/cli.js", "recover"]);
    expect([r.code, r.stderr]).toEqual([2, expect.stringContaining("only root")]);
  });
});

describe("recover", () => {
  const dead = { pid: 1, startTime: "0", bootId: readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim() };
  let plan: { tag: string; work: string };
  const journal = (owner: object, tail = "") => {
    mkdirSync(plan.work, { recursive: true });
    const head = JSON.stringify({ schema: "unterbau/plan-journal/1", owner, plan });
    const begin = JSON.stringify({ begin: "folder", device: null, backing: null });
    writeFileSync(join(runDir, `${plan.tag}.plan`), `${head}\n${begin}\n${tail}`);
  };
  const recover = async () => {
    const r = await call(["recover", "--json"]);
    const doc = JSON.parse(r.stdout.toString()) as RecoverDocument;
    expect(ajv.validate("recover", doc), ajv.errorsText()).toBe(true);
    return { code: r.code, doc };
  };
  beforeAll(async () => {
    plan = JSON.parse((await call(["plan", place("os43.qcow2"), "--json"])).stdout.toString()) as typeof plan;
  });

  it("takes down what was begun, of which a line may be cut off", async () => {
    journal(dead, '{"begin":"rul');
    const { code, doc } = await recover();
    expect(code).toBe(0);
    expect(doc.plans).toMatchObject([
      { plan: plan.tag, outcome: "recovered", undone: [expect.stringContaining("folder")], left: [] },
    ]);
    expect(existsSync(plan.work)).toBe(false);
    expect((await recover()).doc.plans).toEqual([]);
  });

  it("says what the plan had failed by", async () => {
    journal(dead, '{"failed":"vgchange took longer than 3600 s: it was ended"}\n');
    const text = (await call(["recover"])).stdout.toString();
    expect(text).toContain("it had failed: vgchange took longer than 3600 s: it was ended");
    journal(dead, '{"failed":"x"}\n');
    expect((await recover()).doc.plans).toMatchObject([{ outcome: "recovered", failure: "x" }]);
  });

  it("names what it could not, keeps the journal, and does it later", async () => {
    journal(dead);
    writeFileSync(join(plan.work, "in the way"), "");
    const first = await recover();
    expect(first.code).toBe(1);
    expect(first.doc.plans).toMatchObject([
      { outcome: "left", undone: [], left: [{ reason: expect.stringContaining("not empty") }] },
    ]);
    rmSync(join(plan.work, "in the way"));
    expect((await recover()).doc.plans).toMatchObject([{ outcome: "recovered" }]);
  });

  it("leaves a plan alone whose process is alive", async () => {
    const stat = readFileSync("/proc/self/stat", "utf8");
    const startTime = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
    journal({ ...dead, pid: process.pid, startTime });
    expect(await recover()).toMatchObject({ code: 0, doc: { plans: [{ outcome: "running", undone: [], left: [] }] } });
    expect(existsSync(plan.work)).toBe(true);
  });

  it("after a reboot takes away files only", async () => {
    journal({ ...dead, bootId: "another" });
    expect((await recover()).doc.plans).toMatchObject([{ outcome: "recovered" }]);
    expect(existsSync(plan.work)).toBe(false);
  });

  it("says what is no journal", async () => {
    writeFileSync(join(runDir, "junk.plan"), "junk\n");
    expect(await recover()).toMatchObject({ code: 1, doc: { damaged: [join(runDir, "junk.plan")] } });
    rmSync(join(runDir, "junk.plan"));
  });
});

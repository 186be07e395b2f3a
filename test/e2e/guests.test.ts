import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { StorageError } from "../../src/core/errors.ts";
import type { InspectDocument } from "../../src/usecases/documents.ts";
import { openForWriting } from "../../src/usecases/open-for-writing.ts";
import { must, unterbau } from "../helpers/cli.ts";
import { copyOf, damage, makeGuest, sha256File, toQcow2 } from "../helpers/guest.ts";
import { fileDisk, type TestGuest, testGuests, uuidOf } from "../helpers/libvirt.ts";

let folder: string;
let raw: string;
let qcow2: string;
let state: string;
let root: { offset: number };
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "unterbau-guests-"));
  state = join(folder, "state");
  const guest = await makeGuest(folder, "mbr-ext4");
  root = guest.root;
  raw = guest.disks[0]!;
  qcow2 = join(folder, "web.qcow2");
  await toQcow2(raw, qcow2);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const cli = (args: string[], guests: readonly TestGuest[], more = "") =>
  unterbau([...args, "--connect", testGuests(folder, guests, more)], { env: { UNTERBAU_STATE_DIR: state } });

async function tree(args: string[], guests: readonly TestGuest[], more = ""): Promise<InspectDocument> {
  const { code, stdout, stderr } = await cli(["inspect", ...args, "--json"], guests, more);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return JSON.parse(stdout.toString()) as InspectDocument;
}

/** What a repair of `vm:web` is refused with. */
async function refusal(guests: readonly TestGuest[], more = ""): Promise<StorageError> {
  const options = {
    sources: ["vm:web"],
    keys: { secretsFor: async () => [] },
    connect: testGuests(folder, guests, more),
  };
  const opened = await openForWriting(options, "check").catch((error: StorageError) => error);
  if (opened instanceof StorageError) return opened;
  if (!(opened instanceof Error)) await opened[Symbol.asyncDispose]();
  throw new Error("it was not refused", { cause: opened });
}

describe("a guest as the source", () => {
  it("is all its disks, in the guest's order, as if they had been named", async () => {
    const second = join(folder, "second.raw");
    await must("mke2fs", ["-q", "-t", "ext4", "-L", "data", second, "8M"]);
    const devices = `<disk type='file' device='cdrom'><target dev='sda' bus='sata'/><readonly/></disk>
      ${fileDisk(qcow2, "qcow2")}${fileDisk(second, "raw", "vdb")}`;
    const byGuest = await tree(["vm:web"], [{ name: "web", devices }]);
    const byFile = JSON.parse(
      await must(process.execPath, ["dist/cli.js", "inspect", qcow2, second, "--json"]),
    ) as InspectDocument;
    expect(byGuest.volumes).toEqual(byFile.volumes);
    expect(byGuest.tree.map((n) => [n.details.name, n.details.guest, n.details.target])).toEqual([
      [qcow2, "web", "vda"],
      [second, "web", "vdb"],
    ]);
    expect(byGuest.volumes.map((v) => v.label)).toContain("data");
  });

  it("is found by its UUID and by a name that looks like something else", async () => {
    const guests = ["plain", "--all", "7", "a name; $(with) 'all'", uuidOf(1)].map((name, i) => ({
      name: name.replace("'all'", "&quot;all&quot;"),
      devices: fileDisk(raw, "raw"),
      uuid: uuidOf(i),
    }));
    for (const name of [uuidOf(0), "--all", "7", 'a name; $(with) "all"']) {
      expect((await tree([`vm:${name}`], guests)).tree[0]?.details.guest).toBeTypeOf("string");
    }
    // The guest of that name, not the one with that UUID.
    expect((await tree([`vm:${uuidOf(1)}`], guests)).tree[0]?.details.guest).toBe(uuidOf(1));
    expect((await tree([`vm:${uuidOf(2).toUpperCase()}`], guests)).tree[0]?.details.guest).toBe("7");
  });

  it("never takes a raw disk for an image, whatever the guest wrote onto it", async () => {
    const trap = join(folder, "trap.qcow2");
    await must("qemu-img", ["create", "-q", "-f", "qcow2", "-u", "-b", "/etc/shadow", "-F", "raw", trap, "1M"]);
    const doc = await tree(["vm:web"], [{ name: "web", devices: fileDisk(trap, "raw") }]);
    expect(doc.tree[0]?.children.map((n) => n.kind)).toEqual(["raw"]);
    // Without a format libvirt takes it for raw, too.
    const unsaid = fileDisk(trap, "raw").replace(/<driver[^>]*>/, "");
    expect((await tree(["vm:web"], [{ name: "web", devices: unsaid }])).tree[0]?.children[0]?.kind).toBe("raw");
  });

  it("has the images below a disk where libvirt has them", async () => {
    const elsewhere = mkdtempSync(join(tmpdir(), "unterbau-base-"));
    try {
      // The image calls it raw: what libvirt says counts, as it does in QEMU.
      const base = copyOf(qcow2, join(elsewhere, "base"));
      const top = join(folder, "top.qcow2");
      await must("qemu-img", ["create", "-q", "-f", "qcow2", "-u", "-b", base, "-F", "raw", top, "80M"]);
      const below = (path: string, format: string) =>
        `<backingStore type='file'><format type='${format}'/><source file='${path}'/><backingStore/></backingStore>`;
      const volumes = async (chain: string) =>
        (await tree(["vm:web"], [{ name: "web", devices: fileDisk(top, "qcow2", "vda", chain) }])).volumes;
      expect((await volumes(below(base, "qcow2"))).map((v) => v.type)).toContain("ext4");
      expect((await volumes(below(base, "raw"))).map((v) => v.type)).toEqual([null]);
      const refused = async (chain: string) =>
        await cli(["check", "vm:web"], [{ name: "web", devices: fileDisk(top, "qcow2", "vda", chain) }]);
      for (const chain of ["", "<backingStore/>"]) {
        const { code, stdout } = await refused(chain);
        expect({ code, stdout: stdout.toString() }).toMatchObject({
          code: 8,
          stdout: expect.stringContaining("lies outside its own folder"),
        });
      }
      await must("qemu-img", ["rebase", "-u", "-b", qcow2, "-F", "qcow2", top]);
      for (const [chain, message] of [
        [below(base, "qcow2"), `libvirt puts ${base} below it`],
        ["<backingStore/>", "libvirt puts nothing below it"],
      ] as const) {
        const { code, stderr } = await refused(chain);
        expect({ code, stderr }).toMatchObject({ code: 8, stderr: expect.stringContaining(message) });
      }
    } finally {
      rmSync(elsewhere, { recursive: true });
    }
  });

  it("has volumes of a storage pool", async () => {
    const pool = `<pool type='dir'><name>images</name><target><path>${folder}</path></target>
      <volume type='file'><name>web.qcow2</name><capacity>1</capacity><target><path>${qcow2}</path></target></volume></pool>`;
    const disk =
      "<disk type='volume' device='disk'><driver name='qemu' type='qcow2'/><source pool='images' volume='web.qcow2'/><target dev='vda' bus='virtio'/></disk>";
    expect((await tree(["vm:web"], [{ name: "web", devices: disk }], pool)).volumes.map((v) => v.type)).toContain(
      "ext4",
    );
    const { code, stderr } = await cli(
      ["check", "vm:web"],
      [{ name: "web", devices: disk.replace("volume='web.qcow2'", "volume='gone'") }],
      pool,
    );
    expect({ code, stderr }).toMatchObject({ code: 8, stderr: expect.stringContaining("gone") });
  });

  it("is copied, and not onto itself", async () => {
    const guests = [{ name: "web", devices: fileDisk(qcow2, "qcow2") }];
    const target = join(folder, "copy.raw");
    expect((await cli(["convert", "vm:web", target], guests)).code).toBe(0);
    expect(await sha256File(target)).toBe(await sha256File(raw));
    const itself = await cli(["convert", "vm:web", qcow2, "--overwrite"], guests);
    expect(itself).toMatchObject({ code: 2, stderr: expect.stringContaining("is the source itself") });
  });

  it("may have a disk that cannot be locked, when the user knows that nobody writes to it", async () => {
    const socket = join(folder, "disk.sock");
    const server = spawn("qemu-nbd", [
      "-r",
      "-t",
      "-f",
      "raw",
      "-k",
      socket,
      "-x",
      "x y",
      "--pid-file",
      `${socket}.pid`,
      raw,
    ]);
    try {
      // qemu-nbd writes it when it listens.
      while (!existsSync(`${socket}.pid`)) await wait(20);
      const source = `<source protocol='nbd' name='x y'><host transport='unix' socket='${socket}'/></source>`;
      const devices = `<disk type='network' device='disk'><driver name='qemu' type='raw'/>${source}<target dev='vda' bus='virtio'/></disk>`;
      expect((await cli(["check", "vm:web", "--i-know"], [{ name: "web", devices }])).code).toBe(0);
      const repair = await cli(["check", "vm:web", "--i-know", "--repair"], [{ name: "web", devices }]);
      expect(repair).toMatchObject({ code: 8, stderr: expect.stringContaining("an NBD source can be read only") });
    } finally {
      server.kill();
    }
  });

  it("is checked, repaired and taken back", async () => {
    const disk = copyOf(raw, join(folder, "damaged.raw"));
    await damage(disk, root.offset);
    const before = await sha256File(disk);
    const guests = [{ name: "web", devices: fileDisk(disk, "raw") }];
    expect((await cli(["check", "vm:web"], guests)).code).toBe(4);
    expect(await sha256File(disk)).toBe(before);
    const { code, stdout } = await cli(["check", "vm:web", "--repair", "--json"], guests);
    expect(code).toBe(1);
    const { run } = JSON.parse(stdout.toString()) as { run: string };
    expect((await cli(["check", "vm:web"], guests)).code).toBe(0);
    await must(process.execPath, ["dist/cli.js", "undo", run], { env: { UNTERBAU_STATE_DIR: state } });
    expect(await sha256File(disk)).toBe(before);
  });
});

describe("a guest that is not to be touched", () => {
  const states = ["running", "idle", "paused", "in shutdown", "crashed", "pmsuspended"] as const;
  it.each(states)("%s: with what to do", async (name) => {
    const error = await refusal([{ name: "web", devices: fileDisk(raw, "raw"), state: name }]);
    expect(error).toMatchObject({
      code: "locked",
      message: `the guest web is ${name}`,
      hint: expect.stringMatching(/./),
    });
  });

  it("one line, a hint, exit code 8", async () => {
    for (const args of [["check"], ["check", "--repair"], ["inspect"]]) {
      const guests = [{ name: "web", devices: fileDisk(raw, "raw"), state: "running" as const }];
      const { code, stdout, stderr } = await cli([...args, "vm:web"], guests);
      expect({ code, stdout: stdout.toString() }).toEqual({ code: args[0] === "check" ? 8 : 1, stdout: "" });
      expect(stderr.split("\n")).toEqual([
        "unterbau: the guest web is running (libvirt)",
        expect.stringContaining("--shutdown"),
        "",
      ]);
    }
  });

  it("whose memory is saved: it is looked at, and not repaired", async () => {
    const guests = [{ name: "web", devices: fileDisk(raw, "raw"), managedSave: true }];
    const look = await cli(["check", "vm:web"], guests);
    expect(look.code).toBe(0);
    expect(look.stderr).toContain("the memory of the guest web is saved");
    const repair = await cli(["check", "vm:web", "--repair"], guests);
    expect(repair).toMatchObject({ code: 8, stderr: expect.stringContaining("virsh managedsave-remove") });
  });

  it("that shares a disk with a guest that is not off", async () => {
    const shared = fileDisk(raw, "raw", "vda", "<shareable/>");
    const other = (more: object) => [
      { name: "web", devices: shared },
      { name: "twin", devices: shared, ...more },
    ];
    const running = await cli(["check", "vm:web", "--repair"], other({ state: "running" }));
    expect(running).toMatchObject({
      code: 8,
      stderr: expect.stringContaining(`${raw} belongs to the guest twin too, which is running`),
    });
    const saved = await cli(["check", "vm:web", "--repair"], other({ managedSave: true }));
    expect(saved).toMatchObject({ code: 8, stderr: expect.stringContaining("whose memory is saved") });
    const off = await cli(["check", "vm:web", "--repair"], other({}));
    expect(off).toMatchObject({ code: 0, stderr: expect.stringContaining("it is changed for both") });
  });

  const disk = (type: string, source: string, driver = "type='raw'") =>
    `<disk type='${type}' device='disk'><driver name='qemu' ${driver}/>${source}<target dev='vda' bus='virtio'/></disk>`;
  it.each([
    ["no disks", "<disk type='file' device='cdrom'><target dev='sda' bus='sata'/></disk>", "has no disks"],
    ["a file that is gone", disk("file", "<source file='/nowhere/web.raw'/>"), "is not there: /nowhere/web.raw"],
    [
      "a volume that is not open",
      disk("block", "<source dev='/dev/nowhere/web'/>"),
      "disk vda of the guest web is not there: /dev/nowhere/web; the volume that it is may not be open",
    ],
    ["a folder in place of a file", disk("file", "<source file='/etc'/>"), "is a folder: /etc"],
    [
      "a volume of a pool that is not there",
      disk("volume", "<source pool='nowhere' volume='x'/>"),
      "the pool nowhere has to be there",
    ],
    [
      "a network disk of another kind",
      disk("network", "<source protocol='rbd' name='p/x'><host name='mon'/></source>"),
      "a network disk (rbd)",
    ],
    [
      "NBD over a network",
      disk("network", "<source protocol='nbd' name='x'><host name='store' port='10809'/></source>"),
      "NBD over a network (store:10809)",
    ],
    [
      "NBD that cannot be locked",
      disk("network", "<source protocol='nbd' name='x'><host transport='unix' socket='/run/x'/></source>"),
      "--i-know",
    ],
    ["a format that is not read", disk("file", "<source file='/etc/hostname'/>", "type='qed'"), "has the format qed"],
    [
      "a slice of a file",
      disk(
        "file",
        "<source file='/etc/hostname'><slices><slice type='storage' offset='0' size='512'/></slices></source>",
      ),
      "sees a slice of it only",
    ],
    [
      "a disk that it may only read",
      fileDisk("/etc/hostname", "raw", "vda", "<readonly/>"),
      "may only read its disk vda",
    ],
  ])("with %s", async (_, devices, message) => {
    const error = await refusal([{ name: "web", devices }]);
    expect(error.code).not.toBe("usage");
    expect(`${error.message}; ${error.hint}`).toContain(message);
  });

  it("leaves nothing behind when it is refused", () => {
    expect(readdirSync(join(state, "runs")).filter((name) => name.startsWith("."))).toEqual([]);
  });

  it("goes on without a disk that the guest does not need", async () => {
    const optional = fileDisk("/nowhere/scratch.raw", "raw", "vdb").replace(
      "<source ",
      "<source startupPolicy='optional' ",
    );
    const { code, stderr } = await cli(
      ["check", "vm:web"],
      [{ name: "web", devices: fileDisk(raw, "raw") + optional }],
    );
    expect({ code, stderr }).toMatchObject({ code: 0, stderr: expect.stringContaining("the guest starts without it") });
  });
});

describe("a look at a running guest", () => {
  const running = [{ name: "web", devices: fileDisk("/etc/hostname", "raw"), state: "running" as const }];

  it("where libvirt has no backups: says what can be done instead, and leaves nothing", async () => {
    for (const way of [[], ["--via", "backup"]]) {
      const { code, stderr } = await cli(["check", "vm:web", "--live", ...way], running);
      expect({ code, stderr }).toMatchObject({
        code: 8,
        stderr: expect.stringMatching(/cannot make a view of web: .*not supported/),
      });
      expect(stderr).toMatch(/\nhint: .*--shutdown.*--via lvm-snapshot/);
    }
    expect(existsSync(join(state, "live")) ? readdirSync(join(state, "live")) : []).toEqual([]);
  });

  it("by a snapshot: only of raw logical volumes", async () => {
    const { code, stderr } = await cli(["check", "vm:web", "--live", "--via", "lvm-snapshot"], running);
    expect({ code, stderr }).toMatchObject({
      code: 8,
      stderr: expect.stringContaining("its disk vda is no raw logical volume of this host"),
    });
    expect(stderr).toContain("\nhint: --via backup");
  });
});

describe("libvirt that does not answer", () => {
  it.each([
    ["no daemon", ["--connect", "qemu+unix:///system?socket=/nowhere/sock"], "libvirt cannot be reached"],
    ["a connection that is none", ["--connect", "bogus:///"], "libvirt cannot be reached"],
  ])("%s", async (_, args, message) => {
    const { code, stderr } = await unterbau(["check", "vm:web", ...args]);
    expect({ code, stderr }).toMatchObject({ code: 8, stderr: expect.stringContaining(message) });
    expect(stderr.trim().split("\n")).toHaveLength(2);
  });

  it("a guest that is not there: those that are", async () => {
    const { code, stderr } = await cli(["check", "vm:wbe"], [{ name: "web", devices: fileDisk(raw, "raw") }]);
    expect({ code, stderr }).toMatchObject({
      code: 16,
      stderr: expect.stringMatching(/no guest wbe.*\nhint: there are: web/),
    });
  });

  it("no name: where the names are", async () => {
    const { code, stderr } = await unterbau(["check", "vm:", "--connect", "test:///default"]);
    expect([code, stderr]).toEqual([16, "unterbau: vm: names no guest\nhint: unterbau list shows them\n"]);
  });

  it("--format does not go with a guest", async () => {
    const { code, stderr } = await unterbau(["inspect", "vm:web", "--format", "raw"]);
    expect({ code, stderr }).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("--format does not go with a guest"),
    });
  });
});

import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Ajv } from "ajv";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { discardFacts } from "../../src/host/discard.ts";
import type { TrimExplainDocument } from "../../src/usecases/trim-documents.ts";
import { must, run, unterbau } from "../helpers/cli.ts";
import { fileDisk, testGuests } from "../helpers/libvirt.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "unterbau-trim-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const ajv = new Ajv({ strict: true, allowUnionTypes: true });
for (const verb of ["trim-explain", "trim-run"])
  ajv.addSchema(JSON.parse(readFileSync(`docs/schemas/${verb}.json`, "utf8")) as object, verb);

/** A guest's disk: one ext4 with these tables. */
async function disk(name: string, fstab: string, timer: boolean, crypttab?: string): Promise<string> {
  const tree = join(folder, `${name}.d`);
  mkdirSync(join(tree, "etc/systemd/system/timers.target.wants"), { recursive: true });
  writeFileSync(join(tree, "etc/fstab"), fstab);
  if (crypttab !== undefined) writeFileSync(join(tree, "etc/crypttab"), crypttab);
  if (timer)
    symlinkSync(
      "/usr/lib/systemd/system/fstrim.timer",
      join(tree, "etc/systemd/system/timers.target.wants/fstrim.timer"),
    );
  const path = join(folder, `${name}.raw`);
  await must("mke2fs", ["-q", "-t", "ext4", "-U", "2505567a-9e27-4efe-a4d5-15ad146c258b", "-d", tree, path, "8M"]);
  return path;
}

async function explain(path: string, more = "discard='unmap'"): Promise<TrimExplainDocument & { code: number | null }> {
  const devices = fileDisk(path, "raw").replace("type='raw'", `type='raw' ${more}`);
  const { code, stdout, stderr } = await unterbau([
    "trim",
    "explain",
    "vm:mail",
    "--json",
    "--connect",
    testGuests(folder, [{ name: "mail", devices }]),
  ]);
  expect(stderr).toBe("");
  const doc = JSON.parse(stdout.toString()) as TrimExplainDocument;
  expect(ajv.validate("trim-explain", doc), ajv.errorsText()).toBe(true);
  return { ...doc, code };
}

describe("trim explain", () => {
  it("reads the guest's own tables through the stack", async () => {
    const fstab =
      "UUID=2505567a-9e27-4efe-a4d5-15ad146c258b / ext4 errors=remount-ro 0 1\n/dev/vdb1 /srv xfs rw,discard 0 2\ntmpfs /tmp tmpfs\n/dev/vdc none swap sw\n";
    const weekly = await explain(await disk("weekly", fstab, true));
    expect(weekly.inside).toEqual({
      reason: null,
      mounts: [
        {
          what: "/dev/disk/by-uuid/2505567a-9e27-4efe-a4d5-15ad146c258b",
          where: "/",
          type: "ext4",
          sent: "timer",
          guestCrypt: null,
        },
        { what: "/dev/vdb1", where: "/srv", type: "xfs", sent: "discard", guestCrypt: null },
      ],
    });
    const never = await explain(await disk("never", fstab, false));
    expect(never.inside.mounts.map((m) => m.sent)).toEqual(["never", "discard"]);
  });

  it("names the layer of libvirt's XML that drops it, and finds the host's layers below", async () => {
    const path = await disk("layers", "/dev/vda / ext4\n", true);
    const dropped = await explain(path, "cache='none'");
    expect([dropped.code, dropped.disks[0]!.stopsAt]).toEqual([1, "qemu vda"]);
    const { links } = (await explain(path)).disks[0]!;
    expect(links.slice(0, 3).map((l) => [l.layer, l.passes])).toEqual([
      ["bus", true],
      ["qemu", true],
      ["raw", true],
    ]);
    const where = (await must("findmnt", ["-n", "-o", "FSTYPE,TARGET", "--target", folder])).trim().split(/\s+/);
    expect(links[3]).toMatchObject({ layer: "file system", name: `${where[0]} on ${where[1]}` });
  });

  it("says why it does not know what is in the guest", async () => {
    const path = await disk("running", "/dev/vda / ext4\n", true);
    const uri = testGuests(folder, [{ name: "mail", devices: fileDisk(path, "raw"), state: "running" }]);
    const { stdout } = await unterbau(["trim", "explain", "vm:mail", "--connect", uri]);
    expect(stdout.toString()).toContain("its file systems are not known: it is running; --live looks into it");
    const hostile = join(folder, "hostile.raw");
    writeFileSync(hostile, Buffer.alloc(1 << 20, 0xff));
    expect((await explain(hostile)).inside.reason).toContain("no /etc/fstab");
  });

  it("knows of every device what lsblk knows", async () => {
    const { blockdevices } = JSON.parse(await must("lsblk", ["--discard", "--bytes", "--json", "--nodeps"])) as {
      blockdevices: { name: string; "disc-max": number }[];
    };
    for (const device of blockdevices) expect(discardFacts(device.name)?.max).toBe(device["disc-max"]);
    expect(discardFacts("no-such-device")).toBeNull();
  });
});

describe("trim run", () => {
  const cli = (state: "running" | "shut off") =>
    unterbau([
      "trim",
      "run",
      "vm:mail",
      "--json",
      "--connect",
      testGuests(folder, [{ name: "mail", devices: fileDisk("/nowhere", "raw"), state }]),
    ]);
  it("asks the agent; it refuses a guest that is off", async () => {
    const off = await cli("shut off");
    expect([off.code, off.stderr]).toEqual([2, expect.stringContaining("is shut off")]);
    const { code, stdout } = await cli("running");
    expect(code).toBe(0);
    const doc = JSON.parse(stdout.toString()) as unknown;
    expect(ajv.validate("trim-run", doc), ajv.errorsText()).toBe(true);
    expect(doc).toMatchObject({ remarks: [expect.stringContaining("QEMU drops it")] });
    const none = await run("node", ["dist/cli.js", "trim", "run"]);
    expect(none.code).toBe(2);
  });
});

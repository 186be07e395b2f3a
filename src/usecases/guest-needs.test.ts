import { describe, expect, it } from "vitest";
import { parseCrypttab } from "../host/crypttab.ts";
import type { HostView } from "../host/host-view.ts";
import { parseFstab, parseMountinfo, parseMountUnit } from "../host/mount-table.ts";
import type { HostDevice } from "../host/rests-on.ts";
import { needsOf } from "./guest-needs.ts";

interface Host {
  readonly crypttab?: string;
  readonly fstab?: string;
  readonly unit?: string;
  readonly mountinfo?: string;
  readonly groups?: Record<string, string[]>;
  readonly devices?: Record<string, HostDevice>;
  readonly uuids?: Record<string, string>;
}

const ROOT = "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n";
const sda: HostDevice = { name: "sda", kind: "disk", path: "/dev/sda", below: [] };
const sda2: HostDevice = { name: "sda2", kind: "partition", path: "/dev/sda2", below: [sda] };
const on = (kind: string, name: string, ...below: HostDevice[]): HostDevice => ({
  name: `dm-${name}`,
  kind,
  path: `/dev/mapper/${name}`,
  below,
});

function host({
  crypttab = "",
  fstab = "",
  unit,
  mountinfo = "",
  groups = {},
  devices = {},
  uuids = {},
}: Host): HostView {
  const declared = unit === undefined ? [] : [parseMountUnit(unit, "srv-vm.mount")!];
  return {
    crypttab: parseCrypttab(crypttab),
    declared: [...parseFstab(fstab), ...declared],
    mounted: parseMountinfo(ROOT + mountinfo),
    groups: new Map(Object.entries(groups)),
    device: (path) => ({ "/dev/sda2": sda2, ...devices })[path] ?? null,
    mappedUuid: (name) => uuids[name] ?? null,
    real: (path) => path,
  };
}

const steps = (paths: readonly string[], view: HostView) =>
  needsOf(paths, view).steps.map(({ id, done, onCrypt }) => `${id}${done ? " done" : ""}${onCrypt ? "" : " plain"}`);

describe("what a guest needs of its host", () => {
  it("a mapping that nothing but its migration names", () => {
    const known = parseCrypttab("mail-luks /dev/vg0/mail-luks none luks,noauto\n");
    const closed = host({ groups: { vg0: ["/dev/sda2"] } });
    expect(needsOf(["/dev/mapper/mail-luks"], closed).missing).toMatchObject([{ what: "/dev/mapper/mail-luks" }]);
    const { steps: found, missing, undeclared } = needsOf(["/dev/mapper/mail-luks"], closed, known);
    expect(found.map((s) => s.id)).toEqual(["volume:vg0/mail-luks", "crypt:mail-luks"]);
    expect([missing, undeclared]).toEqual([
      [],
      [{ what: "/dev/mapper/mail-luks", hint: expect.stringContaining("boot enable") }],
    ]);
    // What crypttab says goes first.
    const crypttab = "mail-luks UUID=0 none luks,noauto,x-systemd.device-timeout=5\n";
    const declared = needsOf(["/dev/mapper/mail-luks"], host({ crypttab }), known);
    expect(declared.steps.find((s) => s.kind === "crypt")).toMatchObject({ entry: { line: 1 } });
    expect(declared.undeclared).toEqual([]);
  });

  it("LUKS in a logical volume, closed and open", () => {
    const vg = on("lvm", "vg0-mail", sda2);
    const crypttab = "mail /dev/vg0/mail none luks,noauto\n";
    const closed = host({ crypttab, devices: { "/dev/vg0/mail": vg } });
    expect(steps(["/dev/mapper/mail"], closed)).toEqual(["crypt:mail"]);
    const devices = { "/dev/vg0/mail": vg, "/dev/mapper/mail": on("crypt", "mail", vg) };
    // The volume below is no encrypted one: it stays active when the guest is locked.
    expect(steps(["/dev/mapper/mail"], host({ crypttab, devices }))).toEqual(["crypt:mail done"]);
  });

  it("an image in a file system in a volume group in LUKS, all closed", () => {
    const view = host({
      crypttab: "pv /dev/sda2 none luks\n",
      fstab: "/dev/mapper/vg1-images /srv/vm ext4 noauto\n/dev/sdz1 /other ext4\n",
      groups: { vg1: ["/dev/mapper/pv"] },
    });
    expect(steps(["/srv/vm/mail.qcow2", "/srv/vm/data.raw"], view)).toEqual([
      "crypt:pv",
      "volume:vg1/images",
      "mount:/srv/vm",
    ]);
  });

  it("the same, open: from the kernel, in the order in which it was opened", () => {
    const pv = on("crypt", "pv", sda2);
    const images = on("lvm", "vg1-images", pv);
    const view = host({
      crypttab: "pv /dev/sda2 none luks\n",
      fstab: "/dev/mapper/vg1-images /srv/vm ext4 noauto\n",
      mountinfo: "2 1 254:1 / /srv/vm rw - ext4 /dev/mapper/vg1-images rw\n",
      devices: { "/dev/mapper/vg1-images": images, "/srv/vm/mail.qcow2": images },
    });
    expect(steps(["/srv/vm/mail.qcow2"], view)).toEqual([
      "crypt:pv done",
      "volume:vg1/images done",
      "mount:/srv/vm done",
    ]);
  });

  it("a mount unit, in a mount, over a file that crypttab opens", () => {
    const view = host({
      crypttab: "box /data/box.luks /keys/box.key luks\nouter /dev/sda2 none\n",
      fstab: "/dev/mapper/outer /data xfs noauto\nUUID=1234-5678 /keys vfat noauto\n",
      unit: "[Mount]\nWhat=/dev/mapper/box\nWhere=/data/vm\n",
      devices: { "/dev/disk/by-uuid/1234-5678": { name: "sdb1", kind: "partition", path: "/dev/sdb1", below: [] } },
    });
    expect(steps(["/data/vm/a.raw"], view)).toEqual([
      "crypt:outer",
      "mount:/data",
      "mount:/keys plain",
      "crypt:box",
      "mount:/data/vm",
    ]);
  });

  it("a mount by the file system's UUID, which cannot be seen while it is closed", () => {
    const fstab = (more: string) => `UUID=aaaa /srv/vm ext4 noauto${more} 0 0\n`;
    const crypttab = "my-mail /dev/sda2 none luks\n";
    expect(needsOf(["/srv/vm/a"], host({ crypttab, fstab: fstab("") })).missing).toEqual([
      { what: "/dev/disk/by-uuid/aaaa", hint: expect.stringContaining("/dev/mapper") },
    ]);
    const required = host({
      crypttab,
      fstab: fstab(",x-systemd.requires=systemd-cryptsetup@my\\x2dmail.service".replaceAll("\\", "\\134")),
    });
    expect(needsOf(["/srv/vm/a"], required).steps.map((s) => s.id)).toEqual(["crypt:my-mail", "mount:/srv/vm"]);
  });

  it("names what is missing, and how to declare it", () => {
    const { missing, steps: none } = needsOf(["/dev/mapper/mail", "/dev/vg9/x", "/srv/gone.raw"], host({}));
    expect(none).toEqual([]);
    expect(missing.map((m) => m.what)).toEqual(["/dev/mapper/mail", "/dev/vg9/x", "/srv/gone.raw"]);
    expect(missing[0]!.hint).toContain("mail UUID=… none luks,noauto");
    expect(missing[1]!.hint).toContain("vgcfgbackup");
    expect(missing[2]!.hint).toContain("/etc/fstab");
  });

  it("says what is open but declared nowhere, with its UUID", () => {
    const crypt = on("crypt", "mail", sda2);
    const uuid = "CRYPT-LUKS2-2505567a9e274efea4d515ad146c258b-mail";
    const view = host({
      devices: { "/srv/vm/a": crypt },
      uuids: { mail: uuid },
      mountinfo: "2 1 254:1 / /srv rw - ext4 /dev/mapper/mail rw\n",
    });
    const { undeclared, steps: found } = needsOf(["/srv/vm/a"], view);
    expect(found.map((s) => s.id)).toEqual(["crypt:mail", "mount:/srv"]);
    expect(undeclared.map((u) => u.hint)).toEqual([
      "a line in /etc/crypttab says how it is opened: mail UUID=2505567a-9e27-4efe-a4d5-15ad146c258b none luks,noauto",
      expect.stringContaining("/etc/fstab"),
    ]);
  });

  it("tables that lead in a circle end", () => {
    const view = host({ crypttab: "a /dev/mapper/b\nb /dev/mapper/a\n" });
    expect(needsOf(["/dev/mapper/a"], view).steps.length).toBeLessThan(3);
    const loop = host({ fstab: "/x/y/z /x ext4 loop\n" });
    expect(needsOf(["/x/file"], loop).steps.length).toBeLessThan(3);
  });
});

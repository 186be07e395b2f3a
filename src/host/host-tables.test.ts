import { describe, expect, it } from "vitest";
import { cryptOption, devicePath, parseCrypttab } from "./crypttab.ts";
import { devicesOfBackup, splitMapperName } from "./lvm-groups.ts";
import { parseFstab, parseMountinfo, parseMountUnit } from "./mount-table.ts";

describe("crypttab(5)", () => {
  it("is read as the manual page's examples say", () => {
    // crypttab(5), EXAMPLES.
    const entries = parseCrypttab(`# <target> <source> <key> <options>
luks       UUID=2505567a-9e27-4efe-a4d5-15ad146c258b
swap       /dev/sda7       /dev/urandom       swap
  truecrypt  /dev/sda2       /etc/container_password  tcrypt

external   /dev/sda3       keyfile:LABEL=keydev keyfile-timeout=10s,cipher=xchacha12,aes-adiantum-plain64
with\\040space /srv/a\\040b none luks,noauto,key-slot=1,key-slot=3
only-a-name
`);
    expect(entries.map((e) => [e.name, e.device, e.keyFile, e.line])).toEqual([
      ["luks", "/dev/disk/by-uuid/2505567a-9e27-4efe-a4d5-15ad146c258b", null, 2],
      ["swap", "/dev/sda7", "/dev/urandom", 3],
      ["truecrypt", "/dev/sda2", "/etc/container_password", 4],
      ["external", "/dev/sda3", "keyfile:LABEL=keydev", 6],
      ["with\\040space", "/srv/a\\040b", null, 7],
    ]);
    const last = entries.at(-1)!;
    expect([cryptOption(last, "noauto"), cryptOption(last, "key-slot"), cryptOption(last, "discard")]).toEqual([
      true,
      "3",
      null,
    ]);
  });

  it("names devices as udev does", () => {
    expect(devicePath("PARTLABEL=a b/c")).toBe("/dev/disk/by-partlabel/a\\x20b\\x2fc");
    expect(devicePath('LABEL="mail"')).toBe("/dev/disk/by-label/mail");
    expect(devicePath("UUID=ABCD-EF01")).toBe("/dev/disk/by-uuid/ABCD-EF01");
    expect(devicePath("/dev/vg0/mail")).toBe("/dev/vg0/mail");
  });
});

describe("mounts", () => {
  it("of fstab, without swap and comments", () => {
    const text =
      "# x\nUUID=AA-BB / ext4 defaults 0 1\n/dev/sda2 none swap sw 0 0\n/dev/mapper/a /srv/my\\040vms/ ext4 noauto,discard\nhost:/x /nfs nfs\n";
    expect(parseFstab(text)).toEqual([
      { what: "/dev/disk/by-uuid/AA-BB", where: "/", type: "ext4", options: ["defaults"], unit: null },
      { what: "/dev/mapper/a", where: "/srv/my vms", type: "ext4", options: ["noauto", "discard"], unit: null },
      { what: "host:/x", where: "/nfs", type: "nfs", options: ["defaults"], unit: null },
    ]);
  });

  it("of a mount unit", () => {
    const text =
      "[Unit]\nWhat=no\n# c\n[Mount]\nWhat=/dev/mapper/a\nWhere=/srv/vm\nType=xfs\nOptions=noatime,\\\ndiscard\n[Install]\nWhere=/no\n";
    expect(parseMountUnit(text, "srv-vm.mount")).toMatchObject({
      what: "/dev/mapper/a",
      where: "/srv/vm",
      type: "xfs",
      unit: "srv-vm.mount",
    });
    expect(parseMountUnit("[Mount]\nWhat=/dev/sda\n", "x.mount")).toBeNull();
  });

  it("as the kernel tells them", () => {
    const text =
      "29 1 254:0 / / rw,relatime shared:1 - ext4 /dev/mapper/root rw\n40 29 254:3 / /srv/my\\040vms rw - xfs /dev/mapper/a rw,attr2\n";
    expect(parseMountinfo(text)).toEqual([
      { number: "254:0", where: "/", type: "ext4", source: "/dev/mapper/root", options: ["rw", "relatime", "rw"] },
      { number: "254:3", where: "/srv/my vms", type: "xfs", source: "/dev/mapper/a", options: ["rw", "rw", "attr2"] },
    ]);
  });
});

describe("LVM's notes", () => {
  it("names are split where one hyphen stands", () => {
    expect(splitMapperName("vol--ssd10-kvm--os")).toEqual({ group: "vol-ssd10", volume: "kvm-os" });
    expect(splitMapperName("plain")).toBeNull();
    expect(splitMapperName("a-b-c")).toBeNull();
  });

  it("no devices where there is no section", () => expect(devicesOfBackup("vg { id = 1 }")).toEqual([]));
});

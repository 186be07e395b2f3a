import { describe, expect, it } from "vitest";
import { parseDomain } from "./domain.ts";
import { describePlace } from "./place.ts";

/** A guest around one `<disk>`, in libvirt's own form ("Domain XML format"). */
const domain = (disks: string, rest = "") =>
  `<domain type='kvm'><name>web &amp; mail</name><uuid>11111111-1111-4111-8111-111111111111</uuid>${rest}<devices><emulator>/usr/bin/kvm</emulator>${disks}</devices></domain>`;
const only = (disk: string) => parseDomain(domain(disk)).disks[0]!;

describe("a guest's XML", () => {
  it("tells name, disks in order, and the firmware's variables", () => {
    const guest = parseDomain(
      domain(
        `<disk type='file' device='cdrom'><target dev='sda' bus='sata'/><readonly/></disk>
         <disk type='block' device='disk'><driver name='qemu' type='raw'/><source dev='/dev/vg0/web'/><target dev='vda' bus='virtio'/></disk>
         <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/srv/b c.qcow2'/><target dev='vdb' bus='virtio'/><shareable/></disk>`,
        "<os><type>hvm</type><nvram template='/usr/share/OVMF/OVMF_VARS.fd'>/var/lib/libvirt/qemu/nvram/web_VARS.fd</nvram></os>",
      ),
    );
    expect(guest).toMatchObject({ name: "web & mail", type: "kvm", nvram: "/var/lib/libvirt/qemu/nvram/web_VARS.fd" });
    expect(guest.disks.map((d) => [d.target, d.device, describePlace(d.place), d.format])).toEqual([
      ["sda", "cdrom", "no medium", "raw"],
      ["vda", "disk", "/dev/vg0/web", "raw"],
      ["vdb", "disk", "/srv/b c.qcow2", "qcow2"],
    ]);
    expect(guest.disks.map((d) => [d.readOnly, d.shareable])).toEqual([
      [true, false],
      [false, false],
      [false, true],
    ]);
  });

  it("takes a disk without a format for raw, as libvirt does", () => {
    expect(only("<disk type='file'><source file='/a.qcow2'/><target dev='vda'/></disk>").format).toBe("raw");
  });

  it("follows the chain that libvirt knows", () => {
    const disk = only(`<disk type='file' device='disk'><driver type='qcow2'/><source file='/top'/>
      <backingStore type='file'><format type='qcow2'/><source file='/middle'/>
        <backingStore type='block'><format type='raw'/><source dev='/dev/base'/><backingStore/></backingStore>
      </backingStore><target dev='vda'/></disk>`);
    expect(disk.backing).toEqual([
      { place: { kind: "file", path: "/middle" }, format: "qcow2" },
      { place: { kind: "block", path: "/dev/base" }, format: "raw" },
    ]);
    expect(disk.chainEnds).toBe(true);
  });

  it.each([
    [
      "<source protocol='nbd' name='x y'><host transport='unix' socket='/run/n.sock'/></source>",
      "nbd+unix:///x%20y?socket=%2Frun%2Fn.sock",
    ],
    ["<source protocol='nbd' name='x'><host name='store' port='10810'/></source>", "nbd://store:10810/x"],
    ["<source protocol='nbd' name='x' tls='yes'><host name='store'/></source>", "a network disk (NBD with TLS)"],
    ["<source protocol='rbd' name='pool/x'><host name='mon'/></source>", "a network disk (rbd)"],
  ])("network: %s", (source, text) => {
    expect(describePlace(only(`<disk type='network'>${source}<target dev='vda'/></disk>`).place)).toBe(text);
  });

  it("knows encryption, pools, slices and what need not be there", () => {
    const luks =
      "<encryption format='luks'><secret type='passphrase' uuid='22222222-2222-4222-8222-222222222222'/></encryption>";
    const secret = { format: "luks", secret: "22222222-2222-4222-8222-222222222222" };
    expect(only(`<disk type='file'><source file='/a'>${luks}</source><target dev='vda'/></disk>`).encryption).toEqual(
      secret,
    );
    expect(only(`<disk type='file'><source file='/a'/>${luks}<target dev='vda'/></disk>`).encryption).toEqual(secret);
    expect(only("<disk type='volume'><source pool='p' volume='v'/><target dev='vda'/></disk>").place).toEqual({
      kind: "volume",
      pool: "p",
      volume: "v",
    });
    const slice = "<slices><slice type='storage' offset='12345' size='123'/></slices>";
    expect(only(`<disk type='file'><source file='/a'>${slice}</source><target dev='vda'/></disk>`).refused).toContain(
      "slice",
    );
    expect(
      only("<disk type='file'><source file='/a' startupPolicy='optional'/><target dev='vda'/></disk>").optional,
    ).toBe(true);
    expect(only("<disk type='nvme'><source type='pci'/><target dev='vda'/></disk>").place.kind).toBe("other");
  });

  it.each([
    ["", "cannot be understood"],
    ["<domain", "cannot be understood"],
    ["<network/>", "not <domain>"],
    ["<!DOCTYPE domain [<!ENTITY a 'b'>]><domain/>", "document type"],
  ])("refuses %j", (xml, message) => {
    expect(() => parseDomain(xml)).toThrow(
      expect.objectContaining({ code: "corrupt", message: expect.stringContaining(message) }),
    );
  });

  it("passes over elements that it does not know", () => {
    const disk = "<disk type='file' future='1'><source file='/a'><new/></source><quantum/><target dev='vda'/></disk>";
    expect(parseDomain(domain(`${disk}<warp drive='9'/>`, "<unheard/>")).disks).toHaveLength(1);
  });
});

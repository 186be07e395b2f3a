import { describe, expect, it } from "vitest";
import { type CloneChanges, cloneXml } from "./clone-xml.ts";
import { parseDomain } from "./domain.ts";

const OLD = "11111111-1111-4111-8111-111111111111";
const NEW = "22222222-2222-4222-8222-222222222222";
const XML = `<domain type='kvm' id='7' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>mail</name><uuid>${OLD}</uuid><!-- hands off -->
  <metadata><app:x xmlns:app='http://app.example/'>kept</app:x></metadata>
  <os><type>hvm</type><nvram template='/t.fd'>/nv/mail_VARS.fd</nvram></os>
  <sysinfo type='smbios'><system><entry name='uuid'>${OLD}</entry><entry name='serial'>${OLD}</entry></system></sysinfo>
  <devices>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2' cache='writeback' io='threads' discard='unmap' queues='4'/>
      <source file='/old.qcow2' index='1'><slices/></source><backingStore type='file'><source file='/b'/></backingStore>
      <target dev='vda' bus='virtio'/><iotune><read_iops_sec>9</read_iops_sec></iotune><boot order='1'/></disk>
    <disk type='file' device='cdrom'><source file='/x.iso'/><target dev='sda'/></disk>
    <interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='br0'/></interface>
    <warp drive='9'/>
  </devices>
  <qemu:commandline><qemu:arg value='-snapshot'/></qemu:commandline>
</domain>`;
const CHANGES: CloneChanges = {
  name: "mail-luks",
  uuid: NEW,
  disks: [{ disk: "vda", source: { kind: "file", path: "/new & shiny.luks" }, secret: null, direct: true }],
  discard: false,
  newAddresses: true,
  nvram: "/nv/mail-luks_VARS.fd",
  guard: { role: "clone", partner: OLD, run: "r1", state: "copying" },
};

describe("the domain of a copy", () => {
  it("has another name, UUID, disk, addresses and variables, and all else of the old one", () => {
    const xml = cloneXml(XML, CHANGES);
    const domain = parseDomain(xml);
    expect(domain).toMatchObject({
      name: "mail-luks",
      uuid: NEW,
      nvram: "/nv/mail-luks_VARS.fd",
      guard: CHANGES.guard,
    });
    expect(domain.disks[0]).toMatchObject({
      place: { kind: "file", path: "/new & shiny.luks" },
      format: "raw",
      encryption: null,
      backing: [],
      chainEnds: false,
      refused: null,
    });
    for (const kept of [
      "<!-- hands off -->",
      "kept</app:x>",
      "<read_iops_sec>9",
      "order='1'",
      "queues=",
      "<warp",
      "-snapshot",
      "x.iso",
      "br0",
    ])
      expect(xml).toContain(kept.replaceAll("'", '"'));
    expect(xml).toMatch(/name="uuid">22222222.*name="serial">11111111/);
    expect(xml).toMatch(/cache="none" io="native"/);
    for (const gone of ["52:54:00", "old.qcow2", "discard=", "threads", ' id="']) expect(xml).not.toContain(gone);
  });

  it("names libvirt's secret where QEMU decrypts, and keeps the addresses of a guest that is replaced", () => {
    const secret = "33333333-3333-4333-8333-333333333333";
    const disks = CHANGES.disks.map((d) => ({ ...d, secret, direct: false }));
    const xml = cloneXml(XML, { ...CHANGES, disks, newAddresses: false, discard: true, nvram: null });
    expect(parseDomain(xml)).toMatchObject({
      nvram: "/nv/mail_VARS.fd",
      disks: [{ encryption: { format: "luks", secret } }, {}],
    });
    expect(xml).toContain("52:54:00:00:00:01");
    expect(xml).toContain('discard="unmap"');
    expect(xml).not.toContain("cache=");
  });
});

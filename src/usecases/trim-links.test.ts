import { describe, expect, it } from "vitest";
import type { DiscardFacts } from "../host/discard.ts";
import type { MountedNow } from "../host/mount-table.ts";
import type { HostDevice } from "../host/rests-on.ts";
import { parseDomain } from "../libvirt/domain.ts";
import { deviceLinks, driveLinks, hostFileLinks, stopsAt } from "./trim-links.ts";

const on = (kind: string, name: string, ...below: HostDevice[]): HostDevice => ({
  name,
  kind,
  path: `/dev/mapper/${name}`,
  below,
});
const queue = (max: number, rotational = false): DiscardFacts => ({ max, rotational });
const chain = (top: HostDevice, facts: Record<string, DiscardFacts>) =>
  deviceLinks(
    top,
    (n) => facts[n] ?? null,
    () => [],
  );
const shown = (links: ReturnType<typeof chain>) => links.map((l) => `${l.layer} ${l.passes}`);

describe("TRIM on its way through the host's devices", () => {
  const stack = on("lvm", "vg-mail", on("crypt", "pv", on("partition", "sda2", on("disk", "sda"))));
  it("stops at dm-crypt, and the way and its price are named", () => {
    const links = chain(stack, { "vg-mail": queue(0), pv: queue(0), sda2: queue(2e9), sda: queue(2e9) });
    expect(shown(links)).toEqual(["lvm null", "crypt false", "partition true", "disk true"]);
    expect(stopsAt(links)).toBe("crypt /dev/mapper/pv");
    expect(links[1]!.turnOn.join()).toMatch(
      /discard in its line of \/etc\/crypttab.*cryptsetup refresh --allow-discards pv/,
    );
    expect(links[1]!.givesAway).toContain("which blocks are unused");
  });

  it("gets through when all pass it", () => {
    const facts = { "vg-mail": queue(1e9), pv: queue(1e9), sda2: queue(2e9), sda: queue(2e9) };
    expect(stopsAt(chain(stack, facts))).toBeNull();
  });

  it("names parity arrays, thin pools, and disks that take none", () => {
    const raid = on("raid5", "md0", on("disk", "sda"), on("disk", "sdb"));
    const five = chain(raid, { md0: queue(0), sda: queue(1), sdb: queue(1) });
    expect(five[0]!.turnOn.join()).toContain("devices_handle_discard_safely");
    const thin = chain(on("lvm", "vg-thin", on("disk", "sda")), { "vg-thin": queue(0), sda: queue(1) });
    expect(stopsAt(thin)).toBe("lvm /dev/mapper/vg-thin");
    expect(stopsAt(chain(on("disk", "sda"), { sda: queue(0) }))).toBe("disk /dev/mapper/sda");
    expect(stopsAt(chain(on("disk", "sda"), { sda: queue(0, true) }))).toBeNull();
    expect(shown(chain(on("disk", "x"), {}))).toEqual(["disk null"]);
  });
});

describe("the guest's drive", () => {
  const links = (disk: string, machine = "pc-q35-7.2") => {
    const xml = `<domain type='kvm'><name>a b</name><os><type machine='${machine}'>hvm</type></os><devices><disk type='file' device='disk'>${disk}<source file='/x'/></disk></devices></domain>`;
    const domain = parseDomain(xml);
    return driveLinks(domain.name, domain.machine, domain.disks[0]!);
  };
  const target = (bus: string) => `<target dev='vda' bus='${bus}'/>`;
  it("drops it without discard='unmap'", () => {
    const off = links(`<driver name='qemu' type='raw'/>${target("virtio")}`);
    expect(off.map((l) => l.passes)).toEqual([true, false, true]);
    expect(off[1]!.turnOn).toEqual([
      expect.stringContaining("<driver name='qemu' type='raw' discard='unmap'/>"),
      "virt-xml 'a b' --edit target=vda --disk driver.discard=unmap",
    ]);
    const on = links(`<driver name='qemu' type='qcow2' discard='unmap'/>${target("scsi")}`);
    expect(on.map((l) => l.passes)).toEqual([true, true, true]);
  });

  it("with an old machine type, and with QEMU's own LUKS", () => {
    const unmap = "<driver name='qemu' type='raw' discard='unmap'/>";
    expect(links(`${unmap}${target("virtio")}`, "pc-i440fx-3.1")[0]!.passes).toBe(false);
    expect(links(`${unmap}${target("sata")}`, "pc-i440fx-3.1")[0]!.passes).toBe(true);
    expect(links(`${unmap}${target("virtio")}<encryption format='luks'/>`)[2]).toMatchObject({
      layer: "luks",
      passes: false,
    });
    expect(links(`<driver name='qemu' type='vmdk' discard='unmap'/>${target("virtio")}`)[2]!.passes).toBeNull();
  });
});

it("the host's file system passes it on with discard or fstrim.timer", () => {
  const mount = (type: string, ...options: string[]): MountedNow => ({
    number: "8:1",
    where: "/srv",
    type,
    source: "/dev/sda1",
    options,
  });
  const passes = (m: MountedNow | null, timer: boolean | null) => hostFileLinks(m, timer)[0]!.passes;
  expect(passes(mount("ext4", "rw", "discard"), false)).toBe(true);
  expect(passes(mount("btrfs", "discard=async"), false)).toBe(true);
  expect(passes(mount("ext4", "rw"), true)).toBe(true);
  expect(passes(mount("ext4", "rw"), false)).toBe(false);
  expect(passes(mount("ext4", "rw"), null)).toBeNull();
  expect(passes(mount("nfs4"), true)).toBeNull();
  expect(passes(null, true)).toBeNull();
});

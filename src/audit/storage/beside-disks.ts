import { attributeOf, childOf, childrenOf } from "../../libvirt/xml.ts";
import type { AuditDisk, HostReader } from "../model.ts";
import { definitions } from "./domain-xml.ts";
import { encryptionOf, type Storage } from "./layers.ts";

/** Where a guest's data get to beside its disks: targets of block jobs that copy them, and storage of the host's that is passed through. */
export async function besideDisks(uuid: string, host: HostReader, storage: Storage): Promise<AuditDisk[]> {
  const found = new Map<string, AuditDisk>();
  for (const domain of await definitions(host, uuid)) {
    const devices = childOf(domain, "devices");
    for (const disk of devices === null ? [] : childrenOf(devices, "disk")) {
      const source = childOf(childOf(disk, "mirror"), "source");
      const place = attributeOf(source, "file") ?? attributeOf(source, "dev");
      const target = attributeOf(childOf(disk, "target"), "dev") ?? "?";
      if (place !== null) found.set(`mirror ${place}`, await copyOf(target, place, storage));
    }
    for (const device of devices === null ? [] : childrenOf(devices, "hostdev")) {
      const type = attributeOf(device, "type") ?? "?";
      const address = childOf(childOf(device, "source"), "address");
      const hex = (name: string, digits: number) =>
        Number(attributeOf(address, name) ?? "0")
          .toString(16)
          .padStart(digits, "0");
      const place =
        type === "pci" ? `${hex("domain", 4)}:${hex("bus", 2)}:${hex("slot", 2)}.${hex("function", 1)}` : type;
      if (await mayStore(type, place, host)) found.set(`hostdev ${place}`, passedThrough(type, place));
    }
  }
  return [...found.values()];
}

async function copyOf(target: string, place: string, storage: Storage): Promise<AuditDisk> {
  const layers = await storage.under(place);
  const base = { target, device: "disk", format: null, readOnly: false, place, problem: null };
  return { ...base, encrypted: encryptionOf(layers), layers };
}

function passedThrough(type: string, place: string): AuditDisk {
  const problem = `a ${type} device of the host's is passed through; what the guest stores there cannot be seen`;
  return {
    target: "hostdev",
    device: "hostdev",
    format: null,
    readOnly: false,
    place,
    encrypted: "unknown",
    layers: null,
    problem,
  };
}

/** PCI class 01: storage (PCI Code and ID Assignment Specification, 1.1). What is not told may be one. */
async function mayStore(type: string, place: string, host: HostReader): Promise<boolean> {
  if (type !== "pci") return type === "scsi" || type === "scsi_host" || type === "?";
  const kind = await host.file(`/sys/bus/pci/devices/${place}/class`);
  return kind.kind !== "text" || kind.text.startsWith("0x01");
}

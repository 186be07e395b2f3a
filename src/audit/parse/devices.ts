import type { Element } from "@xmldom/xmldom";
import { attributeOf, childOf, childrenOf, parseXml, textOf } from "../../libvirt/xml.ts";

/** What a guest's XML says beside its disks (libvirt, "Domain XML format"), as far as the checks ask. */
export interface GuestDevices {
  readonly interfaces: readonly GuestInterface[];
  /** `pci 0000:03:00.0`, `usb 046d:c52b`: devices of the host's that it has for itself. */
  readonly hostDevices: readonly { readonly kind: string; readonly address: string }[];
  /** Sources of its disks; `shareable`: it may be written by several guests. */
  readonly disks: readonly {
    readonly target: string;
    readonly source: string | null;
    readonly shareable: boolean;
    readonly readOnly: boolean;
  }[];
  /** Folders of the host's that it sees. */
  readonly shares: readonly string[];
  readonly sharedMemory: readonly string[];
  readonly usbRedirection: boolean;
  /** A clipboard or file transfer between guest and viewer. */
  readonly clipboard: boolean;
  /** What listens for viewers: `vnc`, `spice`, and the addresses that the XML names. */
  readonly graphics: readonly { readonly kind: string; readonly listen: readonly string[] }[];
  readonly labels: readonly { readonly model: string | null; readonly type: string; readonly label: string | null }[];
}

export interface GuestInterface {
  /** `network`, `bridge`, `direct`, `hostdev`, `user` … */
  readonly type: string;
  /** Name of the network, bridge or device that it leads to. */
  readonly source: string | null;
  readonly mac: string | null;
  /** `vnet0`; null while the guest does not run. */
  readonly tap: string | null;
  readonly filter: string | null;
  readonly parameters: Readonly<Record<string, readonly string[]>>;
  /** Ports of one bridge that are isolated do not reach each other. */
  readonly isolated: boolean;
  readonly linkDown: boolean;
}

/** Throws `StorageError` when that is no domain. */
export function parseDevices(xml: string): GuestDevices {
  const root = parseXml(xml, "domain");
  const devices = childOf(root, "devices");
  const all = (name: string) => (devices === null ? [] : childrenOf(devices, name));
  const spice = all("graphics").filter((g) => attributeOf(g, "type") === "spice");
  const channels = all("channel").map((c) => ({
    type: attributeOf(c, "type"),
    name: attributeOf(childOf(c, "target"), "name"),
    copyPaste: attributeOf(childOf(childOf(c, "source") ?? c, "clipboard"), "copypaste"),
  }));
  const agent = channels.some(
    (c) => c.type === "spicevmc" && (c.name ?? "com.redhat.spice.0") === "com.redhat.spice.0",
  );
  const allowed = (g: Element) =>
    attributeOf(childOf(g, "clipboard"), "copypaste") !== "no" ||
    attributeOf(childOf(g, "filetransfer"), "enable") !== "no";
  return {
    interfaces: all("interface").map(interfaceOf),
    hostDevices: all("hostdev").map(hostDevice),
    disks: all("disk").map((d) => ({
      target: attributeOf(childOf(d, "target"), "dev") ?? "",
      source: sourceOf(childOf(d, "source")),
      shareable: childOf(d, "shareable") !== null,
      readOnly: childOf(d, "readonly") !== null || attributeOf(d, "device") === "cdrom",
    })),
    shares: all("filesystem").flatMap((f) => attributeOf(childOf(f, "source"), "dir") ?? []),
    sharedMemory: all("shmem").flatMap((s) => attributeOf(s, "name") ?? []),
    usbRedirection: all("redirdev").length > 0,
    clipboard:
      (agent && spice.some(allowed)) || channels.some((c) => c.type === "qemu-vdagent" && c.copyPaste === "yes"),
    graphics: all("graphics").map((g) => ({
      kind: attributeOf(g, "type") ?? "",
      listen: [attributeOf(g, "listen"), ...childrenOf(g, "listen").map((l) => attributeOf(l, "address"))].filter(
        (a) => a !== null,
      ),
    })),
    labels: childrenOf(root, "seclabel").map((l) => ({
      model: attributeOf(l, "model"),
      type: attributeOf(l, "type") ?? "dynamic",
      label: textOf(childOf(l, "label")),
    })),
  };
}

function sourceOf(source: Element | null): string | null {
  for (const name of ["file", "dev", "dir", "name"]) {
    const found = attributeOf(source, name);
    if (found !== null) return found;
  }
  const pool = attributeOf(source, "pool");
  return pool === null ? null : `${pool}/${attributeOf(source, "volume") ?? ""}`;
}

function interfaceOf(element: Element): GuestInterface {
  const source = childOf(element, "source");
  const filter = childOf(element, "filterref");
  const parameters: Record<string, string[]> = {};
  for (const p of filter === null ? [] : childrenOf(filter, "parameter")) {
    const name = attributeOf(p, "name") ?? "";
    if (Object.hasOwn(parameters, name)) parameters[name]!.push(attributeOf(p, "value") ?? "");
    else parameters[name] = [attributeOf(p, "value") ?? ""];
  }
  return {
    type: attributeOf(element, "type") ?? "",
    source: attributeOf(source, "network") ?? attributeOf(source, "bridge") ?? attributeOf(source, "dev"),
    mac: attributeOf(childOf(element, "mac"), "address")?.toLowerCase() ?? null,
    tap: attributeOf(childOf(element, "target"), "dev"),
    filter: attributeOf(filter, "filter"),
    parameters,
    isolated: attributeOf(childOf(element, "port"), "isolated") === "yes",
    linkDown: attributeOf(childOf(element, "link"), "state") === "down",
  };
}

function hostDevice(element: Element): { kind: string; address: string } {
  const kind = attributeOf(element, "type") ?? attributeOf(element, "mode") ?? "";
  const source = childOf(element, "source");
  const hex = (e: Element | null, name: string, width: number) =>
    (attributeOf(e, name) ?? "0").replace(/^0x/, "").toLowerCase().padStart(width, "0");
  const address = childOf(source, "address");
  if (kind === "pci") {
    const of = (name: string, width: number) => hex(address, name, width);
    return { kind, address: `${of("domain", 4)}:${of("bus", 2)}:${of("slot", 2)}.${of("function", 1)}` };
  }
  if (kind === "usb" && address === null) {
    return { kind, address: `${hex(childOf(source, "vendor"), "id", 4)}:${hex(childOf(source, "product"), "id", 4)}` };
  }
  const words = address === null ? [] : [...address.attributes].map((a) => a.value);
  return { kind, address: words.join(":") };
}

/** A virtual network, as `virsh net-dumpxml` prints it. */
export interface VirtualNetwork {
  readonly name: string;
  /** `nat`, `route`, `open`, `bridge`, `private` …; null: isolated. */
  readonly forward: string | null;
  readonly bridge: string | null;
  /** Host devices that guests are put on directly (macvtap, passthrough). */
  readonly direct: boolean;
  /** Networks that its bridge has, `192.168.122.1/24`. */
  readonly addresses: readonly string[];
  readonly hosts: readonly { readonly mac: string; readonly address: string }[];
}

/** Throws `StorageError` when that is no network. */
export function parseNetwork(xml: string): VirtualNetwork {
  const root = parseXml(xml, "network");
  const forward = childOf(root, "forward");
  const ips = childrenOf(root, "ip");
  return {
    name: textOf(childOf(root, "name")) ?? "",
    forward: forward === null ? null : (attributeOf(forward, "mode") ?? "nat"),
    bridge: attributeOf(childOf(root, "bridge"), "name"),
    direct:
      forward !== null &&
      (childOf(forward, "interface") !== null || childOf(forward, "pf") !== null) &&
      childOf(root, "ip") === null,
    addresses: ips.flatMap((ip) => {
      const address = attributeOf(ip, "address");
      const size = attributeOf(ip, "prefix") ?? attributeOf(ip, "netmask");
      return address === null ? [] : [size === null ? address : `${address}/${size}`];
    }),
    hosts: ips.flatMap((ip) => {
      const dhcp = childOf(ip, "dhcp");
      return (dhcp === null ? [] : childrenOf(dhcp, "host")).flatMap((h) => {
        const [mac, address] = [attributeOf(h, "mac"), attributeOf(h, "ip")];
        return mac === null || address === null ? [] : [{ mac: mac.toLowerCase(), address }];
      });
    }),
  };
}

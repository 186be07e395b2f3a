import { DOMImplementation, type Element, XMLSerializer } from "@xmldom/xmldom";
import { StorageError } from "../core/errors.ts";
import { attributeOf, childOf, childrenOf, parseXml } from "./xml.ts";

/** One peer of one family. */
export interface FilterPeer {
  readonly name: string;
  readonly protocol: "tcp" | "udp";
  readonly family: 4 | 6;
  readonly address: string;
  /** Bits of the network; null: one address. */
  readonly bits: number | null;
  readonly first: number;
  readonly last: number;
}

/**
 * A filter (libvirt, "Network Filters") that drops new connections of the guest to anybody but the peers, forged senders, and all frames that
 * are neither ARP nor IP. `address`: whether the interface names the guest's own address.
 */
export function egressFilterXml(
  name: string,
  peers: readonly FilterPeer[],
  { address }: { readonly address: boolean },
): string {
  const document = new DOMImplementation().createDocument(null, "filter", null);
  const root = document.documentElement!;
  root.setAttribute("name", name);
  root.setAttribute("chain", "root");
  const add = (parent: Element, tag: string, attributes: Readonly<Record<string, string>>): Element => {
    parent.appendChild(document.createTextNode(parent === root ? "\n  " : "\n    "));
    const element = parent.appendChild(document.createElement(tag)) as Element;
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  };
  const rule = (
    action: string,
    direction: string,
    priority: number,
    match: string,
    attributes: Readonly<Record<string, string>> = {},
  ) => {
    const element = add(root, "rule", { action, direction, priority: String(priority) });
    add(element, match, attributes);
    element.appendChild(document.createTextNode("\n  "));
  };
  const note = (text: string) => {
    root.appendChild(document.createTextNode("\n  "));
    root.appendChild(document.createComment(` ${text} `));
  };
  const use = (filter: string) => add(root, "filterref", { filter });
  const six = peers.some((p) => p.family === 6);
  note("forged senders");
  use("no-mac-spoofing");
  if (address) use("no-ip-spoofing");
  use(address ? "no-arp-spoofing" : "no-arp-mac-spoofing");
  note("frames: ARP and IP only");
  rule("accept", "out", -650, "mac", { protocolid: "ipv4" });
  use("allow-incoming-ipv4");
  if (six) {
    rule("accept", "out", -550, "mac", { protocolid: "ipv6" });
    use("allow-incoming-ipv6");
  }
  rule("accept", "inout", -500, "mac", { protocolid: "arp" });
  use("no-other-l2-traffic");
  note("answers, and what belongs to a connection that is there");
  rule("accept", "out", 100, "all", { state: "ESTABLISHED,RELATED" });
  if (six) {
    // The schema knows no state of IPv6; libvirt lets answers out to what a rule lets in.
    rule("accept", "in", 100, "all-ipv6");
    note("neighbour discovery");
    // RFC 4861, RFC 3810
    for (const type of ["133", "135", "136", "143"]) rule("accept", "out", 150, "icmpv6", { type });
  }
  note("DHCP");
  rule("accept", "out", 150, "udp", { dstipaddr: "255.255.255.255", dstportstart: "67" });
  note("declared peers");
  for (const { name: peer, protocol, family, address: to, bits, first, last } of peers) {
    rule("accept", "out", 200, family === 6 ? `${protocol}-ipv6` : protocol, {
      dstipaddr: to,
      ...(bits === null ? {} : { dstipmask: String(bits) }),
      dstportstart: String(first),
      ...(first === last ? {} : { dstportend: String(last) }),
      comment: peer.replace(/[^A-Za-z0-9 ._-]/g, "_").slice(0, 100),
    });
  }
  note("all else");
  rule("drop", "out", 1000, "all");
  rule("drop", "out", 1000, "all-ipv6");
  root.appendChild(document.createTextNode("\n"));
  return `${new XMLSerializer().serializeToString(document)}\n`;
}

/** Each interface of a domain as its own document, by its MAC address; `filter`: the filter that it then refers to, with its parameters kept. */
export function interfacesWithFilter(xml: string, filter: string): { mac: string; before: string; after: string }[] {
  const devices = childOf(parseXml(xml, "domain"), "devices");
  const serializer = new XMLSerializer();
  return (devices === null ? [] : childrenOf(devices, "interface")).map((card) => {
    const mac = attributeOf(childOf(card, "mac"), "address");
    if (mac === null) throw new StorageError("corrupt", "an interface has no MAC address", { layer: "libvirt" });
    const before = serializer.serializeToString(card);
    let reference = childOf(card, "filterref");
    if (reference === null) reference = card.appendChild(card.ownerDocument!.createElement("filterref")) as Element;
    reference.setAttribute("filter", filter);
    return { mac, before, after: serializer.serializeToString(card) };
  });
}

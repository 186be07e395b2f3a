import type { DeclaredEgress } from "../declared.ts";
import { contains, type Prefix, parsePrefix } from "./addresses.ts";
import type { EgressAccept } from "./egress.ts";
import type { PortRange } from "./rules.ts";

/** A declared peer as rules name it: one protocol, its addresses and ports. */
export interface Peer {
  readonly name: string;
  readonly protocol: "tcp" | "udp";
  readonly prefixes: readonly Prefix[];
  /** Addresses that are host names. */
  readonly names: readonly string[];
  readonly ports: readonly PortRange[];
}

/** The declaration with name and time servers as peers like others. */
export function peersOf({ dns, ntp, peers }: DeclaredEgress): Peer[] {
  const service = (name: string, addresses: readonly string[], protocol: "tcp" | "udp", port: number) =>
    addresses.length === 0 ? [] : [peer(name, addresses, protocol, [{ first: port, last: port }])];
  return [
    ...service("DNS", dns, "udp", 53),
    ...service("DNS", dns, "tcp", 53),
    ...service("NTP", ntp, "udp", 123),
    ...peers.map((p) => peer(p.name, p.addresses, p.protocol, p.ports.map(portRange))),
  ];
}

function peer(name: string, addresses: readonly string[], protocol: "tcp" | "udp", ports: readonly PortRange[]): Peer {
  const read = addresses.map((text) => ({ text, prefix: parsePrefix(text) }));
  return {
    name,
    protocol,
    prefixes: read.flatMap((r) => r.prefix ?? []),
    names: read.flatMap((r) => (r.prefix === null ? [r.text] : [])),
    ports,
  };
}

function portRange(port: number | string): PortRange {
  const [first = 0, last = first] = String(port).split("-").map(Number);
  return { first, last };
}

/** What may go out without being a peer: the guest's own network, and what never leaves a link (RFC 4291, RFC 3927, RFC 5771). */
const ON_LINK = ["fe80::/10", "ff02::/16", "169.254.0.0/16", "224.0.0.0/24", "255.255.255.255"].flatMap(
  (p) => parsePrefix(p) ?? [],
);
/** DHCP and DHCPv6 servers. */
const DHCP = [67, 547];

export interface Compared {
  /** What is let out without being declared, as text: `tcp 198.51.100.7 port 443`. */
  readonly extra: readonly string[];
  /** To any address, on any port or on the ports by which data leaves unseen. */
  readonly anywhere: readonly string[];
  /** Not declared by address, but perhaps the address of a declared name. */
  readonly named: readonly string[];
  /** Sets whose members come and go. */
  readonly dynamic: readonly string[];
  readonly unclear: readonly string[];
  readonly icmpAnywhere: boolean;
  /** Declared, but not let out: names. */
  readonly lacking: readonly string[];
}

/** Compares what rules let out with the declared peers, of one family. `own`: networks of the guest's bridge. */
export function compare(
  accepts: readonly EgressAccept[],
  peers: readonly Peer[],
  own: readonly Prefix[],
  family: 4 | 6,
): Compared {
  const found = {
    extra: [] as string[],
    anywhere: [] as string[],
    named: [] as string[],
    dynamic: [] as string[],
    unclear: [] as string[],
  };
  let icmpAnywhere = false;
  for (const accept of accepts) {
    if (accept.protocols?.every((p) => p === "icmp" || p === "ipv6-icmp")) {
      if (accept.destinations === null) icmpAnywhere = true;
      continue;
    }
    if (accept.ports?.every((p) => DHCP.includes(p.first) && p.first === p.last)) continue;
    if (accept.dynamic) found.dynamic.push(acceptText(accept));
    if (accept.unclear.length > 0) found.unclear.push(acceptText(accept));
    else if (accept.destinations === null) found.anywhere.push(acceptText(accept));
    for (const destination of accept.destinations ?? []) {
      const prefix = parsePrefix(destination);
      if (prefix === null || accept.unclear.length > 0 || [...own, ...ON_LINK].some((o) => contains(o, prefix)))
        continue;
      const one = { ...accept, destinations: [destination] };
      const where = peers.filter((p) => p.prefixes.some((q) => contains(q, prefix)));
      if (isAllowed(one, where)) continue;
      const byName = peers.filter((p) => p.names.length > 0);
      if (prefix.length === 0) found.anywhere.push(acceptText(one));
      else (isAllowed(one, [...where, ...byName]) ? found.named : found.extra).push(acceptText(one));
    }
  }
  const covered = (peer: Peer, prefix: Prefix, port: PortRange) =>
    accepts.some(
      (a) =>
        (a.protocols === null || a.protocols.includes(peer.protocol)) &&
        (a.destinations === null || a.destinations.some((d) => contains(parsePrefix(d) ?? NOTHING, prefix))) &&
        (a.ports === null || a.ports.some((p) => p.first <= port.first && port.last <= p.last)),
    );
  const lacking = peers.filter((peer) =>
    peer.prefixes.some(
      (prefix) =>
        prefix.family === family &&
        !own.some((o) => contains(o, prefix)) &&
        peer.ports.some((port) => !covered(peer, prefix, port)),
    ),
  );
  return { ...found, icmpAnywhere, lacking: [...new Set(lacking.map((p) => p.name))] };
}

const NOTHING: Prefix = { family: 4, bits: 0n, length: 33 };

/** Every protocol and every port of it is declared of one of these peers. */
function isAllowed({ protocols, ports }: EgressAccept, peers: readonly Peer[]): boolean {
  if (protocols === null || ports === null) return false;
  return protocols.every((protocol) =>
    ports.every((port) =>
      peers.some((p) => p.protocol === protocol && p.ports.some((q) => q.first <= port.first && port.last <= q.last)),
    ),
  );
}

export function acceptText({ protocols, destinations, ports, unclear }: EgressAccept): string {
  const words = [
    protocols?.join("/") ?? "any protocol",
    destinations?.join(", ") ?? "any address",
    ports === null
      ? "any port"
      : `port ${ports.map((p) => (p.first === p.last ? p.first : `${p.first}-${p.last}`)).join(", ")}`,
    ...(unclear.length > 0 ? [`if ${unclear.join(", ")}`] : []),
  ];
  return words.join(" ");
}

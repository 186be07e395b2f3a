import { type Prefix, prefixText } from "./addresses.ts";
import { type Accept, evaluate, type Outcome, type Packet } from "./evaluate.ts";
import { filterTree, type NwFilter, nwfilterChains, type Parameters } from "./nwfilter.ts";
import type { BaseChain } from "./rules.ts";

/** The host's own rules and the filters that libvirt knows. */
export interface Host {
  readonly chains: readonly BaseChain[];
  /** Nothing of them stayed unread. */
  readonly whole: boolean;
  readonly filters: ReadonlyMap<string, NwFilter>;
}

/** Where an interface of a guest is. */
export interface Place {
  readonly tap: string | null;
  readonly bridge: string | null;
  readonly way: "routed" | "bridged" | "bypass" | "isolated" | "down" | "unclear";
  readonly mac: string;
  /** The guest's own addresses, as far as they are known. */
  readonly addresses: readonly Prefix[];
  /** Networks that the bridge has. */
  readonly networks: readonly Prefix[];
  readonly filter: string | null;
  readonly parameters: Parameters;
  readonly running: boolean;
  /** bridge-nf-call-iptables, -ip6tables: whether frames on a bridge are shown to rules for IP. */
  readonly bridgeCalls: Readonly<Record<4 | 6, boolean | null>>;
}

/** What is let out to the outside, of one family. */
export interface Egress {
  /** Of what no rule names: `drop` only when that is proven. */
  readonly rest: "accept" | "drop" | "unclear";
  /** What the rules that drop the rest let out. */
  readonly accepts: readonly EgressAccept[];
  readonly logged: boolean;
  /** The chains that drop the rest. */
  readonly by: readonly string[];
}

/** Plain text of an `Accept`; null: any. */
export interface EgressAccept {
  readonly protocols: readonly string[] | null;
  readonly destinations: readonly string[] | null;
  readonly ports: readonly { readonly first: number; readonly last: number }[] | null;
  readonly dynamic: boolean;
  readonly unclear: readonly string[];
}

export interface Families {
  readonly v4: Egress;
  readonly v6: Egress;
  /** Whether a frame with another guest's sender is stopped. */
  readonly foreignMac: "stopped" | "passes" | "unclear";
  readonly foreignAddress: "stopped" | "passes" | "unclear";
}

const OTHER_MAC = "52:54:00:ff:ff:fe";

export function egressOf(place: Place, host: Host): Families {
  const normal = packets(place, false);
  return {
    v4: outcome(4, place, host, normal),
    v6: outcome(6, place, host, normal),
    foreignMac: stopped(outcome(4, { ...place, mac: OTHER_MAC }, host, normal)),
    foreignAddress: stopped(outcome(4, place, host, packets(place, true))),
  };
}

function stopped({ rest, accepts }: Egress): "stopped" | "passes" | "unclear" {
  if (rest === "drop" && accepts.length === 0) return "stopped";
  return rest === "accept" || accepts.some((a) => a.unclear.length === 0) ? "passes" : "unclear";
}

/** The addresses that the packet bears: the guest's, or (`foreign`) a neighbour's. */
function packets(place: Place, foreign: boolean): { readonly sources: readonly Prefix[]; readonly foreign: boolean } {
  if (!foreign) return { sources: place.addresses.length > 0 ? place.addresses : place.networks, foreign };
  const neighbours = [...place.networks, ...NOBODY].map((n) => ({
    ...n,
    bits: n.bits + 0x4dn,
    length: n.family === 4 ? 32 : 128,
  }));
  const families = new Map(neighbours.reverse().map((n) => [n.family, n]));
  return { sources: [...families.values()], foreign };
}

/** RFC 5737 and RFC 3849: for examples. */
const NOBODY: readonly Prefix[] = [
  { family: 4, bits: 0xc6336400n, length: 24 },
  { family: 6, bits: 0x20010db8n << 96n, length: 32 },
];

interface Sent {
  readonly sources: readonly Prefix[];
  readonly foreign: boolean;
}

function outcome(family: 4 | 6, place: Place, host: Host, sent: Sent): Egress {
  if (place.way === "isolated" || place.way === "down") return { rest: "drop", accepts: [], logged: false, by: [] };
  if (place.way === "bypass") return { rest: "accept", accepts: [], logged: false, by: [] };
  const found = [
    ...host.chains.filter((c) => crosses(c, family, place)).map((c) => evaluate(c, packetFor(c, family, place, sent))),
  ];
  const titles = host.chains.filter((c) => crosses(c, family, place)).map((c) => c.title);
  let whole = host.whole && place.way !== "unclear";
  if (place.filter !== null) {
    const tree = filterTree(place.filter, host.filters);
    if (tree === null) whole = false;
    else {
      const { frames, packets: ip } = nwfilterChains(tree, place.parameters);
      found.push(evaluate(frames, packetFor(frames, family, place, sent)));
      titles.push(frames.title);
      // Its rules for IP are iptables rules that name the port: they see nothing where frames are not shown to them.
      if (place.bridgeCalls[family] !== false && (!place.running || place.bridgeCalls[family] === true)) {
        found.push(evaluate(ip, { ...packetFor(ip, family, place, sent), portSeen: true }));
        titles.push(ip.title);
      }
    }
  }
  return combine(found, titles, whole);
}

/** Whether such a packet comes through this chain (Netfilter's hooks; those for the host's own traffic are not among them). */
function crosses(chain: BaseChain, family: 4 | 6, place: Place): boolean {
  if (chain.layer === "netdev")
    return chain.hook === "ingress" && chain.devices.some((d) => d === place.tap || d === place.bridge);
  if (chain.layer === "bridge") {
    return place.way === "routed"
      ? ["prerouting", "input"].includes(chain.hook)
      : ["prerouting", "forward", "postrouting"].includes(chain.hook);
  }
  if (!["prerouting", "forward", "postrouting"].includes(chain.hook)) return false;
  if (chain.layer !== "inet" && chain.layer !== (family === 4 ? "ip" : "ip6")) return false;
  return place.way === "routed" || place.bridgeCalls[family] === true;
}

function packetFor(chain: BaseChain, family: 4 | 6, place: Place, { sources, foreign }: Sent): Packet {
  const frames = chain.layer === "bridge" || chain.layer === "netdev";
  return {
    family,
    tap: place.tap,
    bridge: place.bridge,
    seenFrom: frames ? "port" : "bridge",
    portSeen: frames || place.bridgeCalls[family] === true,
    mac: place.mac,
    sources,
    foreignSource: foreign,
    inside: [place.bridge, place.tap].filter((d) => d !== null),
  };
}

/** A packet gets out only when every chain lets it: one that drops the rest is enough. */
function combine(outcomes: readonly Outcome[], titles: readonly string[], whole: boolean): Egress {
  const closed = outcomes.flatMap((o, i) => (effective(o) === "drop" ? [{ ...o, title: titles[i] ?? "" }] : []));
  if (closed.length > 0) {
    return {
      rest: "drop",
      accepts: narrowest(closed.map((o) => o.accepts)).map(plain),
      logged: false,
      by: closed.map((o) => o.title),
    };
  }
  const unclear = !whole || outcomes.some((o) => effective(o) === "unclear");
  const open = outcomes.flatMap((o) => (o.rest === "drop" ? o.accepts : []));
  return {
    rest: unclear ? "unclear" : "accept",
    accepts: open.map(plain),
    logged: outcomes.some((o) => o.logged),
    by: [],
  };
}

/** A chain that drops the rest, but lets out everything before, drops nothing. */
function effective({ rest, accepts }: Outcome): Outcome["rest"] {
  if (rest !== "drop") return rest;
  const open = accepts.filter(
    (a) =>
      a.destinations === null &&
      a.ports === null &&
      (a.protocols === null || a.protocols.some((p) => p === "tcp" || p === "udp")),
  );
  if (open.some((a) => a.unclear.length === 0)) return "accept";
  return open.length > 0 ? "unclear" : "drop";
}

/** What gets through all of them is in each list: the one that says least, and most clearly, bounds it best. */
function narrowest(lists: readonly (readonly Accept[])[]): readonly Accept[] {
  const vague = (list: readonly Accept[]) => list.filter((a) => a.unclear.length > 0 || a.destinations === null).length;
  return [...lists].sort((a, b) => vague(a) - vague(b) || a.length - b.length)[0] ?? [];
}

function plain({ destinations, ...rest }: Accept): EgressAccept {
  return { ...rest, destinations: destinations?.map(prefixText) ?? null };
}

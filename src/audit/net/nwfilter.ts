import type { Element } from "@xmldom/xmldom";
import { attributeOf, childrenOf, parseXml } from "../../libvirt/xml.ts";
import { parsePrefix, rangePrefixes } from "./addresses.ts";
import type { Action, BaseChain, Condition, PortRange, Rule } from "./rules.ts";

/** A filter as `virsh nwfilter-dumpxml` prints it (libvirt, "Network Filters"). */
export interface NwFilter {
  readonly name: string;
  readonly chain: string;
  /** Of its chain among the chains that the root calls. */
  readonly priority: number | null;
  readonly refs: readonly string[];
  readonly rules: readonly NwRule[];
}

interface NwRule {
  readonly action: string;
  readonly direction: string;
  readonly priority: number;
  /** Its first match; null: all. Several matches of a rule are several rules. */
  readonly match: { readonly protocol: string; readonly attributes: ReadonlyMap<string, string> } | null;
}

/** Names of variables without `$` to values, of the interface's `<filterref>`. */
export type Parameters = ReadonlyMap<string, readonly string[]>;

/** Throws `StorageError` when that is no filter. */
export function parseNwFilter(xml: string): NwFilter {
  const root = parseXml(xml, "filter");
  const rules = childrenOf(root, "rule").flatMap((rule): NwRule[] => {
    const matches = elementsOf(rule).map((e) => ({
      protocol: e.tagName,
      attributes: new Map([...e.attributes].map((a) => [a.name, a.value] as const)),
    }));
    const common = {
      action: attributeOf(rule, "action") ?? "",
      direction: attributeOf(rule, "direction") ?? "",
      priority: integer(attributeOf(rule, "priority")) ?? 500,
    };
    return matches.length === 0 ? [{ ...common, match: null }] : matches.map((match) => ({ ...common, match }));
  });
  return {
    name: attributeOf(root, "name") ?? "",
    chain: attributeOf(root, "chain") ?? "root",
    priority: integer(attributeOf(root, "priority")),
    refs: childrenOf(root, "filterref").flatMap((r) => attributeOf(r, "filter") ?? []),
    rules,
  };
}

function elementsOf(parent: Element): Element[] {
  return [...parent.childNodes].filter((n): n is Element => n.nodeType === 1);
}

function integer(text: string | null): number | null {
  return text !== null && /^-?\d+$/.test(text) ? Number(text) : null;
}

/** The filter and all that it refers to, each once; null: one of them is not known. */
export function filterTree(name: string, known: ReadonlyMap<string, NwFilter>): NwFilter[] | null {
  const found = new Map<string, NwFilter>();
  const visit = (one: string): boolean => {
    if (found.has(one)) return true;
    const filter = known.get(one);
    if (filter === undefined) return false;
    found.set(one, filter);
    return filter.refs.every(visit);
  };
  return visit(name) ? [...found.values()] : null;
}

/** What is done with frames (libvirt calls ebtables for it). */
const FRAME_PROTOCOLS = new Set(["mac", "vlan", "stp", "arp", "rarp", "ip", "ipv6"]);
/** Where the root calls a chain when its filter does not say (libvirt, "Filtering chains"). */
const CHAIN_PRIORITIES: Readonly<Record<string, number>> = {
  stp: -810,
  mac: -800,
  vlan: -750,
  ipv4: -700,
  ipv6: -600,
  arp: -500,
  rarp: -400,
};

/**
 * The filters as two chains that a frame from the guest crosses one after the other: that for frames, and that for IP packets, which
 * libvirt makes of iptables rules.
 */
export function nwfilterChains(
  filters: readonly NwFilter[],
  parameters: Parameters,
): { frames: BaseChain; packets: BaseChain } {
  const frames = new Map<string, { priority: number; rule: Rule }[]>([["root", []]]);
  const packets: { priority: number; rule: Rule }[] = [];
  for (const filter of filters) {
    const into = frames.get(filter.chain) ?? [];
    if (!frames.has(filter.chain)) {
      frames.set(filter.chain, into);
      const kind = filter.chain.split("-")[0] ?? "";
      const priority = filter.priority ?? CHAIN_PRIORITIES[kind] ?? 0;
      frames
        .get("root")!
        .push({ priority, rule: { conditions: entryOf(kind), action: { kind: "jump", chain: filter.chain } } });
    }
    for (const rule of filter.rules) {
      if (rule.direction !== "out" && rule.direction !== "inout") continue;
      const action = actionOf(rule.action);
      const frame = rule.match === null || FRAME_PROTOCOLS.has(rule.match.protocol);
      for (const conditions of conditionsOf(rule, parameters))
        (frame ? into : packets).push({ priority: rule.priority, rule: { conditions, action } });
    }
  }
  const sorted = (rules: readonly { priority: number; rule: Rule }[]) =>
    [...rules].sort((a, b) => a.priority - b.priority).map((r) => r.rule);
  const base = { policy: "accept", hook: "prerouting", devices: [] } as const;
  const title = `nwfilter ${filters[0]?.name ?? ""}`;
  return {
    frames: {
      ...base,
      title,
      chain: "root",
      layer: "bridge",
      set: { chains: new Map([...frames].map(([name, rules]) => [name, sorted(rules)])) },
    },
    packets: { ...base, title, chain: "all", layer: "inet", set: { chains: new Map([["all", sorted(packets)]]) } },
  };
}

function entryOf(kind: string): Condition[] {
  if (kind === "ipv4" || kind === "ipv6") return [{ kind: "family", families: [kind === "ipv4" ? 4 : 6], not: false }];
  return kind === "mac" ? [] : [{ kind: "never" }];
}

function actionOf(action: string): Action {
  if (action === "accept" || action === "return") return { kind: action };
  if (action === "drop" || action === "reject") return { kind: "drop" };
  return { kind: "continue" };
}

const ETHER: Readonly<Record<string, 4 | 6>> = { ipv4: 4, "0x800": 4, "0x0800": 4, ipv6: 6, "0x86dd": 6, "0x86DD": 6 };

/** One list for each value of a variable that is a list. */
function conditionsOf({ match }: NwRule, parameters: Parameters): Condition[][] {
  if (match === null) return [[]];
  const { protocol, attributes } = match;
  const not = attributes.get("match") === "no";
  const found: Condition[] = [];
  const six = protocol.endsWith("v6");
  const family = { kind: "family", families: [six ? 6 : 4], not: false } as const;
  if (["arp", "rarp", "stp", "vlan"].includes(protocol)) return [[{ kind: "never" }]];
  if (protocol !== "mac") found.push(family);
  const carried = protocol.replace(/-ipv6$/, "");
  if (!["mac", "ip", "ipv6", "all"].includes(carried)) {
    found.push({
      kind: "protocol",
      names: [carried === "icmp" && six ? "ipv6-icmp" : carried.replace("icmpv6", "ipv6-icmp")],
      not: false,
    });
  }
  const matched: Condition[] = [];
  for (const [name, text] of attributes) {
    const values = valuesOf(text, parameters);
    const condition = attributeCondition(name, values, attributes, parameters, not);
    if (condition !== null) matched.push(condition);
  }
  if (not && matched.length > 1) return [[...found, { kind: "other", text: "match='no' of several fields" }]];
  return [[...found, ...matched]];
}

function attributeCondition(
  name: string,
  values: readonly string[] | null,
  attributes: ReadonlyMap<string, string>,
  parameters: Parameters,
  not: boolean,
): Condition | null {
  const other: Condition = { kind: "other", text: name };
  switch (name) {
    case "match":
    case "comment":
    case "srcipmask":
    case "dstipmask":
    case "srcmacmask":
    case "dstmacmask":
    case "srcipto":
    case "dstipto":
    case "dstportend":
    case "statematch":
    case "type":
    case "code":
      return null;
    case "protocolid": {
      const family = ETHER[values?.[0] ?? ""];
      return family === undefined ? { kind: "never" } : { kind: "family", families: [family], not };
    }
    case "srcmacaddr":
      return attributes.has("srcmacmask") || values === null
        ? other
        : { kind: "mac", macs: values.map((v) => v.toLowerCase()), not };
    case "srcipaddr":
    case "srcipfrom":
      // Without a value libvirt learns the guest's own address, and then means that.
      if (values === null) return attributes.get(name)?.startsWith("$IP") ? { kind: "own-source", not } : other;
      return { kind: "source", prefixes: addresses(name, values, attributes, parameters), not };
    case "dstipaddr":
    case "dstipfrom":
      if (values === null) return other;
      return { kind: "destination", prefixes: addresses(name, values, attributes, parameters), not, dynamic: false };
    case "protocol":
      return { kind: "protocol", names: (values ?? []).map((v) => PROTOCOLS[v] ?? v.toLowerCase()), not };
    case "dstportstart": {
      const end = attributes.get("dstportend");
      return { kind: "port", ranges: (values ?? []).map((v) => portRange(v, end ?? v)), not };
    }
    case "state":
      return { kind: "state", states: (values ?? []).flatMap((v) => v.toLowerCase().split(",")), not };
    default:
      return other;
  }
}

const PROTOCOLS: Readonly<Record<string, string>> = {
  "1": "icmp",
  "6": "tcp",
  "17": "udp",
  "58": "ipv6-icmp",
  icmpv6: "ipv6-icmp",
};

function portRange(first: string, last: string): PortRange {
  return { first: Number(first), last: Number(last) };
}

/** `$IP`, `$PEERS[@1]`, `$A[2]`, or the text itself; null: a variable without a value. */
function valuesOf(text: string, parameters: Parameters): readonly string[] | null {
  const [, name, index] = /^\$(\w+)(?:\[(@?\d+)\])?$/.exec(text) ?? [];
  if (name === undefined) return [text];
  const values = parameters.get(name);
  if (values === undefined || values.length === 0) return null;
  return index !== undefined && !index.startsWith("@") ? values.slice(Number(index), Number(index) + 1) : values;
}

function addresses(
  name: string,
  values: readonly string[],
  attributes: ReadonlyMap<string, string>,
  parameters: Parameters,
) {
  const side = name.slice(0, 3);
  const mask = attributes.get(`${side}ipmask`);
  const to = attributes.get(`${side}ipto`);
  if (name.endsWith("from") && to !== undefined) {
    return values.flatMap((v) => rangePrefixes(v, valuesOf(to, parameters)?.[0] ?? "") ?? []);
  }
  return values.flatMap((v) => parsePrefix(mask === undefined ? v : `${v}/${mask}`) ?? []);
}

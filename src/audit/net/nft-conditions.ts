import { isObject, type Json, listOf } from "../parse/json.ts";
import { type Prefix, parsePrefix, rangePrefixes } from "./addresses.ts";
import type { Condition, PortRange } from "./rules.ts";

/** By family, table and name. */
export type NamedSets = Map<string, { readonly elements: readonly unknown[]; readonly dynamic: boolean }>;
type SetOf = (name: string) => { readonly elements: readonly unknown[]; readonly dynamic: boolean } | null;

/** The ways in which `match` can be met: one, or one for each element of a concatenation's set; each is a list that must all be met. */
export function nftConditions(match: Json, setOf: SetOf): Condition[][] {
  const { left, op } = match;
  const not = op === "!=";
  if (op !== "==" && op !== "!=" && op !== "in") return [[other(left)]];
  const { values, dynamic } = valuesOf(match.right, setOf);
  if (isObject(left) && Array.isArray(left.concat)) {
    const parts = left.concat;
    if (not) return [[other(left)]];
    if (values.length === 0) return dynamic ? [[other(left)]] : [[{ kind: "never" }]];
    return values.map((value) => {
      const fields = isObject(value) && Array.isArray(value.concat) ? value.concat : [];
      return parts.flatMap((part, i) => conditionsOf(part, [fields[i]], false, dynamic));
    });
  }
  return [conditionsOf(left, values, not, dynamic)];
}

function valuesOf(right: unknown, setOf: SetOf): { values: readonly unknown[]; dynamic: boolean } {
  if (typeof right === "string" && right.startsWith("@")) {
    const set = setOf(right.slice(1));
    // A set that is not there is one that nothing is known of.
    return { values: (set?.elements ?? []).map(unwrap), dynamic: set?.dynamic ?? true };
  }
  if (isObject(right) && "set" in right) return { values: listOf(right.set).map(unwrap), dynamic: false };
  return { values: listOf(right), dynamic: false };
}

/** An element with a comment, a timeout or a counter. */
function unwrap(element: unknown): unknown {
  if (isObject(element) && isObject(element.elem)) return element.elem.val;
  // In a map: [value, verdict].
  return Array.isArray(element) ? element[0] : element;
}

function conditionsOf(left: unknown, values: readonly unknown[], not: boolean, dynamic: boolean): Condition[] {
  if (!isObject(left)) return [other(left)];
  if (isObject(left.meta)) return meta(String(left.meta.key), values, not);
  if (isObject(left.ct)) {
    if (left.ct.key === "state") return [{ kind: "state", states: texts(values), not }];
    return [other(left)];
  }
  if (isObject(left.payload)) return payload(left, left.payload, values, not, dynamic);
  return [other(left)];
}

function meta(key: string, values: readonly unknown[], not: boolean): Condition[] {
  switch (key) {
    case "iifname":
    case "iif":
      return [{ kind: "in", what: "device", names: texts(values), not }];
    case "ibrname":
    case "ibridgename":
      return [{ kind: "in", what: "bridge", names: texts(values), not }];
    case "oifname":
    case "oif":
    case "obrname":
    case "obridgename":
      return [{ kind: "out", names: texts(values), not }];
    case "nfproto":
    case "protocol":
      return families(values, not);
    case "l4proto":
      return [protocols(values, not)];
    default:
      return [{ kind: "other", text: `meta ${key}` }];
  }
}

const FAMILIES: Readonly<Record<string, 4 | 6>> = { ipv4: 4, ip: 4, ipv6: 6, ip6: 6 };

/** Of frames that are neither IPv4 nor IPv6 (ARP, VLAN) nothing is said here. */
function families(values: readonly unknown[], not: boolean): Condition[] {
  return [{ kind: "family", families: texts(values).flatMap((t) => FAMILIES[t] ?? []), not }];
}

function payload(left: Json, field: Json, values: readonly unknown[], not: boolean, dynamic: boolean): Condition[] {
  const name = `${field.protocol} ${field.field}`;
  switch (name) {
    case "ip saddr":
    case "ip6 saddr":
      return [{ kind: "source", prefixes: values.flatMap(prefixesOf), not }];
    case "ip daddr":
    case "ip6 daddr":
      return [{ kind: "destination", prefixes: values.flatMap(prefixesOf), not, dynamic }];
    case "ip protocol":
      return [{ kind: "family", families: [4], not: false }, protocols(values, not)];
    case "ip6 nexthdr":
      return [{ kind: "family", families: [6], not: false }, protocols(values, not)];
    case "ether saddr":
      return [{ kind: "mac", macs: texts(values), not }];
    case "ether type":
      return families(values, not);
    case "tcp dport":
    case "udp dport":
    case "sctp dport":
    case "th dport":
      return [...implied(field), { kind: "port", ranges: values.flatMap(portsOf), not }];
    case "icmp type":
      return [{ kind: "protocol", names: ["icmp"], not: false }];
    case "icmpv6 type":
      return [{ kind: "protocol", names: ["ipv6-icmp"], not: false }];
    default:
      return ["arp", "vlan"].includes(String(field.protocol)) ? [{ kind: "never" }] : [...implied(field), other(left)];
  }
}

function implied(field: Json): Condition[] {
  return ["tcp", "udp", "sctp"].includes(String(field.protocol))
    ? [{ kind: "protocol", names: [String(field.protocol)], not: false }]
    : [];
}

function protocols(values: readonly unknown[], not: boolean): Condition {
  return { kind: "protocol", names: texts(values).map((t) => (t === "icmpv6" ? "ipv6-icmp" : t)), not };
}

function prefixesOf(value: unknown): Prefix[] {
  if (isObject(value) && isObject(value.prefix)) {
    return orNone(parsePrefix(`${value.prefix.addr}/${value.prefix.len}`));
  }
  if (isObject(value) && Array.isArray(value.range)) {
    return rangePrefixes(String(value.range[0]), String(value.range[1])) ?? [];
  }
  return orNone(parsePrefix(String(value)));
}

function orNone<T>(value: T | null): T[] {
  return value === null ? [] : [value];
}

/** Names of services that nft prints only without `-n`; JSON has numbers. */
function portsOf(value: unknown): PortRange[] {
  if (isObject(value) && Array.isArray(value.range))
    return [{ first: Number(value.range[0]), last: Number(value.range[1]) }];
  const port = Number(value);
  return Number.isInteger(port) ? [{ first: port, last: port }] : [];
}

function texts(values: readonly unknown[]): string[] {
  return values.map((v) => String(v).toLowerCase());
}

function other(left: unknown): Condition {
  if (isObject(left) && isObject(left.payload))
    return { kind: "other", text: `${left.payload.protocol} ${left.payload.field}` };
  return { kind: "other", text: isObject(left) ? (Object.keys(left)[0] ?? "?") : "?" };
}

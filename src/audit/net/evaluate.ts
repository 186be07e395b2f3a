import { contains, overlap, type Prefix } from "./addresses.ts";
import type { BaseChain, Condition, PortRange, Rule } from "./rules.ts";

/** A packet that a guest sends to somewhere outside, to open a connection: only what is known of it. */
export interface Packet {
  readonly family: 4 | 6;
  /** The guest's tap; null: it has no name as long as the guest does not run. */
  readonly tap: string | null;
  readonly bridge: string | null;
  /** What the chain sees as the device: see `Condition`. */
  readonly seenFrom: "port" | "bridge";
  /** Whether the chain is told the port (br_netfilter does that for routed packets). */
  readonly portSeen: boolean;
  readonly mac: string;
  /** The guest's addresses or its network; empty: not known. */
  readonly sources: readonly Prefix[];
  /** It bears an address that is not the guest's. */
  readonly foreignSource: boolean;
  /** Devices that lead to the guest's own network, not outside. */
  readonly inside: readonly string[];
}

/** What a rule lets out. Null: any. */
export interface Accept {
  readonly protocols: readonly string[] | null;
  readonly destinations: readonly Prefix[] | null;
  readonly ports: readonly PortRange[] | null;
  /** The destinations are a set whose members come and go. */
  readonly dynamic: boolean;
  /** Conditions that are not understood: it may let out less. */
  readonly unclear: readonly string[];
}

export interface Outcome {
  /** What becomes of a packet that no specific rule is about; `unclear`: the rules are too many. */
  readonly rest: "accept" | "drop" | "unclear";
  readonly accepts: readonly Accept[];
  /** What is let out by default is logged before. */
  readonly logged: boolean;
}

const ANY: Accept = { protocols: null, destinations: null, ports: null, dynamic: false, unclear: [] };
/** Steps through rules; a jump under a condition doubles the way from there on. */
const MAX_STEPS = 200_000;
const MAX_DEPTH = 64;
/** Conditions on the way that may or may not be met. */
const MAX_BRANCHES = 500;
const MAX_ACCEPTS = 4096;

interface Frame {
  readonly rules: readonly Rule[];
  readonly at: number;
}

/** Walks through the chain as the kernel does, along every way that such a packet can take. */
export function evaluate(base: BaseChain, packet: Packet): Outcome {
  const accepts: Accept[] = [];
  let steps = 0;
  let rest: Outcome["rest"] | null = null;
  let logged = false;

  const end = (verdict: "accept" | "drop", carried: Accept) => {
    if (carried === ANY) rest ??= verdict;
    else if (verdict === "accept" && accepts.length < MAX_ACCEPTS) accepts.push(carried);
  };
  const chain = (name: string) => base.set.chains.get(name) ?? [];

  const walk = (start: readonly Frame[], carried: Accept, branches = 0): void => {
    if (branches > MAX_BRANCHES) throw new TooMany();
    let frames = start;
    for (;;) {
      const top = frames.at(-1);
      if (top === undefined) {
        end(base.policy, carried);
        return;
      }
      const rule = top.rules[top.at];
      if (rule === undefined) {
        frames = frames.slice(0, -1);
        continue;
      }
      if (++steps > MAX_STEPS || frames.length > MAX_DEPTH || accepts.length >= MAX_ACCEPTS) throw new TooMany();
      const after = [...frames.slice(0, -1), { rules: top.rules, at: top.at + 1 }];
      const met = match(rule.conditions, packet, carried);
      const { action } = rule;
      if (met === null || action.kind === "continue") {
        frames = after;
        continue;
      }
      const sure = met === carried;
      if (action.kind === "log") {
        if (sure && carried === ANY) logged = true;
        frames = after;
        continue;
      }
      if (action.kind === "accept" || action.kind === "drop") {
        end(action.kind, met);
        if (sure) return;
        frames = after;
        continue;
      }
      const taken =
        action.kind === "return"
          ? frames.slice(0, -1)
          : [...(action.kind === "goto" ? frames.slice(0, -1) : after), { rules: chain(action.chain), at: 0 }];
      if (!sure) walk(taken, met, branches + 1);
      frames = sure ? taken : after;
    }
  };

  try {
    walk([{ rules: chain(base.chain), at: 0 }], ANY);
  } catch (error) {
    if (!(error instanceof TooMany)) throw error;
    return { rest: "unclear", accepts: [], logged: false };
  }
  return { rest: rest ?? "unclear", accepts, logged };
}

class TooMany extends Error {}

/** `carried` itself: surely met. Null: surely not. Else what is left of `carried` when it is met. */
function match(conditions: readonly Condition[], packet: Packet, carried: Accept): Accept | null {
  let met = carried;
  for (const condition of conditions) {
    const narrowed = narrow(condition, packet, met);
    if (narrowed === null) return null;
    met = narrowed;
  }
  return met;
}

function narrow(condition: Condition, packet: Packet, met: Accept): Accept | null {
  switch (condition.kind) {
    case "never":
      return null;
    case "in": {
      const what = condition.what === "device" ? packet.seenFrom : condition.what;
      if (what === "port" && !packet.portSeen) return condition.not ? met : null;
      const device = what === "port" ? packet.tap : packet.bridge;
      if (device === null) return unclear(met, "the guest's device");
      return condition.names.some((name) => named(device, name)) !== condition.not ? met : null;
    }
    case "own-source":
      return packet.foreignSource === condition.not ? met : null;
    case "out": {
      const toInside = condition.names.some((name) => packet.inside.some((device) => named(device, name)));
      // To another device: that is a way outside, if perhaps not the only one.
      if (toInside) return condition.not ? met : null;
      return condition.not ? met : { ...met };
    }
    case "family":
      return condition.families.includes(packet.family) !== condition.not ? met : null;
    case "mac":
      return condition.macs.includes(packet.mac) !== condition.not ? met : null;
    case "state":
      return condition.states.includes("new") !== condition.not ? met : null;
    case "source":
      return source(condition, packet, met);
    case "destination":
      return destination(condition, packet, met);
    case "protocol": {
      if (condition.not) return { ...met };
      const left = met.protocols === null ? condition.names : met.protocols.filter((p) => condition.names.includes(p));
      return left.length === 0 ? null : same(left, met.protocols) ? met : { ...met, protocols: left };
    }
    case "port": {
      if (condition.not) return { ...met };
      if (condition.ranges.some((r) => r.first <= 0 && r.last >= 65535)) return met;
      const left = met.ports === null ? condition.ranges : intersect(met.ports, condition.ranges);
      return left.length === 0 ? null : { ...met, ports: left };
    }
    case "other":
      return unclear(met, condition.text);
  }
}

function source({ prefixes, not }: Condition & { kind: "source" }, packet: Packet, met: Accept): Accept | null {
  const fitting = prefixes.filter((p) => p.family === packet.family);
  // A rule about addresses of the other family never sees this packet, and neither does its negation.
  if (fitting.length === 0) return prefixes.length === 0 ? unclear(met, "the source address") : null;
  const own = packet.sources.filter((p) => p.family === packet.family);
  if (fitting.some((p) => p.length === 0)) return not ? null : met;
  if (own.length === 0) return unclear(met, "the source address");
  if (own.every((a) => fitting.some((p) => contains(p, a)))) return not ? null : met;
  if (!own.some((a) => fitting.some((p) => overlap(p, a)))) return not ? met : null;
  return { ...met };
}

function destination(condition: Condition & { kind: "destination" }, packet: Packet, met: Accept): Accept | null {
  const { prefixes, not, dynamic } = condition;
  const fitting = prefixes.filter((p) => p.family === packet.family);
  if (fitting.length === 0) return dynamic ? { ...met, destinations: [], dynamic: true } : null;
  if (fitting.some((p) => p.length === 0)) return not ? null : met;
  // All but some addresses is as good as any.
  if (not) return { ...met };
  if (met.destinations === null) return { ...met, destinations: fitting, dynamic: met.dynamic || dynamic };
  if (met.destinations.every((a) => fitting.some((b) => contains(b, a)))) return met;
  const left = new Map<string, Prefix>();
  for (const a of met.destinations)
    for (const b of fitting) {
      const both = contains(b, a) ? a : contains(a, b) ? b : null;
      if (both !== null) left.set(`${both.bits}/${both.length}`, both);
    }
  return left.size === 0 ? null : { ...met, destinations: [...left.values()], dynamic: met.dynamic || dynamic };
}

function unclear(met: Accept, what: string): Accept {
  return { ...met, unclear: met.unclear.includes(what) ? met.unclear : [...met.unclear, what] };
}

function intersect(a: readonly PortRange[], b: readonly PortRange[]): PortRange[] {
  return a.flatMap((x) =>
    b.flatMap((y) => {
      const [first, last] = [Math.max(x.first, y.first), Math.min(x.last, y.last)];
      return first <= last ? [{ first, last }] : [];
    }),
  );
}

function same(a: readonly string[], b: readonly string[] | null): boolean {
  return b !== null && a.length === b.length && a.every((x, i) => x === b[i]);
}

/** `+` is how iptables writes nft's `*`. */
function named(device: string, pattern: string): boolean {
  return /[*+]$/.test(pattern) ? device.startsWith(pattern.slice(0, -1)) : device === pattern;
}

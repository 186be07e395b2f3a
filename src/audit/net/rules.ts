import type { Prefix } from "./addresses.ts";

/**
 * What nft, iptables and nwfilter rules say, in one form. It knows what a packet that a guest sends to the outside can be told by; all
 * else is `other`, which may or may not match.
 */
export type Condition =
  /**
   * Where it comes from; `vnet*` stands for all that begin so. `device`: what the layer sees (of a frame the guest's tap, of a routed packet
   * the bridge); `port`: the tap; `bridge`: the bridge that it is a port of.
   */
  | {
      readonly kind: "in";
      readonly what: "device" | "port" | "bridge";
      readonly names: readonly string[];
      readonly not: boolean;
    }
  | { readonly kind: "out"; readonly names: readonly string[]; readonly not: boolean }
  | { readonly kind: "family"; readonly families: readonly (4 | 6)[]; readonly not: boolean }
  | { readonly kind: "mac"; readonly macs: readonly string[]; readonly not: boolean }
  /** An address of the guest's own, whichever that is. */
  | { readonly kind: "own-source"; readonly not: boolean }
  | { readonly kind: "source"; readonly prefixes: readonly Prefix[]; readonly not: boolean }
  | {
      readonly kind: "destination";
      readonly prefixes: readonly Prefix[];
      readonly not: boolean;
      /** Its members come and go: a set that something fills. */
      readonly dynamic: boolean;
    }
  /** Lower case names: `tcp`, `udp`, `icmp`, `ipv6-icmp`. */
  | { readonly kind: "protocol"; readonly names: readonly string[]; readonly not: boolean }
  /** Of the destination. */
  | { readonly kind: "port"; readonly ranges: readonly PortRange[]; readonly not: boolean }
  /** Of connection tracking, lower case; a packet that opens a connection is `new`. */
  | { readonly kind: "state"; readonly states: readonly string[]; readonly not: boolean }
  | { readonly kind: "never" }
  | { readonly kind: "other"; readonly text: string };

export interface PortRange {
  readonly first: number;
  readonly last: number;
}

export type Action =
  | { readonly kind: "accept" }
  | { readonly kind: "drop" }
  | { readonly kind: "return" }
  | { readonly kind: "log" }
  | { readonly kind: "continue" }
  | { readonly kind: "jump"; readonly chain: string }
  | { readonly kind: "goto"; readonly chain: string };

export interface Rule {
  readonly conditions: readonly Condition[];
  readonly action: Action;
}

/** Chains that call each other by name. */
export interface RuleSet {
  readonly chains: ReadonlyMap<string, readonly Rule[]>;
}

/** A chain that the kernel begins with, and what it does with what comes to the chain's end. */
export interface BaseChain {
  /** For a person: `inet filter forward`. */
  readonly title: string;
  readonly set: RuleSet;
  readonly chain: string;
  readonly policy: "accept" | "drop";
  /** `bridge` sees all frames, `ip` and `ip6` what is routed; `netdev`: what comes from one device. */
  readonly layer: "bridge" | "inet" | "ip" | "ip6" | "netdev";
  readonly hook: string;
  /** Of `netdev`. */
  readonly devices: readonly string[];
}

/** Rules of one host: a real one has some hundred. */
export const MAX_RULES = 50_000;

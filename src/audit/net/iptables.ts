import { parsePrefix } from "./addresses.ts";
import { type Action, type BaseChain, type Condition, MAX_RULES, type PortRange, type Rule } from "./rules.ts";

const LAYERS = { 4: "ip", 6: "ip6" } as const;
/** Of chains; what is sent by the host itself never crosses them. */
const HOOKS: Readonly<Record<string, string>> = {
  PREROUTING: "prerouting",
  FORWARD: "forward",
  POSTROUTING: "postrouting",
};

/**
 * What `iptables-save` (`family` 4) or `ip6tables-save` prints (iptables(8), iptables-extensions(8)), without the tables that translate
 * addresses. Null: too many rules.
 */
export function parseIptables(text: string, family: 4 | 6): BaseChain[] | null {
  const found: BaseChain[] = [];
  let table = "";
  let chains = new Map<string, Rule[]>();
  let count = 0;
  for (const line of text.split("\n")) {
    if (line.startsWith("*")) {
      table = line.slice(1).trim();
      chains = new Map();
    } else if (line.startsWith(":")) {
      const [name = "", policy = "-"] = line.slice(1).split(/\s+/);
      chains.set(name, []);
      const hook = HOOKS[name];
      if (policy === "-" || hook === undefined || table === "nat") continue;
      found.push({
        title: `${family === 4 ? "iptables" : "ip6tables"} ${table} ${name}`,
        set: { chains },
        chain: name,
        policy: policy === "DROP" ? "drop" : "accept",
        layer: LAYERS[family],
        hook,
        devices: [],
      });
    } else if (line.startsWith("-A ")) {
      if (++count > MAX_RULES) return null;
      const words = splitWords(line);
      chains.get(words[1] ?? "")?.push(ruleOf(words.slice(2)));
    }
  }
  return found;
}

/** Quoted words keep their blanks: `--comment "a b"`. */
function splitWords(line: string): string[] {
  return [...line.matchAll(/"((?:[^"\\]|\\.)*)"|(\S+)/g)].map((m) => m[1] ?? m[2] ?? "");
}

const ONE_VALUE_IGNORED = new Set([
  "--comment",
  "--log-prefix",
  "--log-level",
  "--reject-with",
  "--set-xmark",
  "--set-mark",
]);

function ruleOf(words: readonly string[]): Rule {
  const conditions: Condition[] = [];
  let action: Action = { kind: "continue" };
  let not = false;
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    if (word === "!") {
      not = true;
      continue;
    }
    const value = words[i + 1] ?? "";
    let used = true;
    if (word === "-i" || word === "--physdev-in")
      conditions.push({ kind: "in", what: word === "-i" ? "device" : "port", names: [value], not });
    else if (word === "-o" || word === "--physdev-out") conditions.push({ kind: "out", names: [value], not });
    else if (word === "-s") conditions.push({ kind: "source", prefixes: prefixes(value), not });
    else if (word === "-d") conditions.push({ kind: "destination", prefixes: prefixes(value), not, dynamic: false });
    else if (word === "-p") {
      if (value !== "all")
        conditions.push({ kind: "protocol", names: [value === "icmpv6" ? "ipv6-icmp" : value], not });
    } else if (word === "--dport" || word === "--dports") conditions.push({ kind: "port", ranges: ports(value), not });
    else if (word === "--ctstate" || word === "--state")
      conditions.push({ kind: "state", states: value.toLowerCase().split(","), not });
    else if (word === "--ctdir") {
      if (value === "REPLY") conditions.push({ kind: "never" });
    } else if (word === "--mac-source") conditions.push({ kind: "mac", macs: [value.toLowerCase()], not });
    else if (word === "--icmp-type" || word === "--icmpv6-type") used = true;
    else if (word === "-m") {
      if (!KNOWN.has(value)) conditions.push({ kind: "other", text: value });
    } else if (word === "-j" || word === "-g") {
      action = target(value, word === "-g");
    } else if (word === "--physdev-is-bridged" || word === "--physdev-is-in") used = false;
    else if (!ONE_VALUE_IGNORED.has(word)) {
      if (word.startsWith("--") && action.kind === "continue") conditions.push({ kind: "other", text: word });
      used = word.startsWith("--") && words[i + 1] !== undefined && !words[i + 1]!.startsWith("-");
    }
    if (used) i++;
    not = false;
  }
  return { conditions: action.kind === "log" ? conditions.filter((c) => c.kind !== "other") : conditions, action };
}

/** Matches whose options are read here, or which say nothing by themselves. */
const KNOWN = new Set([
  "conntrack",
  "state",
  "tcp",
  "udp",
  "sctp",
  "multiport",
  "physdev",
  "mac",
  "comment",
  "icmp",
  "icmp6",
]);

function target(name: string, goes: boolean): Action {
  switch (name) {
    case "ACCEPT":
    // A program decides: it may let it out.
    case "NFQUEUE":
      return { kind: "accept" };
    case "DROP":
    case "REJECT":
      return { kind: "drop" };
    case "RETURN":
      return { kind: "return" };
    case "LOG":
    case "NFLOG":
      return { kind: "log" };
    case "MARK":
    case "CONNMARK":
    case "CHECKSUM":
    case "TCPMSS":
    case "CT":
    case "TRACE":
    case "CLASSIFY":
    case "DSCP":
    case "TOS":
    case "TTL":
      return { kind: "continue" };
    default:
      return { kind: goes ? "goto" : "jump", chain: name };
  }
}

function prefixes(value: string) {
  return value.split(",").flatMap((part) => parsePrefix(part) ?? []);
}

function ports(value: string): PortRange[] {
  return value.split(",").map((part) => {
    const [first = "", last = first] = part.split(":");
    return { first: Number(first || 0), last: Number(last || 65535) };
  });
}

import { isObject, type Json, listOf } from "../parse/json.ts";
import { type NamedSets, nftConditions } from "./nft-conditions.ts";
import { type Action, type BaseChain, type Condition, MAX_RULES, type Rule } from "./rules.ts";

/**
 * The base chains of `nft -j list ruleset` that a guest's packet may cross (libnftables-json(5)). Null: that is no such output. Chains that
 * translate addresses are left out: they let nothing through and stop nothing.
 */
export function parseNft(text: string): BaseChain[] | null {
  const items = itemsOf(text);
  if (items === null) return null;
  const sets: NamedSets = new Map();
  for (const { set, map } of items) {
    const named = set ?? map;
    if (isObject(named)) sets.set(key(named, named.name), { elements: listOf(named.elem), dynamic: isDynamic(named) });
  }
  const tables = new Map<string, Map<string, Rule[]>>();
  const chainsOf = (entry: Json) => {
    const name = key(entry, "");
    const found = tables.get(name) ?? new Map<string, Rule[]>();
    tables.set(name, found);
    return found;
  };
  let count = 0;
  for (const { chain, rule } of items) {
    if (isObject(chain)) chainsOf(chain).set(String(chain.name), chainsOf(chain).get(String(chain.name)) ?? []);
    if (!isObject(rule)) continue;
    const rules = rulesOf(listOf(rule.expr), (name) => sets.get(key(rule, name)) ?? null);
    count += rules.length;
    if (count > MAX_RULES) return null;
    const chains = chainsOf(rule);
    const at = chains.get(String(rule.chain)) ?? [];
    chains.set(String(rule.chain), at);
    at.push(...rules);
  }
  return items.flatMap(({ chain }): BaseChain[] => {
    if (!isObject(chain) || chain.type !== "filter" || typeof chain.hook !== "string") return [];
    const layer = LAYERS.find((l) => l === chain.family);
    if (layer === undefined) return [];
    return [
      {
        title: `nft ${layer} ${String(chain.table)} ${String(chain.name)}`,
        set: { chains: chainsOf(chain) },
        chain: String(chain.name),
        policy: chain.policy === "drop" ? "drop" : "accept",
        layer,
        hook: chain.hook,
        devices: (Array.isArray(chain.dev) ? chain.dev : [chain.dev]).filter((d) => typeof d === "string"),
      },
    ];
  });
}

const LAYERS = ["bridge", "inet", "ip", "ip6", "netdev"] as const;

function itemsOf(text: string): Json[] | null {
  try {
    const document: unknown = JSON.parse(text);
    return isObject(document) && Array.isArray(document.nftables) ? document.nftables.filter(isObject) : null;
  } catch {
    return null;
  }
}

function key(entry: Json, name: unknown): string {
  return `${entry.family} ${entry.table} ${name}`;
}

function isDynamic(set: Json): boolean {
  return set.timeout !== undefined || listOf(set.flags).some((f) => f === "dynamic" || f === "timeout");
}

/** A rule may log and go on, and a match of several fields or a verdict map is several rules. */
function rulesOf(expressions: readonly unknown[], setOf: (name: string) => NamedSet | null): Rule[] {
  let ways: Condition[][] = [[]];
  const limits: Condition[] = [];
  const rules: Rule[] = [];
  for (const expression of expressions) {
    if (!isObject(expression)) continue;
    const [name = "", body] = Object.entries(expression)[0] ?? [];
    if (name === "match" && isObject(body)) {
      const more = nftConditions(body, setOf);
      ways = ways.flatMap((way) => more.map((m) => [...way, ...m])).slice(0, MAX_RULES);
    } else if (name === "limit" || name === "xt" || name === "ct count") {
      limits.push({ kind: "other", text: name });
    } else if (name === "log") {
      rules.push(...ways.map((conditions): Rule => ({ conditions, action: { kind: "log" } })));
    } else if (name === "vmap" && isObject(body)) {
      for (const [value, verdict] of mapElements(body.data, setOf)) {
        const action = actionOf(verdict);
        const more = nftConditions({ op: "==", left: body.key, right: value }, setOf);
        if (action === null) continue;
        rules.push(
          ...ways.flatMap((way) => more.map((m): Rule => ({ conditions: [...way, ...m, ...limits], action }))),
        );
      }
    } else {
      const action = actionOf(expression);
      if (action !== null) rules.push(...ways.map((way): Rule => ({ conditions: [...way, ...limits], action })));
    }
  }
  return rules;
}

interface NamedSet {
  readonly elements: readonly unknown[];
  readonly dynamic: boolean;
}

function mapElements(data: unknown, setOf: (name: string) => NamedSet | null): [unknown, unknown][] {
  const elements =
    typeof data === "string" ? (setOf(data.replace(/^@/, ""))?.elements ?? []) : isObject(data) ? listOf(data.set) : [];
  return elements.flatMap((e) => (Array.isArray(e) && e.length === 2 ? [[e[0], e[1]] as [unknown, unknown]] : []));
}

function actionOf(expression: unknown): Action | null {
  if (!isObject(expression)) return null;
  if ("accept" in expression) return { kind: "accept" };
  if ("drop" in expression || "reject" in expression) return { kind: "drop" };
  if ("return" in expression) return { kind: "return" };
  // What a program in user space decides is not known here: it may let it out.
  if ("queue" in expression) return { kind: "accept" };
  for (const kind of ["jump", "goto"] as const) {
    const target = expression[kind];
    if (isObject(target) && typeof target.target === "string") return { kind, chain: target.target };
  }
  return null;
}

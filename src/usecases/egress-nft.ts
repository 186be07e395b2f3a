import { parsePrefix } from "../audit/net/addresses.ts";
import type { EgressInterface, EgressPeer } from "./egress-documents.ts";

/** The guest's own table: to take it back is to delete it. */
export function tableName(uuid: string): string {
  return `unterbau_egress_${uuid.slice(0, 8)}`;
}

/** `bridge` where a bridge leads outside, else `inet`: what the host forwards. */
export function tableFamily(interfaces: readonly EgressInterface[]): "bridge" | "inet" {
  return interfaces.some((i) => i.way === "bridged") ? "bridge" : "inet";
}

/**
 * A rule set for nft(8): new connections of the guest to anybody but the peers are dropped, of both families. In a table for bridges it stands
 * behind connection tracking (priority -200 there), which bridges have since Linux 5.3.
 */
export function nftRules(
  { guest, uuid }: { readonly guest: string; readonly uuid: string },
  interfaces: readonly EgressInterface[],
  peers: readonly EgressPeer[],
): string {
  const family = tableFamily(interfaces);
  const bridge = family === "bridge";
  const lines = [
    `# What the guest ${words(guest)} may reach; made by unterbau egress plan.`,
    `table ${family} ${tableName(uuid)} {`,
    "\tchain from_guest {",
    `\t\ttype filter hook ${bridge ? "prerouting priority -150" : "forward priority filter"}; policy accept;`,
    `\t\tether saddr { ${interfaces.map((i) => i.mac).join(", ")} } jump guest`,
    "\t}",
    "\tchain guest {",
    "\t\t# answers, and what belongs to a connection that is there",
    "\t\tct state established,related accept",
    ...(bridge ? LINK : []),
    ...peers.flatMap(peerLines),
    "\t\t# all else",
    "\t\tcounter drop",
    "\t}",
    "}",
    "",
  ];
  return lines.join("\n");
}

/** What a link needs: addresses of neighbours, and of the guest itself. */
const LINK = [
  "\t\t# the link itself: ARP, neighbour discovery, DHCP",
  "\t\tether type arp accept",
  "\t\tip6 daddr { fe80::/10, ff02::/16 } icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, mld2-listener-report } accept",
  "\t\tip daddr 255.255.255.255 udp dport 67 accept",
  "\t\tip6 daddr ff02::1:2 udp dport 547 accept",
];

function peerLines({ name, protocol, addresses, looked, ports }: EgressPeer): string[] {
  const all = [...addresses, ...Object.values(looked).flat()];
  const ranges = ports.map(({ first, last }) => (first === last ? String(first) : `${first}-${last}`)).join(", ");
  const names = Object.keys(looked);
  const lines = [`\t\t# ${words(name)}${names.length > 0 ? `: ${names.map(words).join(", ")}` : ""}`];
  for (const [family, key] of [
    [4, "ip"],
    [6, "ip6"],
  ] as const) {
    const own = [...new Set(all.filter((a) => parsePrefix(a)?.family === family))];
    if (own.length > 0) lines.push(`\t\t${key} daddr { ${own.join(", ")} } ${protocol} dport { ${ranges} } accept`);
  }
  return lines;
}

/** Text in a comment: one line, without what could end it. */
export function words(text: string): string {
  return text.replace(/[^\p{L}\p{N} ._@+-]/gu, "_").slice(0, 100);
}

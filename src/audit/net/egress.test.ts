import { spawnSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { parsePrefix, prefixText, rangePrefixes } from "./addresses.ts";
import { egressOf, type Place } from "./egress.ts";
import { parseIptables } from "./iptables.ts";
import { parseNft } from "./nft.ts";
import { type NwFilter, parseNwFilter } from "./nwfilter.ts";

/** What nft itself says of a rule set that it has taken, in a network namespace of its own. */
function nft(text: string) {
  // Ends of chains and tables stand on lines of their own.
  const rules = text
    .replace(/(?<=[;a-z\d}]) \}(?= \}|$)/gm, "\n}")
    .replace(/\} \}$/gm, "}\n}")
    .replace(/; \}/g, ";\n}");
  const { stdout, stderr, status } = spawnSync(
    "unshare",
    ["--user", "--map-root-user", "--net", "sh", "-c", "nft -f - && nft -j list ruleset"],
    { input: rules, encoding: "utf8", env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` } },
  );
  if (status !== 0) throw new Error(stderr);
  return parseNft(stdout)!;
}

const prefixes = (...texts: string[]) => texts.map((t) => parsePrefix(t)!);
const routed: Place = {
  tap: "vnet0",
  bridge: "virbr0",
  way: "routed",
  mac: "52:54:00:00:00:01",
  addresses: prefixes("192.168.122.10"),
  networks: prefixes("192.168.122.1/24"),
  filter: null,
  parameters: new Map(),
  running: true,
  bridgeCalls: { 4: null, 6: null },
};
const bridged: Place = { ...routed, bridge: "br0", way: "bridged", networks: [] };
const host = (chains: ReturnType<typeof nft>, filters: readonly NwFilter[] = []) => ({
  chains,
  whole: true,
  filters: new Map(filters.map((f) => [f.name, f])),
});

describe("nft rules", () => {
  it("see that everything but the peers is dropped", () => {
    const chains = nft(`table inet f {
      set peers { type ipv4_addr; flags interval; elements = { 198.51.100.0/28, 203.0.113.5 } }
      chain forward { type filter hook forward priority 0; policy accept;
        iifname "virbr0" jump guest
      }
      chain guest {
        ct state established,related accept
        ip daddr @peers tcp dport { 25, 465-587 } counter accept
        ip6 daddr 2001:db8::25 tcp dport 25 accept
        drop
      } }`);
    const { v4, v6 } = egressOf(routed, host(chains));
    expect(v4).toMatchObject({ rest: "drop", by: ["nft inet f forward"] });
    expect(v4.accepts).toEqual([
      {
        protocols: ["tcp"],
        destinations: ["198.51.100.0/28", "203.0.113.5"],
        ports: [
          { first: 25, last: 25 },
          { first: 465, last: 587 },
        ],
        dynamic: false,
        unclear: [],
      },
    ]);
    expect(v6.accepts).toMatchObject([{ destinations: ["2001:db8::25"] }]);
  });

  it.each([
    ["another guest's device", `iifname "virbr9" drop`],
    ["another guest's address", `ip saddr 192.168.122.99 drop`],
    ["only some ports", `iifname "virbr0" tcp dport 25 drop`],
    ["replies only", `iifname "virbr0" ct state established drop`],
    ["a limit", `iifname "virbr0" limit rate over 10/second drop`],
    ["what goes to the guest", `oifname "virbr0" drop`],
    ["a return before the end", `iifname "virbr0" return; drop`],
    ["all but a network", `iifname "virbr0" ip daddr != 10.0.0.0/8 accept; iifname "virbr0" drop`],
    ["everything out of the uplink", `oifname "eth0" accept; drop`],
  ])("do not take for closed what stops %s", (_, rules) => {
    const chains = nft(`table inet f { chain forward { type filter hook forward priority 0; policy accept;
${rules.replaceAll(";", "\n")} } }`);
    expect(egressOf(routed, host(chains)).v4.rest).toBe("accept");
  });

  it("follow a return out of a chain that ends with drop", () => {
    const chains = nft(`table inet f {
      chain forward { type filter hook forward priority 0; policy accept; jump guest; }
      chain guest { ip daddr 10.0.0.0/8 return; drop; } }`);
    expect(egressOf(routed, host(chains)).v4).toMatchObject({
      rest: "drop",
      accepts: [{ destinations: ["10.0.0.0/8"], ports: null }],
    });
  });

  it("read verdict maps, concatenations and sets that are filled while they are used", () => {
    const chains = nft(`table inet f {
      set web { type ipv4_addr; flags timeout; }
      set pairs { type ipv4_addr . inet_service; elements = { 192.0.2.1 . 25, 192.0.2.2 . 443 } }
      chain forward { type filter hook forward priority 0; policy drop;
        ct state vmap { established : accept, related : accept, invalid : drop }
        iifname vmap { "virbr0" : jump guest, "virbr1" : accept }
      }
      chain guest {
        ip daddr . tcp dport @pairs accept
        ip daddr @web tcp dport 443 accept
      } }`);
    const { v4, v6 } = egressOf(routed, host(chains));
    expect(v4.rest).toBe("drop");
    expect(v4.accepts.map((a) => [a.destinations, a.ports?.[0]?.first, a.dynamic])).toEqual([
      [["192.0.2.1"], 25, false],
      [["192.0.2.2"], 443, false],
      [[], 443, true],
    ]);
    expect(v6.rest).toBe("drop");
  });

  it("tell that IPv6 is open where only IPv4 is filtered", () => {
    const chains = nft(`table ip f { chain forward { type filter hook forward priority 0; policy drop; } }`);
    expect(egressOf(routed, host(chains))).toMatchObject({ v4: { rest: "drop" }, v6: { rest: "accept" } });
  });

  it("do not count rules for routed packets where a bridge leads outside", () => {
    const chains = nft(`table inet f { chain forward { type filter hook forward priority 0; policy drop; } }`);
    expect(egressOf(bridged, host(chains)).v4.rest).toBe("accept");
    expect(egressOf({ ...bridged, bridgeCalls: { 4: true, 6: false } }, host(chains))).toMatchObject({
      v4: { rest: "drop" },
      v6: { rest: "accept" },
    });
  });

  it("see what a bridge's rules say of senders", () => {
    const table = (rules: string) =>
      nft(`table bridge f { chain prerouting { type filter hook prerouting priority 0; policy accept;\n${rules}\n} }`);
    const mac = `iifname "vnet0" ether saddr != 52:54:00:00:00:01 drop`;
    const ip = `iifname "vnet0" ip saddr != 192.168.122.10 drop`;
    const senders = (rules: string) => {
      const { foreignMac, foreignAddress } = egressOf(bridged, host(table(rules)));
      return [foreignMac, foreignAddress];
    };
    expect(senders(mac)).toEqual(["stopped", "passes"]);
    expect(senders(ip)).toEqual(["passes", "stopped"]);
    expect(senders(`${mac}\n${ip}`)).toEqual(["stopped", "stopped"]);
    expect(senders(`${mac.replace("vnet0", "vnet7")}`)).toEqual(["passes", "passes"]);
  });

  it("prove nothing when the guest's device has no name yet", () => {
    const chains = nft(`table bridge f { chain forward { type filter hook forward priority 0; policy accept;
      iifname "vnet0" drop } }`);
    expect(egressOf({ ...bridged, tap: null, running: false }, host(chains)).v4.rest).toBe("accept");
  });

  it("end with too many ways through the rules", () => {
    const jump = (i: number, n: number) => ({
      conditions: [{ kind: "other" as const, text: `${i} ${n}` }],
      action: { kind: "jump" as const, chain: `c${i + 1}` },
    });
    const chains = new Map(Array.from({ length: 30 }, (_, i) => [`c${i}`, [jump(i, 1), jump(i, 2)]] as const));
    const base = { title: "", set: { chains }, chain: "c0", policy: "drop" as const, layer: "inet" as const };
    expect(egressOf(routed, host([{ ...base, hook: "forward", devices: [] }])).v4.rest).toBe("unclear");
  });
});

// iptables 1.8.9, `iptables-save` of a host with libvirt 9.0.0's network "default" (shortened to the chains that matter).
const LIBVIRT = `# Generated by iptables-save v1.8.9 on Tue Nov 24 19:00:00 2026
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:LIBVIRT_FWI - [0:0]
:LIBVIRT_FWO - [0:0]
:LIBVIRT_FWX - [0:0]
-A FORWARD -j LIBVIRT_FWX
-A FORWARD -j LIBVIRT_FWI
-A FORWARD -j LIBVIRT_FWO
-A LIBVIRT_FWI -d 192.168.122.0/24 -o virbr0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A LIBVIRT_FWI -o virbr0 -j REJECT --reject-with icmp-port-unreachable
-A LIBVIRT_FWO -s 192.168.122.0/24 -i virbr0 -j ACCEPT
-A LIBVIRT_FWO -i virbr0 -j REJECT --reject-with icmp-port-unreachable
-A LIBVIRT_FWX -i virbr0 -o virbr0 -j ACCEPT
COMMIT
`;

describe("iptables rules", () => {
  const v4 = (text: string, place: Place = routed) => egressOf(place, host(parseIptables(text, 4)!)).v4;

  it("of libvirt's network let everything out", () => {
    expect(v4(LIBVIRT).rest).toBe("accept");
  });

  it("close when a rule before libvirt's drops", () => {
    const closed = LIBVIRT.replace(
      "-A FORWARD -j LIBVIRT_FWX",
      `-A FORWARD -i virbr0 -d 198.51.100.7/32 -p tcp -m multiport --dports 25,465:587 -m comment --comment "the provider" -j ACCEPT
-A FORWARD -i virbr0 -j LOG --log-prefix "egress "
-A FORWARD -i virbr0 -j DROP
-A FORWARD -j LIBVIRT_FWX`,
    );
    expect(v4(closed)).toMatchObject({
      rest: "drop",
      accepts: [
        { protocols: ["tcp"], destinations: ["198.51.100.7"], ports: [{ first: 25 }, { first: 465, last: 587 }] },
      ],
    });
    expect(v4(closed.replaceAll("-i virbr0 -j DROP", "! -i virbr0 -j DROP")).rest).toBe("accept");
  });

  it("that are not understood prove nothing", () => {
    const by = LIBVIRT.replace("-A FORWARD -j LIBVIRT_FWX", "-A FORWARD -i virbr0 -m owner --uid-owner 7 -j DROP");
    expect(v4(by).rest).toBe("accept");
    const accept = `*filter\n:FORWARD DROP [0:0]\n-A FORWARD -m set --match-set peers dst -j ACCEPT\nCOMMIT\n`;
    expect(v4(accept).rest).toBe("unclear");
  });

  it("for a port count only where frames are shown to them", () => {
    const text = `*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -m physdev --physdev-in vnet0 -j DROP\nCOMMIT\n`;
    expect(v4(text).rest).toBe("accept");
    expect(v4(text, { ...bridged, bridgeCalls: { 4: true, 6: true } }).rest).toBe("drop");
  });
});

/** Filters of libvirt 9.0.0 (Debian, libvirt-daemon-config-nwfilter), without comments. */
const FILTERS = [
  `<filter name='no-mac-spoofing' chain='mac' priority='-800'><rule direction='out' action='return'><mac srcmacaddr='$MAC'/></rule>
   <rule direction='out' action='drop'><mac/></rule></filter>`,
  `<filter name='no-ip-spoofing' chain='ipv4-ip' priority='-710'>
   <rule action='return' direction='out' priority='100'><ip srcipaddr='0.0.0.0' protocol='udp'/></rule>
   <rule direction='out' action='return' priority='500'><ip srcipaddr='$IP'/></rule>
   <rule direction='out' action='drop' priority='1000'/></filter>`,
  `<filter name='allow-incoming-ipv4' chain='ipv4'><rule direction='in' action='accept'/></filter>`,
  `<filter name='no-other-l2-traffic'><rule action='drop' direction='inout' priority='1000'/></filter>`,
  `<filter name='clean-traffic' chain='root'><filterref filter='no-mac-spoofing'/><filterref filter='no-ip-spoofing'/>
   <rule direction='out' action='accept' priority='-650'><mac protocolid='ipv4'/></rule><filterref filter='allow-incoming-ipv4'/>
   <rule action='accept' direction='inout' priority='-500'><mac protocolid='arp'/></rule><filterref filter='no-other-l2-traffic'/></filter>`,
  `<filter name='only-mail' chain='root'><filterref filter='clean-traffic'/>
   <rule action='accept' direction='out' priority='100'><tcp dstipaddr='$PEERS' dstportstart='25'/></rule>
   <rule action='drop' direction='out' priority='1000'><all/></rule></filter>`,
].map(parseNwFilter);

describe("libvirt's filters", () => {
  const at = (filter: string, more: Partial<Place> = {}) => {
    const parameters = new Map([
      ["MAC", [bridged.mac]],
      ["IP", ["192.168.122.10"]],
      ["PEERS", ["198.51.100.7", "198.51.100.8"]],
    ]);
    return egressOf({ ...bridged, filter, parameters, bridgeCalls: { 4: true, 6: true }, ...more }, host([], FILTERS));
  };

  it("stop forged senders and IPv6, and let out IPv4, with clean-traffic", () => {
    expect(at("clean-traffic")).toMatchObject({
      v4: { rest: "accept" },
      v6: { rest: "drop" },
      foreignMac: "stopped",
      foreignAddress: "stopped",
    });
    expect(at("no-mac-spoofing")).toMatchObject({ foreignMac: "stopped", foreignAddress: "passes" });
  });

  it("learn the address when none is given", () => {
    expect(at("clean-traffic", { parameters: new Map([["MAC", [bridged.mac]]]) })).toMatchObject({
      v4: { rest: "accept" },
      foreignAddress: "stopped",
    });
  });

  it("of IP protocols are read with their lists", () => {
    expect(at("only-mail").v4).toMatchObject({
      rest: "drop",
      accepts: [
        { protocols: ["tcp"], destinations: ["198.51.100.7", "198.51.100.8"], ports: [{ first: 25, last: 25 }] },
      ],
    });
  });

  it("of IP protocols do nothing where frames are not shown to iptables", () => {
    expect(at("only-mail", { bridgeCalls: { 4: false, 6: false } }).v4.rest).toBe("accept");
  });

  it("that are not known prove nothing", () => {
    expect(at("gone").v4.rest).toBe("unclear");
  });
});

describe("ways past all filters", () => {
  it("are open, and ways to nowhere closed", () => {
    expect(egressOf({ ...routed, way: "bypass" }, host([])).v4.rest).toBe("accept");
    expect(egressOf({ ...routed, way: "isolated" }, host([])).v6.rest).toBe("drop");
    expect(egressOf(routed, { ...host([]), whole: false }).v4.rest).toBe("unclear");
  });
});

describe("addresses", () => {
  it.each([
    ["192.0.2.77/24", "192.0.2.0/24"],
    ["192.0.2.0/255.255.255.128", "192.0.2.0/25"],
    ["2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
    ["::ffff:192.0.2.1", "::ffff:c000:201"],
    ["fe80::1%eth0", "fe80::1"],
  ])("read %s as %s", (text, expected) => {
    expect(prefixText(parsePrefix(text)!)).toBe(expected);
  });

  it.each([
    "mx.example",
    "1.2.3",
    "1.2.3.256",
    "192.0.2.0/33",
    "1::2::3",
    "192.0.2.0/255.0.255.0",
    ":",
    "1:2:3:4:5:6:7:8:9",
  ])("refuse %s", (text) => {
    expect(parsePrefix(text)).toBeNull();
  });

  it("of a range are the fewest networks", () => {
    expect(rangePrefixes("192.0.2.1", "192.0.2.6")!.map(prefixText)).toEqual([
      "192.0.2.1",
      "192.0.2.2/31",
      "192.0.2.4/31",
      "192.0.2.6",
    ]);
    expect(rangePrefixes("0.0.0.0", "255.255.255.255")!.map(prefixText)).toEqual(["0.0.0.0/0"]);
  });
});

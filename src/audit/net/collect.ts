import type { AuditGuest, CheckContext, CommandResult, HostReader } from "../model.ts";
import { type GuestInterface, parseDevices, parseNetwork, type VirtualNetwork } from "../parse/devices.ts";
import { dumpxml, VIRSH } from "../storage/domains.ts";
import { parsePrefix } from "./addresses.ts";
import { egressOf, type Families, type Host, type Place } from "./egress.ts";
import { parseIptables } from "./iptables.ts";
import { parseNft } from "./nft.ts";
import { type NwFilter, parseNwFilter } from "./nwfilter.ts";
import type { BaseChain } from "./rules.ts";

export interface EgressFacts {
  /** Null: the guest's definition could not be read. */
  readonly interfaces: readonly InterfaceFacts[] | null;
  /** Network cards of the host's that the guest has for itself: PCI addresses. */
  readonly cards: readonly string[];
  /** What could not be asked: programs. */
  readonly missing: readonly string[];
  /** All hosts' routing of IPv6 is off. */
  readonly forwards6: boolean | null;
}

export interface InterfaceFacts extends Families {
  /** Its device, else its MAC address. */
  readonly name: string;
  readonly type: string;
  readonly source: string | null;
  /** `bypass`: past every filter of the host's; `isolated`: its network leads nowhere. */
  readonly way: Way;
  /** Networks that its bridge has, as `192.168.122.0/24`: no way outside. */
  readonly own: readonly string[];
  readonly filter: string | null;
  /** Libvirt says that the filter is in force; null: not asked, or the guest does not run. */
  readonly bound: boolean | null;
  /** Guests on the same network or bridge. */
  readonly neighbours: readonly string[];
  readonly isolated: boolean;
  /** `disable_ipv6` of its bridge. */
  readonly noIpv6: boolean | null;
}

export type Way = "routed" | "bridged" | "bypass" | "isolated" | "down" | "unclear";

const MAX_FILTERS = 500;
/** Libvirt's names of how a network leads outside, by what that is here (libvirt, "Network XML format"). */
const ROUTED = ["nat", "route", "open"];

/** What the host lets out of the guest, for each of its interfaces. */
export async function collectEgress({ host, guest, guests }: CheckContext): Promise<EgressFacts> {
  const xml = guest === null ? null : await text(host, dumpxml(guest.uuid, false));
  const devices = xml === null ? null : attempt(() => parseDevices(xml));
  if (guest === null || devices === null) return { interfaces: null, cards: [], missing: [], forwards6: null };
  const networks = await networksOf(host, devices.interfaces);
  const missing: string[] = [];
  const [chains, filters, bindings, neighbours, forwards, cards] = await Promise.all([
    hostChains(host, missing),
    filtersOf(host, devices.interfaces),
    bindingsOf(host),
    otherInterfaces(host, guests ?? [], guest),
    host.file("/proc/sys/net/ipv6/conf/all/forwarding"),
    cardsOf(host, devices.hostDevices),
  ]);
  const told: Host = { chains: chains.chains, whole: chains.whole, filters };
  const running = guest.state === "running" || guest.state === "paused";
  const interfaces = await Promise.all(
    devices.interfaces.map((one) => factsOf(one, { host, told, networks, bindings, neighbours, running })),
  );
  return { interfaces, cards, missing, forwards6: flag(forwards) };
}

interface Known {
  readonly host: HostReader;
  readonly told: Host;
  readonly networks: ReadonlyMap<string, VirtualNetwork>;
  readonly bindings: readonly string[] | null;
  readonly neighbours: readonly { readonly guest: string; readonly link: string | null }[];
  readonly running: boolean;
}

async function factsOf(one: GuestInterface, known: Known): Promise<InterfaceFacts> {
  const { host, networks, running } = known;
  const network = one.type === "network" ? (networks.get(one.source ?? "") ?? null) : null;
  const bridge = one.type === "bridge" ? one.source : (network?.bridge ?? null);
  const ports = bridge === null ? null : await uplinks(host, bridge);
  const way = wayOf(one, network, ports);
  const [four, six, off] = await Promise.all([
    host.file("/proc/sys/net/bridge/bridge-nf-call-iptables"),
    host.file("/proc/sys/net/bridge/bridge-nf-call-ip6tables"),
    bridge === null ? null : host.file(`/proc/sys/net/ipv6/conf/${bridge}/disable_ipv6`),
  ]);
  const own = (network?.addresses ?? []).flatMap((a) => parsePrefix(a) ?? []);
  const reserved = (network?.hosts ?? []).filter((h) => h.mac === one.mac).map((h) => h.address);
  const given = [...(one.parameters.IP ?? []), ...(one.parameters.IPV6 ?? []), ...reserved];
  const addresses = given.flatMap((a) => parsePrefix(a) ?? []);
  const place: Place = {
    tap: one.tap,
    bridge,
    way,
    mac: one.mac ?? "",
    addresses,
    networks: own,
    filter: one.filter,
    parameters: new Map(Object.entries({ MAC: [one.mac ?? ""], ...one.parameters })),
    running,
    bridgeCalls: { 4: flag(four), 6: flag(six) },
  };
  const link = linkOf(one, network);
  return {
    name: one.tap ?? one.mac ?? "?",
    type: one.type,
    source: one.source,
    way,
    own: (network?.addresses ?? []).map(String),
    filter: one.filter,
    bound:
      one.filter === null || !running || known.bindings === null || one.tap === null
        ? null
        : known.bindings.includes(one.tap),
    neighbours: [...new Set(known.neighbours.filter((n) => n.link !== null && n.link === link).map((n) => n.guest))],
    isolated: one.isolated,
    noIpv6: off === null ? null : flag(off),
    ...egressOf(place, known.told),
  };
}

function wayOf(one: GuestInterface, network: VirtualNetwork | null, ports: readonly string[] | null): Way {
  if (one.linkDown) return "down";
  if (one.type === "bridge") return ports === null || ports.length > 0 ? "bridged" : "routed";
  if (one.type !== "network") return one.type === "ethernet" ? "unclear" : "bypass";
  if (network === null) return "unclear";
  if (network.direct) return "bypass";
  if (network.forward === null) return "isolated";
  if (ROUTED.includes(network.forward)) return "routed";
  return network.forward === "bridge" && network.bridge !== null ? "bridged" : "bypass";
}

/** Ports of a bridge that are devices and no guests' taps: they lead out of the host. Null: not known. */
async function uplinks(host: HostReader, bridge: string): Promise<string[] | null> {
  const ports = await host.list(`/sys/class/net/${bridge}/brif`);
  if (ports === null) return null;
  const taps = await Promise.all(ports.map((p) => host.file(`/sys/class/net/${p}/tun_flags`)));
  return ports.filter((_, i) => taps[i]?.kind !== "text");
}

function linkOf(one: GuestInterface, network: VirtualNetwork | null): string | null {
  return one.type === "bridge" ? one.source : (network?.bridge ?? one.source);
}

async function otherInterfaces(host: HostReader, guests: readonly AuditGuest[], self: AuditGuest) {
  const found = await Promise.all(
    guests
      .filter((g) => g.uuid !== self.uuid)
      .map(async (other) => {
        const xml = await text(host, dumpxml(other.uuid, false));
        const devices = xml === null ? null : attempt(() => parseDevices(xml));
        const networks = await networksOf(host, devices?.interfaces ?? []);
        return (devices?.interfaces ?? []).map((one) => ({
          guest: other.name,
          link: linkOf(one, one.type === "network" ? (networks.get(one.source ?? "") ?? null) : null),
        }));
      }),
  );
  return found.flat();
}

async function networksOf(host: HostReader, interfaces: readonly GuestInterface[]) {
  const names = [...new Set(interfaces.flatMap((i) => (i.type === "network" && i.source !== null ? [i.source] : [])))];
  const found = new Map<string, VirtualNetwork>();
  for (const name of names) {
    const xml = await text(host, [...VIRSH, "net-dumpxml", `--network=${name}`]);
    const network = xml === null ? null : attempt(() => parseNetwork(xml));
    if (network !== null) found.set(name, network);
  }
  return found;
}

async function filtersOf(host: HostReader, interfaces: readonly GuestInterface[]) {
  const found = new Map<string, NwFilter>();
  const todo = interfaces.flatMap((i) => i.filter ?? []);
  const seen = new Set<string>();
  for (let name = todo.pop(); name !== undefined && seen.size < MAX_FILTERS; name = todo.pop()) {
    if (seen.has(name)) continue;
    seen.add(name);
    const xml = await text(host, [...VIRSH, "nwfilter-dumpxml", `--nwfilter=${name}`]);
    const filter = xml === null ? null : attempt(() => parseNwFilter(xml));
    if (filter === null) continue;
    found.set(name, filter);
    todo.push(...filter.refs);
  }
  return found;
}

/** Devices that have a filter in force: the first column of virsh's table. */
async function bindingsOf(host: HostReader): Promise<string[] | null> {
  const table = await text(host, [...VIRSH, "nwfilter-binding-list"]);
  return table === null ? null : table.split("\n").flatMap((line) => /^\s*(\S+)\s+\S/.exec(line)?.[1] ?? []);
}

/** `whole`: nothing of the host's rules stayed unread. */
async function hostChains(host: HostReader, missing: string[]): Promise<{ chains: BaseChain[]; whole: boolean }> {
  const [nft, four, six] = await Promise.all([
    host.run(["nft", "-j", "list", "ruleset"]),
    host.run(["iptables-save"]),
    host.run(["ip6tables-save"]),
  ]);
  const read = (
    result: CommandResult,
    parse: (out: string) => BaseChain[] | null,
    program: string,
  ): BaseChain[] | null => {
    const chains = result.kind === "ran" && result.exit === 0 ? parse(result.stdout) : null;
    if (chains === null) missing.push(program);
    return chains;
  };
  const rules = read(nft, parseNft, "nft");
  // iptables is but another way to write rules: where it is not installed, nft tells of all.
  const old = [
    four.kind === "missing" ? [] : read(four, (out) => parseIptables(out, 4), "iptables-save"),
    six.kind === "missing" ? [] : read(six, (out) => parseIptables(out, 6), "ip6tables-save"),
  ];
  // The same rules twice: nft shows those of iptables, but not all that they match.
  const translated = [four, six].flatMap((r, i) =>
    r.kind === "ran" && r.exit === 0 && r.stdout.includes("(nf_tables)") ? [i === 0 ? "ip" : "ip6"] : [],
  );
  const own = (rules ?? []).filter(
    ({ layer, title }) => !(translated.includes(layer) && /^nft ip6? (filter|mangle|raw|security) /.test(title)),
  );
  return { chains: [...own, ...old.flatMap((c) => c ?? [])], whole: missing.length === 0 };
}

/** PCI class 02: network controllers. */
async function cardsOf(host: HostReader, devices: readonly { readonly kind: string; readonly address: string }[]) {
  const found: string[] = [];
  for (const { kind, address } of devices) {
    if (kind !== "pci") continue;
    const file = await host.file(`/sys/bus/pci/devices/${address}/class`);
    if (file.kind === "text" && file.text.trim().toLowerCase().startsWith("0x02")) found.push(address);
  }
  return found;
}

async function text(host: HostReader, argv: readonly string[]): Promise<string | null> {
  const result = await host.run(argv);
  return result.kind === "ran" && result.exit === 0 ? result.stdout : null;
}

function flag(file: { readonly kind: string; readonly text?: string }): boolean | null {
  return file.kind === "text" ? file.text?.trim() === "1" : null;
}

function attempt<T>(parse: () => T): T | null {
  try {
    return parse();
  } catch {
    return null;
  }
}

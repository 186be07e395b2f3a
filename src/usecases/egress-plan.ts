import { resolve4, resolve6 } from "node:dns/promises";
import { declaredPart } from "../audit/declared.ts";
import { parsePrefix, prefixText } from "../audit/net/addresses.ts";
import { type Peer, peersOf } from "../audit/net/peers.ts";
import { type GuestInterface, parseDevices, parseNetwork } from "../audit/parse/devices.ts";
import { StorageError } from "../core/errors.ts";
import { egressFilterXml, type FilterPeer } from "../libvirt/egress-xml.ts";
import { virsh } from "../tools/virsh.ts";
import { readDeclared } from "./audit-rules.ts";
import type { EgressInterface, EgressPeer, EgressPlanDocument } from "./egress-documents.ts";
import { nftRules } from "./egress-nft.ts";
import { findGuest, type Guest } from "./guests.ts";

export interface EgressOptions {
  readonly guest: string;
  readonly format: "nwfilter" | "nft";
  /** The file that declares peers. */
  readonly scope: string;
  readonly connect?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface EgressPlan {
  readonly guest: Guest;
  readonly document: EgressPlanDocument;
}

/** Libvirt's ways of a network that the host forwards. */
const ROUTED = ["nat", "route", "open"];
const MAX_RULES = 5000;

export function filterName(guest: string): string {
  return `unterbau-egress-${guest.replace(/[^A-Za-z0-9._-]/g, "_")}`;
}

/** The rules for a guest's declared peers. Throws `usage` when nothing, or nothing that can be understood, is declared. */
export async function planEgress(options: EgressOptions): Promise<EgressPlan> {
  const { format, signal } = options;
  const guest = await findGuest(options.guest, options);
  const declared = declaredPart(readDeclared(options.scope), "egress");
  if (declared.kind === "wrong")
    throw new StorageError("usage", `${options.scope}, ${declared.where}: ${declared.why}`, { hint: HINT });
  const own =
    declared.kind === "said" && Object.hasOwn(declared.value, guest.name) ? declared.value[guest.name] : undefined;
  if (own === undefined)
    throw new StorageError("usage", `${options.scope} declares nothing of what ${guest.name} may reach`, {
      hint: HINT,
    });
  const xml = await virsh(["dumpxml", `--domain=${guest.uuid}`], { uri: guest.uri, readOnly: true, signal });
  const interfaces = await Promise.all(parseDevices(xml).interfaces.map((i) => interfaceOf(i, guest, signal)));
  if (interfaces.length === 0)
    throw new StorageError("usage", `the guest ${guest.name} has no network interface`, { layer: "libvirt" });
  const peers = await Promise.all(peersOf(own).map(lookUp));
  const ports = peers.flatMap((p) => [...p.addresses, ...Object.values(p.looked).flat()].flatMap(() => p.ports));
  if (ports.length > MAX_RULES) throw new StorageError("limit", `these are more than ${MAX_RULES} rules`);
  const about = { guest: guest.name, uuid: guest.uuid };
  const document: EgressPlanDocument = {
    schema: "unterbau/egress/1",
    ...about,
    format,
    peers,
    interfaces,
    rules:
      format === "nft"
        ? nftRules(about, interfaces, peers)
        : egressFilterXml(filterName(guest.name), peers.flatMap(filterPeers), {
            address: interfaces.every((i) => i.knownAddress),
          }),
    notes: notesOf(interfaces, peers, format),
    run: null,
  };
  return { guest, document };
}

const HINT = "docs/audit-scope.md shows how `egress` is written";

async function interfaceOf(
  one: GuestInterface,
  guest: Guest,
  signal: AbortSignal | undefined,
): Promise<EgressInterface> {
  const refuse = (why: string) =>
    new StorageError("unsupported", `${one.mac ?? "an interface"} of ${guest.name} ${why}`, {
      layer: "libvirt",
      feature: `egress of ${one.type}`,
      hint: "put it on a bridge or a network of libvirt's first",
    });
  if (one.mac === null) throw refuse("has no address yet");
  const base = { mac: one.mac, knownAddress: one.parameters.IP !== undefined };
  if (one.type === "bridge") return { ...base, way: "bridged" };
  if (one.type !== "network" || one.source === null) throw refuse("goes past every filter of the host");
  const network = parseNetwork(
    await virsh(["net-dumpxml", `--network=${one.source}`], { uri: guest.uri, readOnly: true, signal }),
  );
  if (network.direct || (network.forward === "bridge" && network.bridge === null))
    throw refuse("goes past every filter of the host");
  return { ...base, way: network.forward === null || ROUTED.includes(network.forward) ? "routed" : "bridged" };
}

/** Names become the addresses that they have now. Throws `io` when one has none: a rule would silently be missing. */
async function lookUp({ name, protocol, prefixes, names, ports }: Peer): Promise<EgressPeer> {
  const looked: Record<string, readonly string[]> = {};
  for (const host of names) {
    const found = await Promise.allSettled([resolve4(host), resolve6(host)]);
    const all = found.flatMap((f) => (f.status === "fulfilled" ? f.value : [])).filter((a) => parsePrefix(a) !== null);
    if (all.length === 0)
      throw new StorageError("io", `the name ${host} of ${name} cannot be looked up`, {
        hint: "declare addresses in its place",
      });
    looked[host] = all.sort();
  }
  return { name, protocol, addresses: prefixes.map(prefixText), looked, ports };
}

function filterPeers({ name, protocol, addresses, looked, ports }: EgressPeer): FilterPeer[] {
  return [...new Set([...addresses, ...Object.values(looked).flat()])].flatMap((text) => {
    const prefix = parsePrefix(text);
    if (prefix === null) return [];
    const whole = prefix.length === (prefix.family === 4 ? 32 : 128);
    const address = prefixText(prefix).replace(/\/\d+$/, "");
    const bits = whole ? null : prefix.length;
    return ports.map(({ first, last }) => ({ name, protocol, family: prefix.family, address, bits, first, last }));
  });
}

function notesOf(
  interfaces: readonly EgressInterface[],
  peers: readonly EgressPeer[],
  format: "nwfilter" | "nft",
): string[] {
  const notes: string[] = [];
  if (peers.length === 0) notes.push("no peers are declared: the guest reaches nothing");
  const names = peers.flatMap((p) => Object.keys(p.looked));
  if (names.length > 0)
    notes.push(
      `addresses of names are those of now, and change: ${[...new Set(names)].join(", ")}; plan again when they did`,
    );
  if (format === "nft")
    notes.push("a guest that forges its MAC address is not met by these rules; --format nwfilter stops that");
  if (format === "nft" && interfaces.some((i) => i.way === "bridged"))
    notes.push("connection tracking on bridges needs Linux 5.3 or newer");
  if (format === "nwfilter" && interfaces.some((i) => !i.knownAddress))
    notes.push(
      "the guest's own address is not given (parameter IP of its filterref), so forged IP senders are not refused",
    );
  return notes;
}

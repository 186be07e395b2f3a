import { printable } from "../bytes/text.ts";
import { StorageError } from "../core/errors.ts";
import { type Domain, parseDomain } from "../libvirt/domain.ts";
import { virsh } from "../tools/virsh.ts";

/** virsh domstate(1): what a guest is doing. Only `shut off` leaves its disks alone. */
export type GuestState =
  | "running"
  | "idle"
  | "paused"
  | "in shutdown"
  | "shut off"
  | "crashed"
  | "pmsuspended"
  | "no state";

/** A libvirt domain as it was a moment ago. */
export interface Guest {
  readonly name: string;
  readonly uuid: string;
  /** For `--connect`; null: virsh's own default. */
  readonly uri: string | null;
  readonly state: GuestState;
  /** Its memory is kept on the host's disk and will be loaded at the next start: it then knows the disks as they are now. */
  readonly managedSave: boolean;
  /** Defined: it is still known to libvirt when it is off. */
  readonly persistent: boolean;
  readonly domain: Domain;
}

export interface GuestOptions {
  /** A connection URI that the user named. */
  readonly connect?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** The guest's name or UUID of a source `vm:…`, else null. */
export function guestOf(source: string): string | null {
  return source.startsWith("vm:") ? source.slice("vm:".length) : null;
}

/**
 * The connections to look at. virsh decides where the user or the environment named one, and for root. Others have guests of their own
 * (qemu:///session) and often those of the system as well, which virsh would look for only when told so.
 */
export function connections(
  connect: string | undefined,
  environment: NodeJS.ProcessEnv = process.env,
): (string | null)[] {
  if (connect !== undefined) return [connect];
  const named = environment.VIRSH_DEFAULT_CONNECT_URI || environment.LIBVIRT_DEFAULT_URI;
  return named || process.getuid?.() === 0 ? [null] : ["qemu:///system", "qemu:///session"];
}

export interface GuestList {
  readonly guests: readonly { readonly uuid: string; readonly name: string; readonly uri: string | null }[];
  /** Connections that could not be made; another one could. */
  readonly failures: readonly StorageError[];
}

/** All guests of all connections, in libvirt's order. Throws the first failure when no connection can be made. */
export async function listGuests({ connect, signal }: GuestOptions): Promise<GuestList> {
  const guests: { uuid: string; name: string; uri: string | null }[] = [];
  const failures: StorageError[] = [];
  const uris = connections(connect);
  for (const uri of uris) {
    try {
      const text = await virsh(["list", "--all", "--uuid", "--name"], { uri, readOnly: true, signal });
      guests.push(...text.split("\n").flatMap((line) => parseLine(line, uri)));
    } catch (error) {
      if (!(error instanceof StorageError) || error.code === "cancelled" || error.code === "unsupported") throw error;
      failures.push(error);
    }
  }
  if (failures.length === uris.length) throw failures[0]!;
  return { guests, failures };
}

/** `UUID NAME`; a name may hold spaces. */
function parseLine(line: string, uri: string | null): { uuid: string; name: string; uri: string | null }[] {
  const match = /^\s*([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\s(.*)$/.exec(line);
  return match ? [{ uuid: match[1]!, name: match[2]!.trim(), uri }] : [];
}

/** Finds one guest by its name or UUID. Throws `usage` for none or several of that name. */
export async function findGuest(name: string, options: GuestOptions): Promise<Guest> {
  if (name === "") throw new StorageError("usage", "vm: names no guest", { hint: "unterbau list shows them" });
  const { guests, failures } = await listGuests(options);
  const wanted = name.toLowerCase();
  // A name comes first: somebody could call a guest by another one's UUID, but then says which by the UUID of that.
  const named = guests.filter((g) => g.name === name);
  const found = named.length > 0 ? named : guests.filter((g) => g.uuid === wanted);
  const [first, ...others] = found;
  if (first && others.length === 0) return readGuest(first, options);
  if (first) {
    throw new StorageError("usage", `there are several guests called ${printable(name)}`, {
      layer: "libvirt",
      hint: `say which connection with --connect: ${found.map((g) => g.uri).join(", ")}`,
    });
  }
  const names = guests.map((g) => printable(g.name));
  const hint = names.length === 0 ? "no guest is defined there" : `there are: ${names.slice(0, 20).join(", ")}`;
  const unreached = failures.map((f) => `; ${f.message}`).join("");
  throw new StorageError("usage", `there is no guest ${printable(name)}`, { layer: "libvirt", hint: hint + unreached });
}

/** State and definition of a guest: that with which it runs, or that with which it will be started. */
export async function readGuest(
  { uuid, name, uri }: { readonly uuid: string; readonly name: string; readonly uri: string | null },
  { signal }: GuestOptions,
): Promise<Guest> {
  const ask = (command: string, ...more: string[]) =>
    virsh([command, `--domain=${uuid}`, ...more], { uri, readOnly: true, signal });
  const [info, xml] = await Promise.all([ask("dominfo"), ask("dumpxml")]);
  const value = (key: string) => new RegExp(`^${key}: *(.*)$`, "m").exec(info)?.[1]?.trim() ?? "";
  const domain = parseDomain(xml);
  return {
    name: domain.name || name,
    uuid,
    uri,
    state: value("State") as GuestState,
    managedSave: value("Managed save") === "yes",
    persistent: value("Persistent") !== "no",
    domain,
  };
}

/** Throws `locked` unless the guest is off: whatever else it does, QEMU has its disks. */
export function refuseUnlessOff(guest: Guest): void {
  if (guest.state === "shut off") return;
  throw new StorageError("locked", `the guest ${printable(guest.name)} is ${guest.state}`, {
    layer: "libvirt",
    hint: hintFor(guest),
  });
}

function hintFor({ state, name }: Guest): string {
  const guest = printable(name);
  switch (state) {
    case "paused":
      return `QEMU still has its disks: resume it (virsh resume ${guest}) and shut it down, then repeat`;
    case "pmsuspended":
      return `QEMU still has its disks: wake it up (virsh dompmwakeup ${guest}) and shut it down, then repeat`;
    case "crashed":
      return `QEMU still has its disks: end it with virsh destroy ${guest}, then repeat`;
    case "in shutdown":
      return "wait until it is off, then repeat";
    default:
      return `shut it down (virsh shutdown ${guest}); check vm:${guest} does it with --shutdown, or looks without stopping it with --live`;
  }
}

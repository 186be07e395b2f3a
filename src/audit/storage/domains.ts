import { type Domain, parseDomain } from "../../libvirt/domain.ts";
import type { HostReader } from "../model.ts";

/** A guest as libvirt tells of it. */
export interface ListedGuest {
  readonly name: string;
  readonly uuid: string;
  readonly state: string;
  readonly autostart: boolean | null;
  readonly managedSave: boolean;
  /** The definition that it runs with, and the one that it will be started with; null: not told, or not understood. */
  readonly live: Domain | null;
  readonly inactive: Domain | null;
}

/** More guests than a host has. */
const MAX_GUESTS = 1000;
/** Every question to libvirt begins so: a connection that can change nothing. */
export const VIRSH = ["virsh", "--quiet", "--readonly"];

export function dumpxml(uuid: string, inactive: boolean): string[] {
  return [...VIRSH, "dumpxml", `--domain=${uuid}`, ...(inactive ? ["--inactive"] : [])];
}

/** Null: libvirt was not reached. */
export async function listDomains(host: HostReader): Promise<ListedGuest[] | null> {
  const list = await host.run([...VIRSH, "list", "--all", "--uuid", "--name"]);
  if (list.kind === "missing" || list.exit !== 0) return null;
  const guests = list.stdout.split("\n").flatMap((line) => {
    const match = /^\s*([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\s(.*)$/.exec(line);
    return match ? [{ uuid: match[1]!, name: match[2]!.trim() }] : [];
  });
  return Promise.all(guests.slice(0, MAX_GUESTS).map((guest) => readDomain(host, guest)));
}

async function readDomain(host: HostReader, { uuid, name }: { uuid: string; name: string }): Promise<ListedGuest> {
  const [info, live, inactive] = await Promise.all([
    host.run([...VIRSH, "dominfo", `--domain=${uuid}`]),
    host.run(dumpxml(uuid, false)),
    host.run(dumpxml(uuid, true)),
  ]);
  const text = info.kind === "ran" && info.exit === 0 ? info.stdout : "";
  const value = (key: string) => new RegExp(`^${key}: *(.*)$`, "m").exec(text)?.[1]?.trim() ?? null;
  const autostart = value("Autostart");
  return {
    name,
    uuid,
    state: value("State") ?? "unknown",
    autostart: autostart === null ? null : autostart === "enable",
    managedSave: value("Managed save") === "yes",
    live: domainOf(live),
    inactive: domainOf(inactive),
  };
}

function domainOf(result: Awaited<ReturnType<HostReader["run"]>>): Domain | null {
  if (result.kind === "missing" || result.exit !== 0) return null;
  try {
    return parseDomain(result.stdout);
  } catch {
    return null;
  }
}

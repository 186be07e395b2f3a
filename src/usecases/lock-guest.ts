import { printable } from "../bytes/text.ts";
import { describeError, StorageError } from "../core/errors.ts";
import { systemMappings, thisHost } from "../host/host-view.ts";
import { type ShutdownOptions, shutDown } from "./guest-life.ts";
import { type Need, needsOf } from "./guest-needs.ts";
import { pathsToStart } from "./guest-paths.ts";
import { findGuest, type Guest, type GuestOptions, listGuests, readGuest } from "./guests.ts";
import type { LifeDocument, LifeStepDocument } from "./life-documents.ts";
import { close, closeCommands, commandText } from "./need-steps.ts";
import { takeSecrets } from "./secret-steps.ts";
import { type LifeOptions, nameOf, refuseUnlessRoot } from "./unlock-guest.ts";

export interface LockOptions extends LifeOptions, Pick<ShutdownOptions, "timeoutMs" | "forceOff"> {
  /** Shut it down, and leave everything open. */
  readonly guestOnly: boolean;
}

/**
 * Shuts a guest down, then takes its disks' passphrases from libvirt, unmounts, deactivates and closes what of its storage lies on encrypted volumes, in reverse order. What another
 * guest that is not off needs, or the host itself, is kept and named; what is not closed for any reason makes the exit code 1.
 */
export async function lockGuest(options: LockOptions): Promise<LifeDocument> {
  const { dryRun, signal, note } = options;
  const guest = await findGuest(options.guest, options);
  const view = thisHost();
  const needs = needsOf(await pathsToStart(guest, options), view);
  const open = options.guestOnly ? [] : needs.steps.filter((s) => s.done && s.onCrypt).reverse();
  const keepers = await keepersOf(guest, options);
  const system = systemMappings(view);
  const toClose = open.filter((s) => reasonToKeep(s, keepers, system) === null);
  if (!dryRun && toClose.length > 0) refuseUnlessRoot("unmount and close volumes");
  const steps: LifeStepDocument[] = [];
  if (guest.state !== "shut off") steps.push(await stop(guest, options));
  if (!options.guestOnly) steps.push(...(await takeSecrets(guest, options)));
  for (const need of open) {
    const step = { kind: need.kind, name: nameOf(need) };
    const keep = reasonToKeep(need, keepers, system);
    if (keep !== null) {
      steps.push({ ...step, commands: [], outcome: "kept", reason: keep });
      continue;
    }
    const commands = (await closeCommands(need)).map(commandText);
    if (dryRun) {
      steps.push({ ...step, commands, outcome: "planned", reason: null });
      continue;
    }
    note?.(need.kind === "mount" ? `unmounting ${printable(need.where)}` : `closing ${printable(nameOf(need))}`);
    try {
      await close(need, signal);
      steps.push({ ...step, commands, outcome: "done", reason: null });
    } catch (error) {
      if (error instanceof StorageError && error.code === "cancelled") throw error;
      steps.push({ ...step, commands, outcome: "failed", reason: describeError(error) });
    }
  }
  const remarks = guest.managedSave
    ? [
        {
          what: "the memory of the guest is saved by libvirt, outside of these volumes",
          hint: `virsh managedsave-remove ${guest.uuid}`,
        },
      ]
    : [];
  const bad = steps.some((s) => s.outcome === "failed" || s.outcome === "kept");
  return {
    schema: "unterbau/lock/1",
    guest: guest.name,
    uuid: guest.uuid,
    dryRun,
    steps,
    remarks: [...needs.undeclared, ...remarks],
    exitCode: bad ? 1 : 0,
  };
}

async function stop(guest: Guest, options: LockOptions): Promise<LifeStepDocument> {
  const step = { kind: "guest" as const, name: guest.name, reason: null };
  const commands = [commandText(["virsh", "shutdown", `--domain=${guest.uuid}`, "--mode=acpi"])];
  if (options.dryRun) return { ...step, commands, outcome: "planned" };
  const { timeoutMs, forceOff, signal, note } = options;
  await shutDown(guest, { timeoutMs, forceOff, signal, note });
  return { ...step, commands, outcome: "done" };
}

/** Mount points that are no guest's alone, wherever its images lie (Filesystem Hierarchy Standard 3.0). */
const SYSTEM_FOLDERS = new Set(
  "/ /boot /etc /home /opt /root /run /tmp /usr /var /var/lib /var/log /var/tmp".split(" "),
);

/** What other guests need that are not off, by the id of the step: their names. */
async function keepersOf(guest: Guest, options: GuestOptions): Promise<Map<string, string[]>> {
  const keepers = new Map<string, string[]>();
  const view = thisHost();
  for (const entry of (await listGuests(options)).guests) {
    if (entry.uuid === guest.uuid && entry.uri === guest.uri) continue;
    const other = await readGuest(entry, options).catch(() => null);
    if (other === null || other.state === "shut off") continue;
    for (const { id } of needsOf(await pathsToStart(other, options), view).steps)
      keepers.set(id, [...(keepers.get(id) ?? []), other.name]);
  }
  return keepers;
}

function reasonToKeep(need: Need, keepers: ReadonlyMap<string, string[]>, system: ReadonlySet<string>): string | null {
  const others = keepers.get(need.id);
  if (others)
    return `needed by ${others.length === 1 ? "the guest" : "the guests"} ${others.map(printable).join(", ")}`;
  if (need.kind === "crypt" && system.has(need.name)) return "this host runs from it";
  if (need.kind === "mount" && SYSTEM_FOLDERS.has(need.where)) return "this host runs from it";
  if (need.kind === "volume" && [...system].some((name) => name === `${twice(need.group)}-${twice(need.volume)}`))
    return "this host runs from it";
  return null;
}

function twice(name: string): string {
  return name.replaceAll("-", "--");
}

import { printable } from "../bytes/text.ts";
import { StorageError } from "../core/errors.ts";
import type { KeyProvider } from "../core/layer.ts";
import { thisHost } from "../host/host-view.ts";
import { refuseGuardedStart } from "./guarded.ts";
import { startAgain } from "./guest-life.ts";
import { type Need, type Needs, needsOf } from "./guest-needs.ts";
import { pathsToStart } from "./guest-paths.ts";
import { findGuest, type Guest, type GuestOptions } from "./guests.ts";
import type { LifeDocument, LifeStepDocument } from "./life-documents.ts";
import { migratedVolumes } from "./migrated-volumes.ts";
import { commandText, open, openCommand } from "./need-steps.ts";
import { giveSecrets, secretRemarks } from "./secret-steps.ts";

export interface LifeOptions extends GuestOptions {
  readonly guest: string;
  readonly dryRun: boolean;
  readonly note?: ((text: string) => void) | undefined;
}

export interface UnlockOptions extends LifeOptions {
  readonly keys: KeyProvider;
  /** Start the guest when all is there. */
  readonly start: boolean;
}

/**
 * Opens, activates and mounts what a guest's disks lie on, and gives libvirt the passphrases of those that QEMU decrypts; what is there already is left alone. Throws before anything is done when something
 * cannot be brought, and at the first step that fails: what was opened by then stays open, and the same call goes on from there.
 */
export async function unlockGuest(options: UnlockOptions): Promise<LifeDocument> {
  const { dryRun, signal, note } = options;
  const guest = await findGuest(options.guest, options);
  const paths = await pathsToStart(guest, options);
  const needs = needsOf(paths, thisHost(), migratedVolumes());
  refuseMissing(guest, needs);
  // Asked before anything is opened, and once more when the guest is started.
  if (options.start) await refuseGuardedStart(guest, options);
  const steps: LifeStepDocument[] = [];
  const todo = needs.steps.filter((s) => !s.done);
  if (todo.length > 0 && !dryRun) refuseUnlessRoot("open encrypted volumes and mount them");
  for (const need of needs.steps) {
    const commands = need.done ? [] : [commandText(openCommand(need))];
    if (!need.done && !dryRun) {
      note?.(doing(need));
      await open(need, { keys: options.keys, signal });
    }
    const outcome = need.done ? "already" : dryRun ? "planned" : "done";
    steps.push({ kind: need.kind, name: nameOf(need), commands, outcome, reason: null });
  }
  if (!dryRun) refuseStillMissing(guest, paths);
  steps.push(...(await giveSecrets(guest, options)));
  if (options.start) steps.push(await start(guest, options));
  return {
    schema: "unterbau/unlock/1",
    guest: guest.name,
    uuid: guest.uuid,
    dryRun,
    steps,
    remarks: [...needs.undeclared, ...(await secretRemarks(guest, options))],
    exitCode: 0,
  };
}

async function start(guest: Guest, { dryRun, note }: UnlockOptions): Promise<LifeStepDocument> {
  const step = { kind: "guest" as const, name: guest.name, reason: null };
  if (guest.state !== "shut off") return { ...step, commands: [], outcome: "already", reason: `it is ${guest.state}` };
  const commands = [commandText(["virsh", "start", `--domain=${guest.uuid}`])];
  if (dryRun) return { ...step, commands, outcome: "planned" };
  note?.(`starting the guest ${printable(guest.name)}`);
  await startAgain(guest);
  return { ...step, commands, outcome: "done" };
}

function refuseMissing(guest: Guest, { missing }: Needs): void {
  const [first, ...others] = missing;
  if (!first) return;
  const more = others.map((m) => `; also not there: ${printable(m.what)}`).join("");
  const hints = [...new Set(missing.map((m) => m.hint))];
  throw new StorageError(
    "io",
    `the guest ${printable(guest.name)} needs ${printable(first.what)}, which is not there${more}`,
    { layer: "host", hint: hints.join("; ") },
  );
}

function refuseStillMissing(guest: Guest, paths: readonly string[]): void {
  const view = thisHost();
  const lost = paths.filter((path) => view.device(path) === null);
  if (lost.length === 0) return;
  throw new StorageError(
    "io",
    `everything is open, but the guest ${printable(guest.name)} still lacks ${lost.map(printable).join(", ")}`,
    { layer: "host", hint: "see whether the right volume is mounted there (findmnt), and what the guest's XML names" },
  );
}

/** Throws `usage`. */
export function refuseUnlessRoot(what: string): void {
  if (process.geteuid?.() === 0) return;
  throw new StorageError("usage", `only root may ${what}`, {
    layer: "host",
    hint: "sudo; --dry-run shows what would be done",
  });
}

function doing(need: Need): string {
  const name = printable(nameOf(need));
  if (need.kind === "crypt") return `opening the encrypted volume ${name}`;
  return need.kind === "volume" ? `activating the volume ${name}` : `mounting ${name}`;
}

export function nameOf(need: Need): string {
  if (need.kind === "crypt") return need.name;
  return need.kind === "volume" ? `${need.group}/${need.volume}` : need.where;
}

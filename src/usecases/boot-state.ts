import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { printable } from "../bytes/text.ts";
import { type BootRecord, readBootRecord, sha256 } from "../host/boot-store.ts";
import { readIfThere } from "../host/edit-table.ts";
import { thisHost } from "../host/host-view.ts";
import { startProblem } from "../libvirt/guard.ts";
import { unitStates } from "../tools/systemctl.ts";
import { virsh } from "../tools/virsh.ts";
import type { BootStepDocument } from "./boot-documents.ts";
import { type BootFacts, bootSteps, verdictOf } from "./boot-steps.ts";
import { guestUnit, unitAsks } from "./boot-unit.ts";
import { type Needs, needsOf } from "./guest-needs.ts";
import { pathsToStart } from "./guest-paths.ts";
import { secretNow, secretsOf } from "./guest-secrets.ts";
import { findGuest, type Guest } from "./guests.ts";
import { migratedVolumes } from "./migrated-volumes.ts";
import type { LifeOptions } from "./unlock-guest.ts";

export interface BootOptions extends LifeOptions {
  /** Where the host's tables and units are; `/`, or another tree, whose manager is left alone. */
  readonly root: string;
}

/** A guest with what is written for its start and what will come of it. */
export interface BootState {
  readonly guest: Guest;
  readonly needs: Needs;
  readonly record: BootRecord | null;
  readonly autostart: boolean;
  readonly steps: readonly BootStepDocument[];
  readonly willStart: "yes" | "after-passphrase" | "no";
}

const DAEMONS = "libvirtd.service libvirtd.socket virtqemud.service virtqemud.socket".split(" ");
const ON = ["enabled", "enabled-runtime", "linked", "alias"];

export async function bootState(options: BootOptions): Promise<BootState> {
  const { root, signal } = options;
  const guest = await findGuest(options.guest, options);
  const needs = withTheWay(needsOf(await pathsToStart(guest, options), thisHost(root)), guest);
  const record = readBootRecord(root, guest.uuid);
  const info = await virsh(["dominfo", `--domain=${guest.uuid}`], { uri: guest.uri, readOnly: true, signal });
  const autostart = /^Autostart: *enable/m.test(info);
  const unitName = guestUnit(guest.name);
  const facts: BootFacts = {
    exists: (path) => existsSync(join(root, path)),
    unit: await unitState(unitName, record, root),
    unitName,
    libvirt: (await unitStates(DAEMONS, root)).some((s) => ON.includes(s)),
    autostart,
    lostSecrets: await lostSecrets(guest, options),
    asks: unitAsks(readIfThere(join(root, "etc/systemd/system", unitName)) ?? ""),
    guarded: startProblem(guest.domain.guard)?.what ?? null,
    lostPrograms: record === null ? [] : lostPrograms(join(root, "etc/systemd/system", unitName)),
  };
  const steps = bootSteps(needs, guest.name, facts);
  return { guest, needs, record, autostart, steps, willStart: verdictOf(steps) };
}

/** What a migration made is opened by `unlock` without a line in crypttab, and its line can be written then. */
function withTheWay(needs: Needs, { name }: Guest): Needs {
  const known = migratedVolumes().map((e) => `/dev/mapper/${e.name}`);
  const hint = `unterbau unlock vm:${name} opens it as its migration made it; then boot enable writes its line of /etc/crypttab`;
  const missing = needs.missing.map((m) => (known.includes(m.what) ? { ...m, hint } : m));
  return { steps: needs.steps, undeclared: needs.undeclared, missing };
}

async function lostSecrets(guest: Guest, options: LifeOptions): Promise<string[]> {
  const lost: string[] = [];
  for (const need of secretsOf(guest)) {
    const secret = await secretNow(need.uuid, guest, options);
    if (secret === null || secret.ephemeral) lost.push(...need.disks.map((d) => d.target));
  }
  return lost;
}

async function unitState(unit: string, record: BootRecord | null, root: string): Promise<BootFacts["unit"]> {
  const path = `/etc/systemd/system/${unit}`;
  const text = readIfThere(join(root, path));
  if (text === null) return "none";
  const [state = ""] = await unitStates([unit], root);
  if (!ON.includes(state)) return "off";
  const written = record?.files.find((f) => f.path === path)?.sha256;
  return written === sha256(text) ? "ready" : "changed";
}

/** Absolute paths in the unit's first command that are not there: after an update of Node.js, for instance. */
function lostPrograms(unit: string): string[] {
  if (!existsSync(unit)) return [];
  const line = /^ExecStart=(.*)$/m.exec(readFileSync(unit, "utf8"))?.[1] ?? "";
  const words = [...line.matchAll(/"((?:[^"\\]|\\.)*)"|(\S+)/g)].map((m) =>
    (m[1] ?? m[2] ?? "").replaceAll(/\\(.)/g, "$1"),
  );
  const own = words.slice(0, words.indexOf("unlock")).map((w) => w.replaceAll("%%", "%").replaceAll("$$", "$"));
  return own.filter((path) => path.startsWith("/") && !existsSync(path));
}

/** What a person should know beside the steps. */
export function bootRemarks({ guest, needs, willStart }: BootState): string[] {
  const remarks = needs.undeclared.map(({ what, hint }) => `${what} is open now, but not after a boot: ${hint}`);
  if (willStart === "after-passphrase") {
    remarks.push(
      "the passphrase is asked for on the console; over SSH: sudo systemd-tty-ask-password-agent --query",
      "volumes that share a passphrase are asked for once, when they are opened within two and a half minutes",
    );
  }
  if (guest.managedSave)
    remarks.push(
      `the saved memory of ${printable(guest.name)} is loaded at its start; it lies in the clear where libvirt keeps it`,
    );
  const byQemu = guest.domain.disks.some((d) => d.encryption !== null);
  if (byQemu)
    remarks.push(
      "QEMU decrypts a disk of it: the unit asks for that passphrase when the host is up, as for volumes of the host; a drop-in that gives it the credential unterbau.key (LoadCredentialEncrypted=) makes that unnecessary",
    );
  if (!byQemu && needs.missing.length === 0 && needs.steps.every((s) => s.kind !== "crypt"))
    remarks.push("no encrypted volume of the host holds its disks: virsh autostart is enough for it");
  return remarks;
}

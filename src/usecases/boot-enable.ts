import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { printable } from "../bytes/text.ts";
import { StorageError } from "../core/errors.ts";
import { type BootRecord, sha256, writeBootRecord } from "../host/boot-store.ts";
import { type LineChange, readIfThere, replaceTable, withChanges, writeSynced } from "../host/edit-table.ts";
import { unifiedDiff } from "../tools/diff.ts";
import { enableUnit, isLinked, reloadUnits, systemdRuns } from "../tools/systemctl.ts";
import { virsh } from "../tools/virsh.ts";
import { CRYPTTAB, FSTAB, type NewEntry, tableChanges } from "./boot-changes.ts";
import type { BootChangeDocument, BootDocument } from "./boot-documents.ts";
import { type BootOptions, type BootState, bootRemarks, bootState } from "./boot-state.ts";
import { bootFiles, guestUnit, type UnitFile } from "./boot-unit.ts";
import { refuseUnlessRoot } from "./unlock-guest.ts";

/** Asked before a table of the host is edited, with the diffs. Throws when the answer is no. */
export type Consent = (diffs: readonly string[]) => Promise<void>;

export interface EnableOptions extends BootOptions {
  readonly entry: NewEntry;
  /** How this program is called. */
  readonly program: readonly string[];
  readonly consent: Consent;
}

/**
 * Writes what lets a guest start at the host's boot. What will be changed is written down first, so that `boot disable` takes back exactly
 * that, also after a crash in the middle; the same call goes on from there. Doing it twice changes nothing.
 */
export async function enableBoot(options: EnableOptions): Promise<BootDocument> {
  const { root, dryRun } = options;
  const state = await bootState(options);
  const { guest, needs } = state;
  refuseWhatCannotBe(state);
  const read = (path: string) => readIfThere(join(root, path)) ?? "";
  const lines = tableChanges(needs, read(CRYPTTAB), read(FSTAB), options.entry);
  const uri = (await virsh(["uri"], { uri: guest.uri, readOnly: true })).trim();
  const files = bootFiles({
    guest,
    uri,
    needs: needs.steps,
    asks: guest.domain.disks.some((d) => d.encryption !== null),
    program: options.program,
  });
  const planned = await plannedChanges(state, lines, files, root);
  const document = (now: BootState, changes: readonly BootChangeDocument[]): BootDocument => ({
    schema: "unterbau/boot/1",
    action: "enable",
    guest: guest.name,
    uuid: guest.uuid,
    dryRun,
    enabled: now.record !== null,
    willStart: now.willStart,
    steps: now.steps,
    changes,
    remarks: bootRemarks(now),
    exitCode: 0,
  });
  if (dryRun || planned.length === 0) return document(state, planned);
  if (root === "/") refuseUnlessRoot("write units and tables of the host");
  const diffs = planned.flatMap((c) => (c.action === "edit" && c.diff !== null ? [c.diff] : []));
  if (diffs.length > 0) await options.consent(diffs);
  const backups = await apply(state, lines, files, options);
  const changes = planned.map((c) => ({ ...c, backup: backups.get(c.path) ?? null }));
  return document(await bootState(options), changes);
}

function refuseWhatCannotBe({ guest, needs }: BootState): void {
  const [first] = needs.missing;
  if (first) {
    throw new StorageError(
      "io",
      `the guest ${printable(guest.name)} needs ${printable(first.what)}, which is not there`,
      {
        layer: "host",
        hint: first.hint,
      },
    );
  }
  const mount = needs.steps.find((s) => s.kind === "mount" && s.declared === null);
  if (mount?.kind === "mount") {
    throw new StorageError("unsupported", `${printable(mount.where)} is mounted, but nothing declares it`, {
      layer: "host",
      feature: "writing lines of fstab",
      hint: "write a line for it in /etc/fstab, with noauto,nofail (findmnt shows what is mounted there), then repeat",
    });
  }
  if (!guest.persistent) {
    throw new StorageError(
      "usage",
      `the guest ${printable(guest.name)} is transient: after a boot libvirt does not know it`,
      {
        layer: "libvirt",
        hint: "virsh define keeps it",
      },
    );
  }
}

/** All that differs from what is there, as a person wants to see it before. */
async function plannedChanges(
  { guest, autostart }: BootState,
  lines: readonly LineChange[],
  files: readonly UnitFile[],
  root: string,
): Promise<BootChangeDocument[]> {
  const changes: BootChangeDocument[] = [];
  for (const path of [CRYPTTAB, FSTAB]) {
    const own = lines.filter((l) => l.file === path);
    if (own.length === 0) continue;
    const file = join(root, path);
    const before = readIfThere(file);
    const text = withChanges(before ?? "", own);
    const diff = await unifiedDiff(path, before === null ? "/dev/null" : file, text);
    changes.push({ path, action: before === null ? "create" : "edit", diff, backup: null });
  }
  for (const { path, text } of files) {
    const before = readIfThere(join(root, path));
    if (before === text) continue;
    const diff = await unifiedDiff(path, before === null ? "/dev/null" : join(root, path), text);
    changes.push({ path, action: before === null ? "create" : "edit", diff, backup: null });
  }
  const unit = guestUnit(guest.name);
  const linked = isLinked(root, unit);
  if (!linked) changes.push({ path: unit, action: "enable", diff: null, backup: null });
  if (autostart) changes.push({ path: guest.name, action: "autostart-off", diff: null, backup: null });
  return changes;
}

/** Does it; the backups of what was edited, by path. */
async function apply(
  { guest, record, autostart }: BootState,
  lines: readonly LineChange[],
  files: readonly UnitFile[],
  { root }: EnableOptions,
): Promise<Map<string, string>> {
  const now = new Date();
  const backups = new Map<string, string>();
  const tables = [CRYPTTAB, FSTAB].flatMap((path) => {
    const own = lines.filter((l) => l.file === path);
    const before = readIfThere(join(root, path));
    return own.length === 0 ? [] : [{ path, before, text: withChanges(before ?? "", own) }];
  });
  const fresh = tables.filter((t) => t.before === null);
  const own = [...files, ...fresh];
  const written: Omit<BootRecord, "schema"> = {
    guest: guest.name,
    uuid: guest.uuid,
    files: [
      ...(record?.files.filter((f) => !own.some((o) => o.path === f.path)) ?? []),
      ...own.map(({ path, text }) => ({ path, sha256: sha256(text) })),
    ],
    lines: [
      // One that a crash kept from being written comes again.
      ...(record?.lines.filter((l) => !lines.some((n) => n.file === l.file && n.after === l.after)) ?? []),
      ...lines.filter((l) => !fresh.some((t) => t.path === l.file)),
    ],
    autostart: record?.autostart || autostart,
  };
  writeBootRecord(root, written);
  for (const { path, before, text } of tables) {
    if (before === null) writeSynced(join(root, path), text, 0o600);
    else backups.set(path, replaceTable(join(root, path), text, now).slice(root === "/" ? 0 : root.length));
  }
  for (const { path, text } of files) {
    const file = join(root, path);
    mkdirSync(dirname(file), { recursive: true });
    const before = readIfThere(file);
    if (before === null) writeSynced(file, text, 0o644);
    else if (before !== text) backups.set(path, replaceTable(file, text, now).slice(root === "/" ? 0 : root.length));
  }
  await enableUnit(guestUnit(guest.name), true, root);
  if (root === "/" && systemdRuns()) await reloadUnits();
  if (autostart) await virsh(["autostart", `--domain=${guest.uuid}`, "--disable"], { uri: guest.uri });
  return backups;
}

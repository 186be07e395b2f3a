import { readdirSync, rmdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { forgetBootRecord, readBootRecord, sha256 } from "../host/boot-store.ts";
import { readIfThere, replaceTable, withoutChanges } from "../host/edit-table.ts";
import { unifiedDiff } from "../tools/diff.ts";
import { enableUnit, isLinked, reloadUnits, systemdRuns } from "../tools/systemctl.ts";
import { virsh } from "../tools/virsh.ts";
import type { BootChangeDocument, BootDocument } from "./boot-documents.ts";
import type { Consent } from "./boot-enable.ts";
import { type BootOptions, type BootState, bootRemarks, bootState } from "./boot-state.ts";
import { guestUnit } from "./boot-unit.ts";
import { refuseUnlessRoot } from "./unlock-guest.ts";

export interface DisableOptions extends BootOptions {
  readonly consent: Consent;
}

/** Takes back exactly what `boot enable` wrote; what somebody changed since is left and named (exit code 1). */
export async function disableBoot(options: DisableOptions): Promise<BootDocument> {
  const { root, dryRun } = options;
  const before = await bootState(options);
  const { guest } = before;
  const record = readBootRecord(root, guest.uuid);
  const changes: BootChangeDocument[] = [];
  const left: string[] = [];
  const tables: { path: string; text: string }[] = [];
  for (const path of new Set(record?.lines.map((l) => l.file) ?? [])) {
    const now = readIfThere(join(root, path));
    if (now === null) continue;
    const own = record!.lines.filter((l) => l.file === path);
    const result = withoutChanges(now, own);
    for (const line of result.left) left.push(`${path}: the line “${line.after}” was changed since, and is left`);
    if (result.text === now) continue;
    tables.push({ path, text: result.text });
    changes.push({ path, action: "edit", diff: await unifiedDiff(path, join(root, path), result.text), backup: null });
  }
  const remove: string[] = [];
  for (const { path, sha256: written } of record?.files ?? []) {
    const now = readIfThere(join(root, path));
    if (now === null) continue;
    if (sha256(now) !== written) left.push(`${path} was changed since it was written, and is left`);
    else {
      remove.push(path);
      changes.push({ path, action: "remove", diff: null, backup: null });
    }
  }
  const unit = guestUnit(guest.name);
  const linked = isLinked(root, unit);
  if (record !== null && linked) changes.unshift({ path: unit, action: "disable", diff: null, backup: null });
  if (record?.autostart && !before.autostart)
    changes.push({ path: guest.name, action: "autostart-on", diff: null, backup: null });
  const document = (state: BootState, done: readonly BootChangeDocument[]): BootDocument => ({
    schema: "unterbau/boot/1",
    action: "disable",
    guest: guest.name,
    uuid: guest.uuid,
    dryRun,
    enabled: state.record !== null,
    willStart: state.willStart,
    steps: state.steps,
    changes: done,
    remarks: [...left, ...(dryRun ? [] : bootRemarks(state))],
    exitCode: left.length > 0 ? 1 : 0,
  });
  if (dryRun || record === null) return document(before, changes);
  if (root === "/") refuseUnlessRoot("write units and tables of the host");
  if (tables.length > 0) await options.consent(changes.flatMap((c) => (c.action === "edit" ? (c.diff ?? []) : [])));
  if (linked) await enableUnit(unit, false, root);
  const backups = new Map<string, string>();
  for (const { path, text } of tables)
    backups.set(path, replaceTable(join(root, path), text, new Date()).slice(root === "/" ? 0 : root.length));
  for (const path of remove) {
    rmSync(join(root, path), { force: true });
    const folder = dirname(join(root, path));
    if (folder.endsWith(".d") && readdirSync(folder).length === 0) rmdirSync(folder);
  }
  if (root === "/" && systemdRuns()) await reloadUnits();
  if (record.autostart) await virsh(["autostart", `--domain=${guest.uuid}`], { uri: guest.uri });
  forgetBootRecord(root, guest.uuid);
  return document(
    await bootState(options),
    changes.map((c) => ({ ...c, backup: backups.get(c.path) ?? null })),
  );
}

export async function bootStatus(options: BootOptions): Promise<BootDocument> {
  const state = await bootState(options);
  return {
    schema: "unterbau/boot/1",
    action: "status",
    guest: state.guest.name,
    uuid: state.guest.uuid,
    dryRun: false,
    enabled: state.record !== null,
    willStart: state.willStart,
    steps: state.steps,
    changes: [],
    remarks: bootRemarks(state),
    exitCode: state.willStart === "no" ? 1 : 0,
  };
}

import { createHash } from "node:crypto";
import { basename, dirname } from "node:path";
import { printable } from "../bytes/text.ts";
import { Cleanup } from "../core/cleanup.ts";
import { StorageError } from "../core/errors.ts";
import type { FileDevice } from "../core/file-device.ts";
import { forgetCheck } from "../host/check-store.ts";
import { MigrationJournal, type MigrationPlan } from "../host/migration-store.ts";
import { openSource } from "../host/open-source.ts";
import { Retirement, retirementOf, retirements } from "../host/retirement-store.ts";
import { findRun, stateDirs } from "../host/run-store.ts";
import { writeMark } from "../host/write-mark.ts";
import { GUARD_NAMESPACE, GUARD_PREFIX, guardForVirsh } from "../libvirt/guard.ts";
import { virsh } from "../tools/virsh.ts";
import type { Guest } from "./guests.ts";
import { acceptRun, canBeUndone } from "./keep-runs.ts";
import { type DestroyOptions, destroyTarget, removeTarget } from "./retire-destroy.ts";
import type { RetireDocument, RetirementsDocument } from "./retire-documents.ts";
import { checkpointsOf, findRetiree, refuseBusy } from "./retire-find.ts";
import { type RetireOptions, retirePreflight } from "./retire-preflight.ts";
import { refuseUsed } from "./retire-users.ts";
import { worstOf } from "./retire-verdict.ts";

/** What would be destroyed, and how. The whole old disk is read; nothing is changed. */
export async function planRetirement(named: string, options: RetireOptions): Promise<RetireDocument> {
  const found = await findRetiree(named, options);
  return retirementOf(found.migration.plan.id) ?? (await retirePreflight(found, options)).record;
}

/**
 * Destroys the old disk of a migrated guest, and writes the deletion record. One that was begun goes on without being asked for again. `consent`
 * throws when the user does not want it.
 */
export async function retire(
  named: string,
  consent: (record: RetireDocument) => Promise<void>,
  options: RetireOptions,
): Promise<RetireDocument> {
  const found = await findRetiree(named, options);
  const { id } = found.migration.plan;
  if (retirementOf(id) !== null) return await resumeRetirement(id, options);
  const { record, marks } = await retirePreflight(found, options);
  await consent(record);
  // However long that took.
  const again = await findRetiree(named, options);
  if (again.old !== null) await refuseBusy(again.old, options);
  await using cleanup = new Cleanup();
  const disks: FileDevice[] = [];
  for (const [i, mark] of marks.entries()) {
    const { identity } = record.targets[i]!;
    disks.push(cleanup.use((await openSource(identity, "write", { background: true })).file));
    refuseWritten(identity.realpath, mark);
  }
  using journal = MigrationJournal.takeOver(again.migration);
  using retirement = Retirement.begin({ ...record, state: "begun", begun: new Date().toISOString() });
  // Awaited here: the record is given back when this returns.
  return await perform(retirement, journal, again.old, options, disks);
}

/** Goes on with one that was begun, from where it was left. */
export async function resumeRetirement(run: string, options: RetireOptions): Promise<RetireDocument> {
  const found = await findRetiree(run, options);
  using retirement = Retirement.resume(found.migration.plan.id);
  if (retirement.record.state === "done") {
    throw new StorageError("usage", `the old disk of ${printable(retirement.record.guest.name)} is destroyed already`, {
      hint: `unterbau retire --show ${retirement.record.run}`,
    });
  }
  if (found.old !== null) await refuseBusy(found.old, options);
  await refuseUsed(
    retirement.record.targets.filter((t) => !t.removed).map((t) => t.identity),
    found.old,
    options,
  );
  using journal = MigrationJournal.takeOver(found.migration);
  return await perform(retirement, journal, found.old, options, []);
}

export function listRetirements(): RetirementsDocument {
  return {
    schema: "unterbau/retirements/1",
    retirements: retirements().map(({ record: { run, guest, state, verdict, begun, ended } }) => ({
      run,
      guest: guest.name,
      state,
      verdict,
      begun,
      ended,
    })),
  };
}

/** The deletion record of a migration's old disk. Throws `usage`. */
export function showRetirement(run: string): RetireDocument {
  const found = retirements().filter(({ record }) => record.run === run || record.run.endsWith(run));
  const [first, ...others] = found;
  if (first && others.length === 0) return first.record;
  throw new StorageError("usage", first ? `${run} could be several` : `no old disk of ${run} was destroyed`, {
    hint: "unterbau retire --list",
  });
}

/** Between the look and the lock somebody may have written. */
function refuseWritten(path: string, mark: string | null): void {
  if (writeMark(path) === mark) return;
  throw new StorageError("locked", `${printable(path)} was written to since it was looked at`, {
    layer: "file",
    hint: "nothing was destroyed; see who uses it, and repeat",
  });
}

async function perform(
  retirement: Retirement,
  journal: MigrationJournal,
  old: Guest | null,
  options: RetireOptions,
  opened: readonly FileDevice[],
): Promise<RetireDocument> {
  const { run } = retirement.record;
  const { plan } = journal;
  try {
    if (journal.step("retire") === null) journal.note("retire", "begun", { at: new Date().toISOString() });
    options.onStep?.("begun");
    if (old !== null) await markRetired(old, plan, options);
    const { targets } = retirement.record;
    for (const { disk, identity } of targets) if (disk !== null) forgetCheck(identity);
    const gaveBack = old === null || old.domain.disks.some((d) => d.discard === "unmap");
    const how: DestroyOptions = { ...options, gaveBack };
    for (const [i] of targets.entries()) await destroyTarget(retirement, i, how, opened[i] ?? null);
    options.onStep?.("destroyed");
    await undefineOld(retirement, old, options);
    options.onStep?.("undefined");
    removeFiles(retirement);
    options.onStep?.("removed");
    end(retirement);
    journal.note("retire", "done");
    return retirement.record;
  } catch (error) {
    options.note?.(
      `the old disk is destroyed in part: unterbau retire --resume ${run} goes on; it cannot be taken back`,
    );
    throw error;
  }
}

/** Whoever starts a guest is told. */
async function markRetired(old: Guest, { clone, id }: MigrationPlan, { signal }: RetireOptions): Promise<void> {
  const mark = guardForVirsh({ role: "old", partner: clone.uuid, run: id, state: "retired" });
  const args = [`--uri=${GUARD_NAMESPACE}`, `--key=${GUARD_PREFIX}`, `--set=${mark}`, "--config"];
  await virsh(["metadata", `--domain=${old.uuid}`, ...args], { uri: old.uri, signal });
}

async function undefineOld(retirement: Retirement, old: Guest | null, { signal }: RetireOptions): Promise<void> {
  const { record } = retirement;
  if (record.keepDomain || record.undefined) return;
  if (old === null) return retirement.save({ ...record, undefined: true });
  const options = [
    ...(old.domain.nvram === null ? [] : ["--nvram"]),
    // libvirt keeps a guest of which it has notes of checkpoints; they hold no content, and their disk is destroyed.
    ...((await checkpointsOf(old, signal)).length === 0 ? [] : ["--checkpoints-metadata"]),
  ];
  const argv = ["undefine", `--domain=${old.uuid}`, ...options];
  const output = await virsh(argv, { uri: old.uri, signal });
  const tool = { argv: ["virsh", ...argv], exit: 0, sha256: createHash("sha256").update(output).digest("hex") };
  retirement.save({ ...record, undefined: true, tools: [...record.tools, tool] });
}

function removeFiles(retirement: Retirement): void {
  const { targets, keepDomain } = retirement.record;
  for (const [i, { role, path, identity }] of targets.entries()) {
    const ours = role === "undo-log" || role === "header-backup";
    if (identity.kind !== "file" || (keepDomain && !ours)) continue;
    removeTarget(retirement, i);
    if (role === "undo-log") forgetRun(basename(dirname(path)));
  }
}

/** Its undo log is gone: it must not look as if it could be undone. */
function forgetRun(id: string): void {
  if (canBeUndone(findRun(stateDirs(), id).record.status)) acceptRun(id);
}

function end(retirement: Retirement): void {
  const { record } = retirement;
  const { targets, left } = record;
  const verdict = worstOf(targets.map((t) => t.verdict ?? "fail"));
  const residual = [
    ...left.map((what) => `not destroyed: ${what}`),
    "copies elsewhere are not known here: backups, copies made by hand, what the host's swap or memory held",
  ];
  retirement.save({
    ...record,
    state: "done",
    ended: new Date().toISOString(),
    verdict: left.length > 0 ? worstOf([verdict, "warn"]) : verdict,
    residual,
  });
}

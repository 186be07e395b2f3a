import { StorageError } from "../../core/errors.ts";
import { exactSize, printable } from "../../report/units.ts";
import { acceptRun, canBeUndone, prunableRuns, pruneRuns, runToAccept } from "../../usecases/keep-runs.ts";
import { type RunDocument, runs } from "../../usecases/runs.ts";
import type { RunsFlags } from "../options.ts";
import { emit, emitJson, note, palette, STDOUT } from "../output.ts";
import { askYes } from "../tty.ts";

export async function run(_sources: readonly string[], flags: RunsFlags): Promise<number> {
  if (flags.accept !== undefined) return accept(flags.accept, flags);
  if (flags.prune !== undefined) return prune(flags.prune, flags);
  return list(flags);
}

async function list(flags: RunsFlags): Promise<number> {
  const doc = runs();
  if (flags.json) {
    await emitJson(doc);
    return 0;
  }
  const p = palette(STDOUT);
  for (const f of doc.findings) note(`${f.severity}: ${printable(f.message)}`);
  if (doc.runs.length === 0) await emit("No run has changed anything yet.\n");
  for (const r of doc.runs) {
    const started = `${r.started.slice(0, 16).replace("T", " ")} UTC`;
    await emit(
      `${p.bold(r.run)}  ${started}  ${r.verb.padEnd(6)}  ${r.status.padEnd(11)}  ${printable(r.sources.join(", "))}${summary(r)}\n`,
    );
  }
  return 0;
}

function summary(r: RunDocument): string {
  const parts = r.volumes.map((v) => {
    const { selector, verdict, command } = v as { selector?: string; verdict?: string; command?: readonly string[] };
    return `${selector ?? "?"} ${verdict ?? command?.[0] ?? ""}`.trim();
  });
  return parts.length === 0 ? "" : printable(`  (${parts.join("; ")})`);
}

async function accept(id: string, flags: RunsFlags): Promise<number> {
  const { run: full, status } = runToAccept(id);
  if (canBeUndone(status)) await confirm(`What run ${full} changed stays for good, undo becomes impossible.`, flags);
  const doc = acceptRun(full);
  if (flags.json) await emitJson(doc);
  else if (doc.status === "accepted")
    await emit(`run ${doc.run}: accepted, its undo logs are deleted (${exactSize(doc.freedBytes)} freed)\n`);
  else
    await emit(`run ${doc.run}: over as it is; it can still be undone (accept it once more to delete its undo logs)\n`);
  return 0;
}

async function prune(days: number, flags: RunsFlags): Promise<number> {
  const undoable = prunableRuns(days).filter(({ status }) => canBeUndone(status));
  if (undoable.length > 0) {
    const shown = undoable.map(({ run: id }) => id).join(", ");
    await confirm(`Undo becomes impossible for ${shown}.`, flags);
  }
  const doc = pruneRuns(days);
  if (flags.json) await emitJson(doc);
  else {
    const n = doc.removed.length;
    const m = doc.removedVerdicts;
    const parts = [
      ...(n > 0 ? [`${n} run${n === 1 ? "" : "s"} removed (${exactSize(doc.freedBytes)} freed)`] : []),
      ...(m > 0 ? [`${m} last verdict${m === 1 ? "" : "s"} forgotten`] : []),
    ];
    await emit(`${parts.join(", ") || `There is no run that ended more than ${days} days ago.`}\n`);
  }
  return 0;
}

/** Throws `usage` without a terminal, `cancelled` on a no. */
async function confirm(what: string, flags: RunsFlags): Promise<void> {
  if (flags.yes) return;
  const answer = await askYes(`${what} Go on? [y/N] `);
  if (answer === null) throw new StorageError("usage", what, { layer: "runs", hint: "--yes says that you mean it" });
  if (!answer) throw new StorageError("cancelled", "nothing was changed");
}

import type { LifeDocument, LifeStepDocument } from "../usecases/life-documents.ts";
import type { Palette } from "./tree-text.ts";
import { printable } from "./units.ts";

/** What `unlock` and `lock` did, one line a step; with --dry-run the commands alone, fit to be run. */
export function lifeText(doc: LifeDocument, p: Palette): string {
  const lines = doc.dryRun ? commands(doc, p) : doc.steps.map((step) => stepLine(doc, step, p));
  if (lines.length === 0) {
    const nothing =
      doc.schema === "unterbau/lock/1" ? "nothing of it is open on an encrypted volume" : "nothing has to be opened";
    lines.push(`${printable(doc.guest)}: ${nothing}`);
  }
  for (const { what, hint } of doc.remarks) lines.push(p.yellow(`note: ${printable(what)}: ${printable(hint)}`));
  return `${lines.join("\n")}\n`;
}

function commands(doc: LifeDocument, p: Palette): string[] {
  return doc.steps.flatMap((step) =>
    step.outcome === "planned"
      ? step.commands.map(printable)
      : [p.dim(`# ${printable(step.name)}: ${word(doc, step)}${reason(step)}`)],
  );
}

function stepLine(doc: LifeDocument, step: LifeStepDocument, p: Palette): string {
  const colour =
    step.outcome === "failed" || step.outcome === "kept" ? p.yellow : step.outcome === "done" ? p.green : p.dim;
  return `${KINDS[step.kind]} ${printable(step.name)}: ${colour(`${word(doc, step)}${reason(step)}`)}`;
}

const KINDS = {
  crypt: "encrypted volume",
  volume: "logical volume",
  mount: "mount",
  secret: "passphrase of",
  guest: "guest",
};
const OPENED = { crypt: "open", volume: "active", mount: "mounted", secret: "known to libvirt", guest: "started" };
const CLOSED = {
  crypt: "closed",
  volume: "inactive",
  mount: "unmounted",
  secret: "forgotten by libvirt",
  guest: "shut down",
};

function word(doc: LifeDocument, { kind, outcome }: LifeStepDocument): string {
  const opening = doc.schema === "unterbau/unlock/1";
  switch (outcome) {
    case "done":
    case "planned":
      return opening ? OPENED[kind] : CLOSED[kind];
    case "already":
      return kind === "guest" ? "not started again" : `${OPENED[kind]} already`;
    case "kept":
      return `left ${OPENED[kind]}`;
    case "failed":
      return `still ${OPENED[kind]}`;
  }
}

function reason(step: LifeStepDocument): string {
  return step.reason === null ? "" : `, ${printable(step.reason)}`;
}

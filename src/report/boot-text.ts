import type { BootChangeDocument, BootDocument } from "../usecases/boot-documents.ts";
import type { Palette } from "./tree-text.ts";
import { printable } from "./units.ts";

/** What was or would be changed, then what happens at the next boot. */
export function bootText(doc: BootDocument, p: Palette): string {
  const lines: string[] = [];
  for (const change of doc.changes) lines.push(changeText(change, doc.dryRun, p));
  if (doc.action !== "status" && doc.changes.length === 0) {
    lines.push(
      doc.action === "enable"
        ? "Everything is written already."
        : `Nothing of boot enable is there for ${printable(doc.guest)}.`,
    );
  }
  if (doc.dryRun) {
    lines.push(p.dim("Nothing was changed."));
  } else {
    if (lines.length > 0) lines.push("");
    lines.push(p.bold("At the next boot:"));
    for (const { kind, name, how, ok, hint } of doc.steps) {
      const mark = ok ? p.green("ok") : p.red("NO");
      const what = kind === "libvirt" ? printable(how) : `${NAMES[kind]} ${printable(name)} ${printable(how)}`;
      lines.push(`  ${mark}  ${kind === "libvirt" ? `libvirt ${what}` : what}`);
      if (hint !== null) lines.push(p.yellow(`      hint: ${printable(hint)}`));
    }
    lines.push(`${printable(doc.guest)} ${VERDICTS[doc.willStart]}`);
  }
  for (const remark of doc.remarks) lines.push(p.yellow(`note: ${printable(remark)}`));
  return `${lines.join("\n")}\n`;
}

const NAMES = { crypt: "the encrypted volume", volume: "the volume", mount: "the file system on", guest: "the guest" };
const VERDICTS = {
  yes: "starts by itself.",
  "after-passphrase": "starts when the passphrase is typed.",
  no: "does NOT start.",
};

function changeText({ path, action, diff, backup }: BootChangeDocument, dryRun: boolean, p: Palette): string {
  const name = printable(path);
  switch (action) {
    case "create":
    case "edit": {
      if (dryRun && diff !== null) return diffText(diff, p).trimEnd();
      const kept = backup === null ? "" : `; as it was: ${printable(backup)}`;
      return `${action === "create" ? "written" : "edited"}: ${name}${kept}`;
    }
    case "remove":
      return `${dryRun ? "would be removed" : "removed"}: ${name}`;
    case "enable":
    case "disable":
      return `systemctl ${action} ${name}`;
    case "autostart-on":
      return `virsh autostart ${name}`;
    case "autostart-off":
      return `virsh autostart --disable ${name}`;
  }
}

/** A diff with its colours. */
export function diffText(diff: string, p: Palette): string {
  const lines = diff.replace(/\n$/, "").split("\n").map(printable);
  return `${lines.map((l) => (l.startsWith("+") ? p.green(l) : l.startsWith("-") ? p.red(l) : l)).join("\n")}\n`;
}

import type { CheckedVolumeDocument, Verdict } from "../usecases/documents.ts";
import type { Palette } from "./tree-text.ts";
import { grouped, humanSize, printable } from "./units.ts";

const WORDS: Record<Verdict, string> = {
  clean: "clean",
  "would-repair": "has errors that --repair would mend",
  repaired: "repaired",
  "errors-left": "has errors that are left",
  "not-checked": "NOT CHECKED",
  errors: "has errors",
  "snapshot-invalid": "NOT CHECKED: the view of the running guest broke off",
};

/** The line above a checker's own text. */
export function volumeHeading(
  volume: { readonly selector: string; readonly type: string | null; readonly size: number },
  p: Palette,
): string {
  return p.bold(`${printable(volume.selector)}: ${volume.type ?? "unknown"}, ${humanSize(volume.size)}`);
}

/** So many names are enough; a disk may have a hundred partitions. */
const NAMES_SHOWN = 8;

/** What a check of everything did not look into, in one line. */
export function passedOverLine(
  volumes: readonly { readonly selector: string; readonly type: string | null }[],
): string {
  const names = volumes.slice(0, NAMES_SHOWN).map((v) => `${printable(v.selector)} (${v.type ?? "unknown content"})`);
  const more = volumes.length - names.length;
  return `Not looked at, as no file system is in it: ${names.join(", ")}${more > 0 ? ` and ${grouped(more)} more` : ""}`;
}

/** The verdict on one volume, in one line. */
export function verdictLine(d: CheckedVolumeDocument, p: Palette): string {
  const paint =
    d.verdict === "clean" || d.verdict === "repaired" ? p.green : d.verdict === "would-repair" ? p.yellow : p.red;
  const parts = [paint(WORDS[d.verdict])];
  if (d.reason) parts.push(printable(d.reason));
  if (d.changedBytes > 0 && d.verdict !== "not-checked") {
    const verb = d.verdict === "repaired" || d.verdict === "errors-left" ? "changed" : "would change";
    if (d.verdict !== "clean") parts.push(`${grouped(d.changedBytes)} bytes ${verb}`);
  }
  if (d.checker) parts.push(`${d.checker}, ${d.seconds.toFixed(1)} s`);
  return `${p.bold("→")} ${printable(d.selector)}: ${parts.join(" · ")}`;
}

import type { CheckedVolumeDocument, Verdict } from "../usecases/documents.ts";
import type { Palette } from "./tree-text.ts";
import { grouped, humanSize, printable } from "./units.ts";

const WORDS: Record<Verdict, string> = {
  clean: "clean",
  "would-repair": "has errors that --repair would mend",
  repaired: "repaired",
  "errors-left": "has errors that are left",
  "not-checked": "NOT CHECKED",
};

/** The line above a checker's own text. */
export function volumeHeading(
  volume: { readonly selector: string; readonly type: string | null; readonly size: number },
  p: Palette,
): string {
  return p.bold(`${printable(volume.selector)}: ${volume.type ?? "unknown"}, ${humanSize(volume.size)}`);
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

import { printable } from "../../report/units.ts";
import { type RunDocument, runs } from "../../usecases/runs.ts";
import type { PlainFlags } from "../options.ts";
import { emit, emitJson, note, palette } from "../output.ts";

export async function run(_sources: readonly string[], flags: PlainFlags): Promise<number> {
  const doc = runs();
  if (flags.json) {
    await emitJson(doc);
    return 0;
  }
  const p = palette(process.stdout);
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

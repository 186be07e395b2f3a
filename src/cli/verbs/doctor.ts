import { doctor } from "../../usecases/doctor.ts";
import { clearStaleMounts } from "../../usecases/umount.ts";
import type { PlainFlags } from "../options.ts";
import { emit, emitJson, note, palette, STDOUT } from "../output.ts";

export async function run(_sources: readonly string[], flags: PlainFlags): Promise<number> {
  for (const line of clearStaleMounts()) note(line);
  const doc = await doctor();
  const failed = doc.items.some((i) => i.required && !i.ok);
  if (flags.json) {
    await emitJson(doc);
    return failed ? 1 : 0;
  }
  const p = palette(STDOUT);
  const width = Math.max(...doc.items.map((i) => i.name.length));
  for (const i of doc.items) {
    const mark = i.ok ? p.green("ok     ") : i.required ? p.red("MISSING") : p.yellow("missing");
    await emit(`${mark} ${i.name.padEnd(width)}  ${i.detail}${i.ok ? "" : `; without it: ${i.without}`}\n`);
  }
  return failed ? 1 : 0;
}

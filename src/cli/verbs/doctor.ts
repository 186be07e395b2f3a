import { printable } from "../../report/units.ts";
import { type DoctorItem, doctor } from "../../usecases/doctor.ts";
import { clearStaleMounts } from "../../usecases/umount.ts";
import type { PlainFlags } from "../options.ts";
import { emit, emitJson, note, palette, STDOUT } from "../output.ts";

const TITLES: Readonly<Record<DoctorItem["group"], string>> = {
  programs: "Programs",
  host: "This host",
  "left-behind": "Left behind by commands that were killed",
};

/** 1 when something is missing that check needs, or when something is left behind. */
export async function run(_sources: readonly string[], flags: PlainFlags): Promise<number> {
  for (const line of clearStaleMounts()) note(line);
  const doc = await doctor();
  const failed = doc.items.some((i) => !i.ok && (i.required || i.group === "left-behind"));
  if (flags.json) {
    await emitJson(doc);
    return failed ? 1 : 0;
  }
  const p = palette(STDOUT);
  const width = Math.max(...doc.items.map((i) => i.name.length));
  let group: string | null = null;
  for (const i of doc.items) {
    if (i.group !== group) await emit(`${group === null ? "" : "\n"}${p.bold(TITLES[i.group])}\n`);
    group = i.group;
    await emit(`${mark(i, p)} ${i.name.padEnd(width)}  ${printable(i.detail)}\n`);
    for (const line of i.ok ? [] : consequences(i)) await emit(`${" ".repeat(MARK + width + 3)}${line}\n`);
  }
  return failed ? 1 : 0;
}

/** Columns of a mark. */
const MARK = 7;

function mark({ ok, required, group }: DoctorItem, p: ReturnType<typeof palette>): string {
  if (ok) return p.green("ok".padEnd(MARK));
  if (group === "left-behind") return p.red("LEFT".padEnd(MARK));
  return required ? p.red("MISSING") : p.yellow("missing");
}

/** Lines of their own: they are what somebody reads who lacks something. */
function consequences({ group, without, install }: DoctorItem): string[] {
  if (group === "left-behind") return [without];
  return [`without it: ${without}`, ...(install === null ? [] : [`to install: ${install}`])];
}

import { printable } from "../../report/units.ts";
import { umount } from "../../usecases/umount.ts";
import type { PlainFlags } from "../options.ts";
import { emitJson, note } from "../output.ts";

export async function run([folder = ""]: readonly string[], flags: PlainFlags): Promise<number> {
  const doc = await umount(folder);
  if (flags.json) await emitJson(doc);
  else if (doc.outcome === "cleaned")
    note(`${printable(doc.folder)}: its process had been killed; the mount is taken away`);
  return 0;
}

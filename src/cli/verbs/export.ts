import { humanSize } from "../../report/units.ts";
import { exportVolume } from "../../usecases/export.ts";
import type { ExportFlags } from "../options.ts";
import { note } from "../output.ts";
import { type Session, sourceOptions } from "../session.ts";

export async function run(sources: readonly string[], flags: ExportFlags, session: Session): Promise<number> {
  using keys = session.keys(flags);
  const { volume, nbd, fuse } = flags;
  const write = flags.write ?? false;
  const result = await exportVolume({
    ...sourceOptions(sources, flags, keys, session),
    volume,
    nbd,
    fuse,
    write,
    onReady: (size) => {
      const where = nbd === undefined ? fuse : `nbd+unix:///?socket=${nbd}`;
      note(`${volume} (${humanSize(size)}, ${write ? "read and write" : "read-only"}) is at ${where}; Ctrl-C ends it`);
    },
  });
  if (result.run) note(`run ${result.run}: take it back with  unterbau undo ${result.run}`);
  return 0;
}

import { StorageError } from "../../core/errors.ts";
import { printable } from "../../report/units.ts";
import { mount } from "../../usecases/mount.ts";
import type { MountFlags } from "../options.ts";
import { emitJson, note } from "../output.ts";
import { type Session, sourceOptions } from "../session.ts";

export async function run(named: readonly string[], flags: MountFlags, session: Session): Promise<number> {
  const [folder, ...reversed] = [...named].reverse();
  if (folder === undefined || reversed.length === 0) {
    throw new StorageError("usage", "no folder is named to mount on", {
      hint: "for example: unterbau mount os43.qcow2 --volume lvg1/lvroot /tmp/os43",
    });
  }
  using keys = session.keys(flags);
  await mount({
    ...sourceOptions(reversed.reverse(), flags, keys, session),
    volume: flags.volume,
    folder,
    onReady: (mounted, volume) => {
      if (flags.json) void emitJson({ schema: "unterbau/mount/1", folder: mounted, volume, pid: process.pid });
      else
        note(`${printable(volume)} is mounted on ${printable(mounted)}, read-only; Ctrl-C or unterbau umount ends it`);
    },
  });
  return 0;
}

import { StorageError } from "../../core/errors.ts";
import { readVolume } from "../../usecases/read.ts";
import type { ReadFlags } from "../options.ts";
import { emit, isTerminal, STDOUT } from "../output.ts";
import { Progress } from "../progress.ts";
import { type Session, sourceOptions } from "../session.ts";

export async function run(sources: readonly string[], flags: ReadFlags, session: Session): Promise<number> {
  if (isTerminal(STDOUT)) {
    throw new StorageError("usage", "raw bytes would go to the terminal", {
      hint: "send them to a file or a pipe: unterbau read … > volume.raw",
    });
  }
  using keys = session.keys(flags);
  using progress = new Progress(`reading ${flags.volume}`);
  const { volume, offset, length } = flags;
  await readVolume(
    { ...sourceOptions(sources, flags, keys, session), volume, offset, length, into: STDOUT },
    emit,
    (done, total) => progress.bytes(done, total),
  );
  return 0;
}

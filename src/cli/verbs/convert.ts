import { StorageError } from "../../core/errors.ts";
import { describeNewLuks } from "../../report/luks-text.ts";
import { humanSize } from "../../report/units.ts";
import { convert } from "../../usecases/convert.ts";
import { Keys } from "../keys.ts";
import { newKeysFrom, newLuksFrom, refuseNewLuksFlags } from "../new-luks.ts";
import type { ConvertFlags } from "../options.ts";
import { emit, emitJson } from "../output.ts";
import { Progress } from "../progress.ts";
import { type Session, sourceOptions } from "../session.ts";

export async function run(paths: readonly string[], flags: ConvertFlags, session: Session): Promise<number> {
  if (paths.length < 2)
    throw new StorageError("usage", "a source and a target are wanted", {
      hint: "unterbau convert os43.qcow2 os43.raw",
    });
  const sources = paths.slice(0, -1);
  const target = paths.at(-1)!;
  using keys = session.keys(flags);
  using newKeys = flags.toLuks ? newKeysFrom(flags) : null;
  const newLuks = newKeys ? newLuksFrom(flags, newKeys) : undefined;
  if (!newLuks) refuseNewLuksFlags(flags);
  using targetKeys = new Keys({ keyFile: newKeys ? [] : flags.targetKeyFile, keyFd: undefined, prompt: flags.prompt });
  const bars = { copying: new Progress("copying"), verifying: new Progress("verifying") };
  const doc = await convert({
    ...sourceOptions(sources, flags, keys, session),
    volume: flags.volume,
    target,
    to: flags.to,
    newLuks,
    targetKeys,
    overwrite: flags.overwrite ?? false,
    verify: flags.verify ?? false,
    onProgress: (phase, { done, total }) => {
      if (phase === "verifying") bars.copying.clear();
      bars[phase].bytes(done, total);
    },
  });
  for (const bar of Object.values(bars)) bar.clear();
  if (flags.json) await emitJson(doc);
  else {
    const from = doc.continuedAt > 0 ? `, continued at ${humanSize(doc.continuedAt)}` : "";
    await emit(
      `${target}: ${humanSize(doc.size)} as ${doc.format}, ${humanSize(doc.writtenBytes)} written${from}${doc.verified ? ", verified" : ""}\n`,
    );
    if (doc.luks) await emit(`${describeNewLuks(doc.luks)}\n`);
  }
  return 0;
}

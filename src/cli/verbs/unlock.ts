import { lifeText } from "../../report/life-text.ts";
import { unlockGuest } from "../../usecases/unlock-guest.ts";
import { Keys } from "../keys.ts";
import type { UnlockFlags } from "../life-verbs.ts";
import { emit, emitJson, note, palette, STDOUT } from "../output.ts";
import type { Session } from "../session.ts";

export async function run([guest = ""]: readonly string[], flags: UnlockFlags, session: Session): Promise<number> {
  const { keyFile, keyFd, prompt, askPassword, connect } = flags;
  using keys = new Keys({ keyFile, keyFd, prompt, agent: askPassword, signal: session.signal });
  const doc = await unlockGuest({
    guest,
    connect,
    keys,
    start: flags.start ?? false,
    dryRun: flags.dryRun ?? false,
    signal: session.signal,
    note,
  });
  if (flags.json) await emitJson(doc);
  else await emit(lifeText(doc, palette(STDOUT)));
  return doc.exitCode;
}

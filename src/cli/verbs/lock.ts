import { lifeText } from "../../report/life-text.ts";
import { lockGuest } from "../../usecases/lock-guest.ts";
import type { LockFlags } from "../life-verbs.ts";
import { emit, emitJson, note, palette, STDOUT } from "../output.ts";
import type { Session } from "../session.ts";

export async function run([guest = ""]: readonly string[], flags: LockFlags, session: Session): Promise<number> {
  const doc = await lockGuest({
    guest,
    connect: flags.connect,
    dryRun: flags.dryRun ?? false,
    guestOnly: flags.guestOnly ?? false,
    timeoutMs: flags.timeout * 1000,
    forceOff: flags.forceOff ?? false,
    signal: session.signal,
    note,
  });
  if (flags.json) await emitJson(doc);
  else await emit(lifeText(doc, palette(STDOUT)));
  return doc.exitCode;
}

import { guestsText } from "../../report/guests-text.ts";
import { guests } from "../../usecases/list-guests.ts";
import type { ListGuestsFlags } from "../options.ts";
import { emit, emitJson, palette, STDOUT } from "../output.ts";
import type { Session } from "../session.ts";

export async function run(_: readonly string[], flags: ListGuestsFlags, session: Session): Promise<number> {
  const doc = await guests({ connect: flags.connect, signal: session.signal });
  if (flags.json) await emitJson(doc);
  else await emit(guestsText(doc, palette(STDOUT)));
  return 0;
}

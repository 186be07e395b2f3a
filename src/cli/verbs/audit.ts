import { auditText } from "../../report/audit-text.ts";
import { audit } from "../../usecases/audit.ts";
import type { AuditFlags } from "../audit-verbs.ts";
import { Keys } from "../keys.ts";
import { emit, emitJson, note, palette, STDOUT } from "../output.ts";
import type { Session } from "../session.ts";
import { VERSION } from "../version.ts";

/** 0 pass · 1 warn or unknown · 2 fail. */
export async function run(names: readonly string[], flags: AuditFlags, { signal }: Session): Promise<number> {
  const { root, record, policy, scope, connect, mail, live, keyFile } = flags;
  const guests = names.map((name) => name.replace(/^vm:/, ""));
  using keys = new Keys({ keyFile, prompt: false });
  const doc = await audit({
    mail,
    live,
    keys,
    note,
    guests,
    roots: root,
    record,
    policy,
    scope,
    connect,
    version: VERSION,
    signal,
  });
  if (flags.json) await emitJson(doc);
  else await emit(auditText(doc, flags.lang ?? languageOf(process.env), palette(STDOUT)));
  return doc.state === "fail" ? 2 : doc.state === "pass" || doc.state === "n-a" ? 0 : 1;
}

/** locale(7): the first of these that is set counts. */
function languageOf({ LC_ALL, LC_MESSAGES, LANG }: NodeJS.ProcessEnv): "de" | "en" {
  return (LC_ALL || LC_MESSAGES || LANG || "").startsWith("de") ? "de" : "en";
}

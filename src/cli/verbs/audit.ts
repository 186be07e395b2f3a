import { diffText } from "../../report/audit-runs-text.ts";
import { auditText } from "../../report/audit-text.ts";
import { audit } from "../../usecases/audit.ts";
import { diffRuns } from "../../usecases/audit-diff.ts";
import { keptDocument } from "../../usecases/audit-runs.ts";
import type { AuditFlags } from "../audit-verbs.ts";
import { Keys } from "../keys.ts";
import { emit, emitJson, note, palette, STDOUT } from "../output.ts";
import type { Session } from "../session.ts";
import { VERSION } from "../version.ts";

/** 0 pass · 1 warn or unknown · 2 fail. */
export async function run(names: readonly string[], flags: AuditFlags, { signal }: Session): Promise<number> {
  const { root, asOf, record, policy, scope, connect, mail, live, keyFile, keep, sample, timeout } = flags;
  // A run to compare with that is not there is said before anything is measured.
  const before = flags.diff === undefined ? null : keptDocument(flags.diff);
  const guests = names.map((name) => name.replace(/^vm:/, ""));
  using keys = new Keys({ keyFile, prompt: false });
  const doc = await audit({
    mail,
    live,
    keys,
    note,
    guests,
    roots: root,
    asOf,
    record,
    policy,
    scope,
    keep,
    sample,
    timeoutMs: timeout === undefined ? undefined : timeout * 1000,
    connect,
    version: VERSION,
    signal,
  });
  const diff = before && diffRuns(before, doc);
  const lang = flags.lang ?? languageOf(process.env);
  if (flags.json) await emitJson(diff ?? doc);
  else await emit(auditText(doc, lang, palette(STDOUT)) + (diff === null ? "" : diffText(diff, lang, palette(STDOUT))));
  return doc.state === "fail" ? 2 : doc.state === "pass" || doc.state === "n-a" ? 0 : 1;
}

/** locale(7): the first of these that is set counts. */
function languageOf({ LC_ALL, LC_MESSAGES, LANG }: NodeJS.ProcessEnv): "de" | "en" {
  return (LC_ALL || LC_MESSAGES || LANG || "").startsWith("de") ? "de" : "en";
}

import { spawnSync } from "node:child_process";
import { parseAnswers } from "../../answers/parse.ts";
import { type Draft, writeAnswers } from "../../answers/write.ts";
import type { Lang } from "../../audit/model.ts";
import { StorageError } from "../../core/errors.ts";
import { printable } from "../../report/units.ts";
import {
  answersFolder,
  answersPath,
  draftPath,
  earlier,
  problemLine,
  readText,
  saveAnswers,
  saveDraft,
} from "../../usecases/answers-files.ts";
import { manifestOf, readAudit } from "../../usecases/audit-document.ts";
import { emit, note } from "../output.ts";
import type { InitFlags } from "../report-verbs.ts";
import type { Session } from "../session.ts";
import { askYes, hasTerminal } from "../tty.ts";

export async function run(_: readonly string[], flags: InitFlags, _session: Session): Promise<number> {
  const client = flags.client ?? null;
  const kind = client === null ? "office" : "client";
  const lang = flags.lang ?? languageOf(process.env);
  const path = answersPath(flags.answers ?? answersFolder(), client);
  const before = earlier(path, kind);
  if (before?.draft) note(`going on with ${printable(draftPath(path))}`);

  if (flags.edit) return edit(path, kind, before?.text ?? writeAnswers(kind, lang, { guests: null, given: {} }));
  if (!process.stdin.isTTY || !process.stdout.isTTY)
    throw new StorageError("usage", "questions can only be asked on a terminal", {
      hint: "--edit opens the questionnaire as a form in $EDITOR",
    });
  if (before && !before.parsed.ok)
    throw new StorageError("usage", problemLine(before.draft ? draftPath(path) : path, before.parsed.problems[0]!), {
      hint: "correct it with: unterbau report init --edit, with the same options",
    });
  const known: Draft = before?.parsed.ok ? before.parsed.answers : { guests: null, given: {} };
  const { interview } = await import("../interview.ts");
  const keep = (draft: Draft) => saveDraft(path, writeAnswers(kind, lang, draft));
  const done = await interview(kind, lang, known, kind === "client" ? guestsOfLastAudit() : [], keep);
  if (done === null) {
    note(`what you answered is kept; the same command goes on`);
    throw new StorageError("cancelled", "cancelled");
  }
  saveAnswers(path, writeAnswers(kind, lang, done));
  await emit(`${printable(path)}\n`);
  return 0;
}

/** Names to choose from; none where no audit was kept. */
function guestsOfLastAudit(): string[] {
  try {
    return readAudit(manifestOf(null)).audit.guests.map((guest) => guest.name);
  } catch (error) {
    if (!(error instanceof StorageError)) throw error;
    return [];
  }
}

/** The file is only put in place when it holds no error; until then it is a draft. */
async function edit(path: string, kind: "office" | "client", text: string): Promise<number> {
  const editor = process.env.VISUAL || process.env.EDITOR || "sensible-editor";
  const draft = draftPath(path);
  saveDraft(path, text);
  for (;;) {
    // As git does it: the variable may hold arguments. The path is an argument of its own and never a part of the command.
    const { status, error } = spawnSync("/bin/sh", ["-c", `${editor} "$1"`, "sh", draft], { stdio: "inherit" });
    if (error || status !== 0)
      throw new StorageError("io", `the editor failed: ${printable(editor)}`, {
        hint: `set EDITOR to one that is installed; the form stays in ${draft}`,
      });
    const edited = readText(draft) ?? "";
    const parsed = parseAnswers(edited, kind);
    if (parsed.ok) {
      saveAnswers(path, edited);
      await emit(`${printable(path)}\n`);
      return 0;
    }
    for (const problem of parsed.problems) note(printable(problemLine(draft, problem)));
    if (!hasTerminal() || (await askYes("edit again? [y/N] ")) !== true)
      throw new StorageError("usage", "the form holds errors and was not put in place", {
        hint: `it stays in ${draft}; the same command goes on with it`,
      });
  }
}

/** German where the locale is German, else English. */
function languageOf(env: NodeJS.ProcessEnv): Lang {
  const locale = env.LC_ALL || env.LC_MESSAGES || env.LANG || "";
  return /^de([_.@]|$)/i.test(locale) ? "de" : "en";
}

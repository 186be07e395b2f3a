import type { Answers } from "../answers/model.ts";
import { CHECKS } from "../audit/checks/index.ts";
import type { AuditDocument, Check } from "../audit/model.ts";
import { answersFolder, answersPath, readAnswers } from "./answers-files.ts";
import { manifestOf, readAudit } from "./audit-document.ts";

export interface MaterialOptions {
  readonly client: string;
  /** Folder of the answers; undefined: in the state folder. */
  readonly answers?: string | undefined;
  /** A run's id; undefined: the newest. */
  readonly run?: string | undefined;
  /** A file instead of a run. */
  readonly audit?: string | undefined;
}

/** What papers are written from, read and judged. Throws `usage` for answers with errors, and when nothing was measured. */
export function readMaterial({ client, answers, run, audit }: MaterialOptions): {
  readonly audit: AuditDocument;
  readonly manifestSha256: string;
  readonly checks: readonly Check<unknown>[];
  readonly office: Answers | null;
  readonly client: Answers | null;
  /** The files of answers that are not there: what they ask is open. */
  readonly missing: readonly string[];
} {
  const folder = answers ?? answersFolder();
  const paths = { office: answersPath(folder, null), client: answersPath(folder, client) };
  const read = readAudit(audit ?? manifestOf(run ?? null));
  const office = readAnswers(paths.office, "office");
  const own = readAnswers(paths.client, "client");
  const missing = [...(office ? [] : [paths.office]), ...(own ? [] : [paths.client])];
  return { ...read, checks: CHECKS, office, client: own, missing };
}

import { printable } from "../../report/units.ts";
import { type AnswersReport, checkAnswers, problemLine } from "../../usecases/answers-files.ts";
import type { PlainFlags } from "../options.ts";
import { emit, emitJson } from "../output.ts";
import type { Session } from "../session.ts";

export async function run(files: readonly string[], flags: PlainFlags, _session: Session): Promise<number> {
  const documents = files.map((file) => checkAnswers(file));
  if (flags.json) await emitJson({ schema: "unterbau/report-check/1", files: documents });
  else for (const document of documents) await emit(text(document));
  return documents.every(({ problems }) => problems.length === 0) ? 0 : 1;
}

function text({ file, problems, answered, open, aged }: AnswersReport): string {
  if (problems.length > 0) return problems.map((problem) => `${printable(problemLine(file, problem))}\n`).join("");
  const list = (name: string, ids: readonly string[]): string =>
    ids.length === 0 ? "" : `  ${name}: ${ids.join(" ")}\n`;
  return `${printable(file)}: no errors, ${answered} answers\n${list("open", open)}${list("older than 12 months", aged)}`;
}

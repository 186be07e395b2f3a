import { join } from "node:path";
import { StorageError } from "../../core/errors.ts";
import { LAW } from "../../report/gdpr/data/law.ts";
import type { PaperId } from "../../report/gdpr/model.ts";
import { PAPER_IDS } from "../../report/gdpr/papers/index.ts";
import { PdfUnavailable } from "../../report/gdpr/render/pdf.ts";
import { FORMATS, type Format, hasForm, paperFile } from "../../report/gdpr/write.ts";
import { printable } from "../../report/units.ts";
import { putPaper } from "../../usecases/papers.ts";
import { readMaterial } from "../../usecases/report-material.ts";
import { emit, emitJson, note } from "../output.ts";
import type { PapersFlags } from "../report-verbs.ts";
import type { Session } from "../session.ts";

/** The operand is the paper, or `all`. */
export async function run([what = ""]: readonly string[], flags: PapersFlags, { signal }: Session): Promise<number> {
  const formats = formatsOf(flags.format);
  const papers = what === "all" ? PAPER_IDS : [what as PaperId];
  const wanted = papers.flatMap((id) =>
    formats.filter((format) => hasForm(id, format)).map((format) => ({ id, format })),
  );
  if (wanted.length === 0)
    throw new StorageError("usage", `OSCAL has no form for the paper ${what}`, {
      hint: "it has one for evidence (assessment results) and deviations (plan of action)",
    });
  const { client, lang, audience = "client" } = flags;
  const read = readMaterial({ client, answers: flags.answers, run: flags.run, audit: flags.audit });
  const material = { ...read, clientName: client, lang, audience };
  for (const file of read.missing)
    note(`${printable(file)} is not there: what it asks is open in the papers (unterbau report init)`);
  const days = (Date.now() - Date.parse(read.audit.ended)) / 86_400_000;
  if (days > LAW.validMonths * 30) note(`the audit is ${Math.floor(days)} days old: run unterbau audit again`);

  const out = flags.out ?? "papers";
  const written: string[] = [];
  for (const { id, format } of wanted) {
    signal.throwIfAborted();
    try {
      const { name, content } = await paperFile(id, format, material);
      putPaper(join(out, name), content, flags.force ?? false);
      written.push(join(out, name));
    } catch (error) {
      if (!(error instanceof PdfUnavailable)) throw error;
      throw new StorageError("unsupported", error.message, {
        feature: "pdf",
        hint: "npm install @myriaddreamin/typst-ts-node-compiler@0.7.0, or leave pdf out of --format",
        cause: error,
      });
    }
  }
  if (flags.json)
    await emitJson({
      schema: "unterbau/report-files/1",
      run: read.audit.run,
      manifestSha256: read.manifestSha256,
      files: written,
    });
  else for (const file of written) await emit(`${printable(file)}\n`);
  return 0;
}

function formatsOf(list: string): readonly Format[] {
  const names = list.split(",").map((name) => name.trim());
  const wrong = names.find((name) => !(FORMATS as readonly string[]).includes(name));
  if (wrong !== undefined)
    throw new StorageError("usage", `${printable(wrong)} is no format of a paper`, {
      hint: `these are: ${FORMATS.join(", ")}`,
    });
  return FORMATS.filter((format) => names.includes(format));
}

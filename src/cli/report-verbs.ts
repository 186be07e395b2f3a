import { type Command, Option } from "commander";
import type { PlainFlags } from "./options.ts";
import type { Verb } from "./run-verb.ts";

export interface InitFlags extends PlainFlags {
  readonly office?: boolean;
  readonly client?: string;
  readonly lang?: "de" | "en";
  readonly answers?: string;
  readonly edit?: boolean;
}

export interface PapersFlags extends PlainFlags {
  readonly client: string;
  readonly lang: "de" | "en";
  readonly audience?: "client" | "authority" | "internal";
  readonly format: string;
  readonly run?: string;
  readonly audit?: string;
  readonly answers?: string;
  readonly out?: string;
  readonly force?: boolean;
}

const PAPERS = {
  tom: "annex to the contract: the technical and organisational measures (Art. 32)",
  record: "record of processing activities (Art. 30), with the way of the mail",
  evidence: "what was read, when and how, with hashes",
  deviations: "what does not pass, residual risks, decisions, signatures",
  all: "all of them",
} as const;

/** `report`: papers from what was measured and declared. */
export function addReport(program: Command, verb: Verb): void {
  const report = program
    .command("report")
    .description("GDPR papers from what audit measured and what you declare (German, English)");
  for (const [paper, description] of Object.entries(PAPERS)) {
    report
      .command(paper)
      .description(description)
      .requiredOption("--client <name>", "whose answers are used (report init --client)")
      .addOption(new Option("--lang <language>", "language of the paper").choices(["de", "en"]).makeOptionMandatory())
      .addOption(
        new Option(
          "--audience <who>",
          "what is left out: paths, serial numbers, addresses, rules; default: client",
        ).choices(["client", "authority", "internal"]),
      )
      .option("--format <list>", "md, html, pdf, docx, json, oscal; with commas", "html")
      .addOption(new Option("--run <run>", "an audit that was kept; default: the newest").conflicts("audit"))
      .option("--audit <file>", "what audit --json printed")
      .option("--answers <dir>", "folder of the answers; default: answers in the state folder")
      .option("--out <dir>", "where the papers go; default: papers")
      .option("--force", "replace papers that are there and differ")
      .option("--json", "the names of the files as one JSON document")
      .option("--debug", "show stack traces")
      .addHelpText(
        "after",
        `\nExample:\n  unterbau report ${paper} --client example-gmbh --lang de --format pdf,docx --out papers`,
      )
      .action((flags: PapersFlags) => verb<PapersFlags>(() => import("./verbs/report.ts"))([paper], flags));
  }
  report
    .command("init")
    .description("answer the questionnaire: what no program can measure")
    .addOption(new Option("--office", "what holds for all clients (the default)").conflicts("client"))
    .option("--client <name>", "what holds for this client")
    .addOption(new Option("--lang <language>", "of the questions; default: as LANG says").choices(["de", "en"]))
    .option("--answers <dir>", "folder of the files; default: answers in the state folder")
    .option("--edit", "as a form in $VISUAL or $EDITOR, instead of question by question")
    .option("--debug", "show stack traces")
    .addHelpText(
      "after",
      "\nThe same command again goes on where you stopped, and asks whether older answers still hold.\n\nExample:\n  unterbau report init --office\n  unterbau report init --client example-gmbh --lang de --edit",
    )
    .action((flags: InitFlags) => verb<InitFlags>(() => import("./verbs/report-init.ts"))([], flags));
  report
    .command("check")
    .description("judge files of answers: errors with line and column, what is open")
    .argument("<file...>", "files that report init wrote")
    .option("--json", "one JSON document")
    .option("--debug", "show stack traces")
    .addHelpText("after", "\nExit code 1: there are errors.\n\nExample:\n  unterbau report check office.yaml")
    .action((files: string[], flags: PlainFlags) =>
      verb<PlainFlags>(() => import("./verbs/report-check.ts"))(files, flags),
    );
}

import { addMonths } from "../../../answers/age.ts";
import { QUESTIONS } from "../../../answers/questions/index.ts";
import type { CheckOutcome } from "../../../audit/model.ts";
import { effectOf } from "../data/effects.ts";
import { LAW } from "../data/law.ts";
import { RISKS } from "../data/risks.ts";
import { type DecisionState, type Deviation, decisionOn } from "../deviations.ts";
import { guestsInScope, infoOf, type Material } from "../material.ts";
import type { Run, Sentence } from "../model.ts";
import { redactor } from "../redact.ts";
import { answerOf, declared, deviationId, deviationRuns } from "../statements.ts";
import { clean, remarkRuns } from "../text.ts";
import { uuid5 } from "./uuid.ts";

/** Of our own properties: what OSCAL has no word for. */
export const NS = "https://unterbau.invalid/ns/oscal";
export const OSCAL_VERSION = "1.2.0";

export type Json = Readonly<Record<string, unknown>>;

/** Names things in one document: UUIDs follow from the manifest's hash. */
export class Names {
  readonly material: Material;
  private readonly hide: (run: Run) => Run;

  constructor(material: Material) {
    this.material = material;
    this.hide = redactor(material.audience, material.lang, guestsInScope(material));
  }

  /** `observation`, `ENC-01/mail` */
  uuid(kind: string, name: string): string {
    const { manifestSha256, lang, audience } = this.material;
    return uuid5([manifestSha256, lang, audience, kind, name].join("\n"));
  }

  /** What the audience may read. */
  text(runs: readonly Run[]): string {
    return runs.map((run) => this.hide(run).text).join("");
  }

  sentences(list: readonly Sentence[]): string {
    return list.map(({ runs }) => this.text(runs)).join(" ");
  }
}

export function prop(name: string, value: string): Json {
  return { name, ns: NS, value };
}

export function metadata(material: Material, title: string): Json {
  const { audit } = material;
  return {
    title,
    "last-modified": audit.ended,
    version: audit.run,
    "oscal-version": OSCAL_VERSION,
    props: [prop("manifest-sha256", material.manifestSha256), prop("policy-date", audit.policy.date)],
  };
}

/** RFC 3339 of a day. */
function midnight(day: string): string {
  return `${day}T00:00:00Z`;
}

/** What a command said was tested, what a file says was examined. */
export function observation(names: Names, outcome: CheckOutcome): Json {
  const { material } = names;
  const { id, guest, state, at, remarks, evidence } = outcome;
  const info = infoOf(material, id);
  const entries = material.audit.evidence.filter(({ n }) => evidence.includes(n));
  const methods = new Set(entries.map(({ kind }) => (kind === "command" ? "TEST" : "EXAMINE")));
  const said = remarks.map((remark) => names.text(remarkRuns(info, remark, material.lang))).join(" ");
  return {
    uuid: names.uuid("observation", deviationId(id, guest)),
    title: `${names.text(deviationRuns(id, guest))}: ${info?.title[material.lang] ?? id}`,
    description: said === "" ? state : said,
    props: [prop("check", id), prop("state", state)],
    methods: methods.size === 0 ? ["EXAMINE"] : [...methods].sort(),
    types: ["finding"],
    collected: at,
    expires: midnight(addMonths(at, LAW.validMonths)),
    ...(entries.length === 0
      ? {}
      : {
          "relevant-evidence": entries.map(({ n }) => ({
            href: `#${names.uuid("evidence", String(n))}`,
            description: `${n}`,
          })),
        }),
  };
}

/** What was declared: asked, not verified. */
export function interviews(names: Names): readonly Json[] {
  const { material } = names;
  return QUESTIONS.flatMap(({ id, title }) => {
    const answer = answerOf(material, id);
    if (!answer) return [];
    return [
      {
        uuid: names.uuid("interview", id),
        title: `${id}: ${title[material.lang]}`,
        description: names.sentences(declared(material, id)),
        props: [prop("question", id), prop("declared-by", clean(answer.by))],
        methods: ["INTERVIEW"],
        types: ["historic"],
        collected: midnight(answer.date),
      },
    ];
  });
}

const STATUS: Readonly<Record<DecisionState, string>> = {
  open: "open",
  demanded: "open",
  remediating: "remediating",
  accepted: "deviation-approved",
  closed: "closed",
};

function decided(material: Material, subject: string, guest: string | null): Json {
  const { decision, row, doubt } = decisionOn(material, subject, guest);
  return {
    status: doubt ? "open" : STATUS[decision],
    ...(row?.deadline ? { deadline: midnight(row.deadline) } : {}),
  };
}

export function deviationRisk(names: Names, deviation: Deviation): Json {
  const { check, guest, info, state, remarks } = deviation;
  const { lang } = names.material;
  const said = remarks.map((remark) => names.text(remarkRuns(info, remark, lang))).join(" ");
  return {
    uuid: names.uuid("risk", deviationId(check, guest)),
    title: `${names.text(deviationRuns(check, guest))}: ${info?.title[lang] ?? check}`,
    description: said === "" ? state : said,
    statement: effectOf(check)[lang],
    props: [prop("check", check), prop("state", state)],
    ...decided(names.material, check, guest),
  };
}

export function residualRisks(names: Names): readonly Json[] {
  const { lang } = names.material;
  return RISKS.map(({ id, text }) => ({
    uuid: names.uuid("risk", id),
    title: id,
    description: text[lang],
    statement: text[lang],
    props: [prop("risk", id)],
    ...decided(names.material, id, null),
  }));
}

/** One resource for each thing that was read; what it holds stays on the host, its hash does not. */
export function evidenceResources(names: Names, used: ReadonlySet<number>): readonly Json[] {
  const { audit } = names.material;
  return audit.evidence
    .filter(({ n }) => used.has(n))
    .map(({ n, kind, what, sha256, sha256Redacted, at }) => {
      const [program = "", ...rest] = what;
      const name: readonly Run[] =
        kind === "command"
          ? [{ text: `${program.split("/").pop() ?? ""} ` }, { text: rest.join(" "), kind: "path" }]
          : [{ text: what.join(" "), kind: "path" }];
      return {
        uuid: names.uuid("evidence", String(n)),
        title: clean(names.text(name).trim()) || kind,
        props: [prop("evidence", String(n)), prop("read", at)],
        rlinks: [
          {
            href: `urn:unterbau:audit:${encodeURIComponent(audit.run)}:${n}`,
            hashes: [{ algorithm: "SHA-256", value: sha256Redacted ?? sha256 }],
          },
        ],
      };
    });
}

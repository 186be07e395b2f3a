import type { State } from "../../../audit/model.ts";
import { worst } from "../../../audit/verdict.ts";
import { deviationsOf } from "../deviations.ts";
import { guestsInScope, type Material, outcomesOf } from "../material.ts";
import { deviationId } from "../statements.ts";
import { PAPER_TITLES } from "../words.ts";
import {
  deviationRisk,
  evidenceResources,
  interviews,
  type Json,
  metadata,
  Names,
  observation,
  prop,
  residualRisks,
} from "./parts.ts";

const PLAN = {
  de: "Die Prüfliste des Laufs ist der Prüfplan; einen eigenen gibt es nicht.",
  en: "The run's list of checks is the assessment plan; there is none of its own.",
};

/** OSCAL assessment results (1.2): what was measured and asked, and what follows for each check as a control. */
export function assessmentResults(material: Material): string {
  const names = new Names(material);
  const { audit, lang } = material;
  const scope = new Set(guestsInScope(material));
  const outcomes = audit.checks.filter(({ guest }) => guest === null || scope.has(guest));
  const ids = [...new Set(outcomes.map(({ id }) => id))];
  const failed = deviationsOf(material).filter(({ state }) => state === "fail");
  const plan = names.uuid("resource", "plan");
  const used = new Set(outcomes.flatMap(({ evidence }) => evidence));
  const controls = ids.map((id) => ({ "control-id": id.toLowerCase() }));
  return document({
    "assessment-results": {
      uuid: names.uuid("document", "assessment-results"),
      metadata: metadata(material, PAPER_TITLES.evidence[lang]),
      "import-ap": { href: `#${plan}` },
      results: [
        {
          uuid: names.uuid("result", audit.run),
          title: audit.run,
          description: PAPER_TITLES.evidence[lang],
          start: audit.started,
          end: audit.ended,
          "reviewed-controls": {
            "control-selections": [controls.length === 0 ? { "include-all": {} } : { "include-controls": controls }],
          },
          observations: [...outcomes.map((outcome) => observation(names, outcome)), ...interviews(names)],
          risks: [...failed.map((deviation) => deviationRisk(names, deviation)), ...residualRisks(names)],
          ...optional(
            "findings",
            ids.flatMap((id) => finding(names, id)),
          ),
        },
      ],
      "back-matter": {
        resources: [{ uuid: plan, title: PLAN[lang], description: PLAN[lang] }, ...evidenceResources(names, used)],
      },
    },
  });
}

const STATUS: Readonly<Record<Exclude<State, "n-a">, { state: string; reason: string }>> = {
  pass: { state: "satisfied", reason: "pass" },
  warn: { state: "not-satisfied", reason: "other" },
  fail: { state: "not-satisfied", reason: "fail" },
  unknown: { state: "not-satisfied", reason: "other" },
};

/** What is not applicable has no finding: it is neither satisfied nor not. */
function finding(names: Names, id: string): readonly Json[] {
  const { material } = names;
  const outcomes = outcomesOf(material, id);
  const state = worst(outcomes.map((outcome) => outcome.state));
  if (state === "n-a") return [];
  const title = material.checks.find((check) => check.id === id)?.title[material.lang] ?? id;
  const risks = outcomes.filter((outcome) => outcome.state === "fail");
  return [
    {
      uuid: names.uuid("finding", id),
      title: `${id}: ${title}`,
      description: title,
      props: [prop("state", state)],
      target: { type: "statement-id", "target-id": `${id.toLowerCase()}_smt`, status: STATUS[state] },
      "related-observations": outcomes.map(({ guest }) => ({
        "observation-uuid": names.uuid("observation", deviationId(id, guest)),
      })),
      ...optional(
        "related-risks",
        risks.map(({ guest }) => ({ "risk-uuid": names.uuid("risk", deviationId(id, guest)) })),
      ),
    },
  ];
}

/** OSCAL plan of action and milestones (1.2): deviations, and the risks that stay. */
export function planOfAction(material: Material): string {
  const names = new Names(material);
  const { lang, audit } = material;
  const deviations = deviationsOf(material);
  const measured = deviations.filter(({ at }) => at !== "");
  const outcomes = audit.checks.filter((outcome) =>
    measured.some(({ check, guest }) => check === outcome.id && guest === outcome.guest),
  );
  const risks = [...deviations.map((deviation) => deviationRisk(names, deviation)), ...residualRisks(names)];
  const used = new Set(outcomes.flatMap(({ evidence }) => evidence));
  return document({
    "plan-of-action-and-milestones": {
      uuid: names.uuid("document", "poam"),
      metadata: metadata(material, PAPER_TITLES.deviations[lang]),
      "system-id": { "identifier-type": "https://ietf.org/rfc/rfc4122", id: names.uuid("system", "host") },
      ...optional(
        "observations",
        outcomes.map((outcome) => observation(names, outcome)),
      ),
      risks,
      "poam-items": [
        ...deviations.map(({ check, guest, info, at }, i) => ({
          uuid: names.uuid("poam-item", deviationId(check, guest)),
          title: risks[i]?.title,
          description: info?.remedy[lang].replaceAll("`", "") ?? check,
          ...(at === ""
            ? {}
            : {
                "related-observations": [{ "observation-uuid": names.uuid("observation", deviationId(check, guest)) }],
              }),
          "related-risks": [{ "risk-uuid": names.uuid("risk", deviationId(check, guest)) }],
        })),
        ...residualRisks(names).map(({ title, description, uuid }) => ({
          uuid: names.uuid("poam-item", String(title)),
          title,
          description,
          "related-risks": [{ "risk-uuid": uuid }],
        })),
      ],
      ...optional("back-matter", evidenceResources(names, used), (resources) => ({ resources })),
    },
  });
}

/** OSCAL's lists have at least one entry, or are not there. */
function optional<T>(key: string, list: readonly T[], wrap: (list: readonly T[]) => unknown = (l) => l): Json {
  return list.length === 0 ? {} : { [key]: wrap(list) };
}

function document(value: Json): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

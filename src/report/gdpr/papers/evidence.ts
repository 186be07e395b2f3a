import type { CheckOutcome, EvidenceEntry } from "../../../audit/model.ts";
import { guestsInScope, infoOf, type Material } from "../material.ts";
import type { Cell, Paper, Run } from "../model.ts";
import { deviationRuns } from "../statements.ts";
import { clean, kinded, moment, mono, plain, remarkRuns, sentence } from "../text.ts";
import { STATES } from "../words.ts";
import { PaperWriter } from "./writer.ts";

/** (c) What was read, when and how, and the hashes by which it is found unchanged. */
export function evidencePaper(material: Material): Paper {
  const w = new PaperWriter(material);
  const { lang } = w;
  const scope = new Set(guestsInScope(material));
  const outcomes = material.audit.checks.filter(({ guest }) => guest === null || scope.has(guest));
  w.heading(1, { de: "1 Prüflauf", en: "1 Audit run" });
  w.head();
  run(w);
  w.heading(1, { de: "2 Ergebnisse", en: "2 Results" });
  w.table(
    [
      { title: { de: "Prüfung", en: "Check" }, width: 16 },
      { title: { de: "Stand", en: "State" }, width: 13 },
      { title: { de: "Befund", en: "Finding" }, width: 44 },
      { title: { de: "UTC", en: "UTC" }, width: 13 },
      { title: { de: "Nachweise", en: "Evidence" }, width: 14 },
    ],
    outcomes.map((outcome) => [
      [sentence([...deviationRuns(outcome.id, outcome.guest)])],
      [sentence([{ text: STATES[outcome.state][lang], strong: true }])],
      findings(material, outcome),
      [sentence(moment(outcome.at))],
      [sentence(outcome.evidence.join(", ") || "–")],
    ]),
  );
  w.heading(1, { de: "3 Gelesenes", en: "3 What was read" });
  w.text({
    de: "Die Ausgaben selbst bleiben auf dem Host, im Ordner des Prüflaufs. Wo Geheimnisse herausgenommen wurden, gilt die zweite Prüfsumme dem Aufbewahrten.",
    en: "The outputs themselves stay on the host, in the run's folder. Where secrets were taken out, the second hash is of what is kept.",
  });
  const used = new Set(outcomes.flatMap(({ evidence }) => evidence));
  const shown = material.audit.evidence.filter(({ n }) => material.audience !== "client" || used.has(n));
  w.table(
    [
      { title: { de: "Nr.", en: "No." }, width: 6 },
      { title: { de: "Befehl oder Datei", en: "Command or file" }, width: 34 },
      { title: { de: "UTC, Ende", en: "UTC, exit" }, width: 14 },
      { title: { de: "SHA-256", en: "SHA-256" }, width: 30 },
      { title: { de: "Version", en: "Version" }, width: 16 },
    ],
    shown.map((entry) => [
      [sentence(String(entry.n))],
      [sentence(what(entry))],
      [sentence(`${moment(entry.at)}${entry.exit === null ? "" : `, ${entry.exit}`}`)],
      hashes(entry, lang),
      [sentence(entry.version === null ? "–" : clean(entry.version))],
    ]),
  );
  w.heading(1, { de: "4 Nachprüfen", en: "4 Verification" });
  w.list([
    [
      sentence([
        plain(w.say({ de: "Auf dem Host: ", en: "On the host: " })),
        mono(`unterbau audit verify ${material.audit.run}`),
        plain(
          w.say({
            de: " prüft die Kette der Manifeste und jede aufbewahrte Ausgabe.",
            en: " walks the chain of manifests and checks every kept output.",
          }),
        ),
      ]),
    ],
    [
      sentence(
        w.say({
          de: "Das Manifest ist kanonisches JSON; seine Prüfsumme steht oben und in jedem Papier, das aus diesem Lauf entstand.",
          en: "The manifest is canonical JSON; its hash stands above and in every paper that was made from this run.",
        }),
      ),
    ],
  ]);
  w.limits();
  return w.finish("evidence");
}

function run(w: PaperWriter): void {
  const { audit } = w.material;
  const say = (label: { de: string; en: string }, ...runs: readonly Run[]): Cell => [
    sentence([{ text: `${w.say(label)}: `, strong: true }, ...runs]),
  ];
  w.list([
    say({ de: "Beginn und Ende", en: "Start and end" }, plain(`${moment(audit.started)} – ${moment(audit.ended)}`)),
    say({ de: "Betriebssystem", en: "Operating system" }, kinded("text", audit.host.os ?? "–")),
    say({ de: "Kernel", en: "Kernel" }, kinded("text", audit.host.kernel ?? "–")),
    say(
      { de: "Kennung des Hosts (SHA-256 der machine-id)", en: "The host's identity (SHA-256 of its machine-id)" },
      { ...mono(audit.host.machineIdSha256 ?? "–"), kind: "serial" },
    ),
    say(
      { de: "Quelle", en: "Source" },
      plain(
        audit.host.recorded
          ? w.say({ de: "aufgezeichneter Host, nicht der laufende", en: "a recorded host, not the running one" })
          : w.say({ de: "der laufende Host", en: "the running host" }),
      ),
    ),
    say({ de: "SHA-256 der Richtlinie", en: "The policy's SHA-256" }, mono(audit.policy.sha256)),
    say(
      { de: "SHA-256 des Manifests davor", en: "SHA-256 of the manifest before" },
      audit.previous === null
        ? plain(w.say({ de: "keines: der erste Lauf", en: "none: the first run" }))
        : mono(audit.previous),
    ),
  ]);
}

function findings(material: Material, outcome: CheckOutcome): Cell {
  const info = infoOf(material, outcome.id);
  return outcome.remarks.map((remark) =>
    sentence(
      remarkRuns(info, remark, material.lang),
      outcome.state === "unknown"
        ? { mark: "open", about: outcome.id }
        : { mark: "measured", checks: [outcome.id], at: outcome.at },
    ),
  );
}

/** A command's arguments may be paths, addresses and names of guests: only its program is for everybody. */
function what({ kind, what: words }: EvidenceEntry): readonly Run[] {
  const [first = "", ...rest] = words;
  if (kind !== "command") return [{ ...mono(words.join(" ")), kind: "path" }];
  const program = mono(first.split("/").pop() ?? "");
  return rest.length === 0 ? [program] : [program, plain(" "), { ...mono(rest.join(" ")), kind: "path" }];
}

function hashes({ sha256, sha256Redacted }: EvidenceEntry, lang: Material["lang"]): Cell {
  if (sha256Redacted === null) return [sentence([mono(sha256)])];
  const kept = { de: "aufbewahrt: ", en: "kept: " }[lang];
  return [sentence([mono(sha256)]), sentence([plain(kept), mono(sha256Redacted)])];
}

import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import type { AnswersKind, Field } from "../../src/answers/model.ts";
import { questionsOf } from "../../src/answers/questions/index.ts";
import type { Lang } from "../../src/audit/model.ts";
import { CLI, unterbau } from "../helpers/cli.ts";
import { KEYS, onTerminal, type Step } from "../helpers/terminal.ts";

let folder: string;
let env: Record<string, string>;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "unterbau-init-"));
  env = { UNTERBAU_STATE_DIR: join(folder, "state") };
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const WORDS = {
  de: {
    who: "Wer gibt diese Auskünfte?",
    guests: "Welche Gäste",
    more: "Noch einen Eintrag?",
    keep: "Stimmt das noch?",
  },
  en: {
    who: "Who gives these answers?",
    guests: "Which guests",
    more: "One more entry?",
    keep: "Does this still hold?",
  },
} as const;
/** Text as people write it, which YAML could take for something else. */
const TEXTS = ["Müller & Söhne: „ja“", "no", "1.10", "#3 - [x]", "'quoted' \"both\"", "2026-11-24", "@ % `"];

/** What is typed into a blank, and what the file has to say then. */
function answer(field: Field, n: number): { type: string; value: string } {
  if (field.type === "date") return { type: `2026-0${(n % 9) + 1}-15${KEYS.enter}`, value: `2026-0${(n % 9) + 1}-15` };
  if (field.type === "text") {
    const value = TEXTS[n % TEXTS.length]!;
    return { type: value + KEYS.enter, value };
  }
  // It begins at the last, (leave open); one further down is the first.
  return { type: KEYS.down + KEYS.enter, value: field.type === "yes-no" ? "yes" : field.choices![0]!.value };
}

/** Every question answered, two entries where there may be many. */
function everything(kind: AnswersKind, lang: Lang) {
  const words = WORDS[lang];
  const steps: Step[] = [[words.who, `Ada Beispiel${KEYS.enter}`]];
  if (kind === "client") steps.push([words.guests, `mail, web${KEYS.enter}`]);
  const expected: Record<string, Record<string, string>[]> = {};
  let n = 0;
  for (const { id, fields, many } of questionsOf(kind)) {
    const rows: Record<string, string>[] = [];
    for (let row = 0; row < (many ? 2 : 1); row++) {
      const values: Record<string, string> = {};
      for (const field of fields) {
        const { type, value } = answer(field, n++);
        steps.push([`◆  ${field.label[lang]}`, type]);
        values[field.key] = value;
      }
      rows.push(values);
      // The confirmation begins with no.
      if (many) steps.push([`◆  ${words.more}`, row === 0 ? "y" : KEYS.enter]);
    }
    expected[id] = rows;
  }
  return { steps, expected };
}

const init = (...args: string[]) => [process.execPath, CLI, "report", "init", ...args];

/** What the file has, as another reader of YAML takes it. */
function read(file: string): { head: Record<string, unknown>; rows: Record<string, Record<string, string>[]> } {
  const all = parse(readFileSync(file, "utf8"), { schema: "failsafe" }) as Record<string, unknown>;
  const head = Object.fromEntries(Object.entries(all).filter(([key]) => !/^Q\d\d$/.test(key)));
  const rows = Object.entries(all)
    .filter(([key]) => /^Q\d\d$/.test(key))
    .map(([key, value]) => {
      const { by: _, date: __, rows: many, ...one } = value as Record<string, never>;
      return [key, many ?? [one]] as const;
    });
  return { head, rows: Object.fromEntries(rows) };
}

describe("report init on a terminal", () => {
  it.each([
    ["office", "de", ["--office"]],
    ["client", "en", ["--client", "mueller-soehne"]],
  ] as const)(
    "asks all questions of the %s in %s, and its file passes report check",
    async (kind, lang, args) => {
      const { steps, expected } = everything(kind, lang);
      const { code, screen } = await onTerminal(init(...args, "--lang", lang), steps, env);
      expect(code, screen.slice(-2000)).toBe(0);
      const file = join(folder, "state/answers", kind === "office" ? "office.yaml" : "clients/mueller-soehne.yaml");
      const { head, rows } = read(file);
      expect(rows).toEqual(expected);
      expect(head).toMatchObject({ schema: "unterbau/answers/1", file: kind, language: lang });
      if (kind === "client") expect(head.guests).toEqual(["mail", "web"]);
      const checked = await unterbau(["report", "check", file, "--json"], { env });
      expect(checked.code, checked.stderr).toBe(0);
      expect(JSON.parse(checked.stdout.toString())).toMatchObject({
        files: [{ problems: [], answered: questionsOf(kind).length, open: [], aged: [] }],
      });
    },
    60_000,
  );

  it("who only presses Enter declares nothing", async () => {
    const own = { UNTERBAU_STATE_DIR: join(folder, "enter") };
    const steps: Step[] = [[WORDS.en.who, `Ada${KEYS.enter}`]];
    for (const { fields } of questionsOf("office"))
      for (const field of fields) if (field.after === undefined) steps.push([`◆  ${field.label.en}`, KEYS.enter]);
    const { code, screen } = await onTerminal(init("--office", "--lang", "en"), steps, own);
    expect(code).toBe(0);
    expect(screen).toContain("Left open: Q03, Q11");
    const checked = await unterbau(["report", "check", join(folder, "enter/answers/office.yaml"), "--json"]);
    expect(JSON.parse(checked.stdout.toString())).toMatchObject({ files: [{ answered: 0 }] });
  }, 60_000);

  it("interrupted it keeps what was said, and goes on there; old answers are asked after", async () => {
    const own = { UNTERBAU_STATE_DIR: join(folder, "interrupted") };
    const [name, contact] = questionsOf("office")[0]!.fields;
    const cut = await onTerminal(
      init("--office", "--lang", "de"),
      [
        [WORDS.de.who, `Ada${KEYS.enter}`],
        [`◆  ${name!.label.de}`, `Büro${KEYS.enter}`],
        [`◆  ${contact!.label.de}`, `Tür 3${KEYS.enter}`],
        ["◆  Datenschutzbeauftragte", KEYS.enter],
        ["Q11", KEYS.interrupt],
      ],
      own,
    );
    expect([cut.code, cut.screen]).toEqual([130, expect.stringContaining("the same command goes on")]);
    const again = await onTerminal(
      init("--office", "--lang", "de"),
      [
        [WORDS.de.who, KEYS.enter],
        [`◆  ${WORDS.de.keep}`, KEYS.enter],
        ["Q11", KEYS.interrupt],
      ],
      own,
    );
    expect(again.screen).toContain("Büro");
    expect(again.code).toBe(130);
  }, 60_000);

  it("an answer that is no date is asked for again", async () => {
    const own = { UNTERBAU_STATE_DIR: join(folder, "dates") };
    const steps: Step[] = [
      [WORDS.en.who, `Ada${KEYS.enter}`],
      [WORDS.en.guests, KEYS.enter],
    ];
    for (const { fields } of questionsOf("client")) {
      const day = fields.find((f) => f.type === "date");
      for (const field of fields) {
        if (field === day) break;
        if (field.after === undefined) steps.push([`◆  ${field.label.en}`, KEYS.enter]);
      }
      if (day === undefined) continue;
      steps.push([`◆  ${day.label.en}`, `soon${KEYS.enter}`], ["A date: YYYY-MM-DD", KEYS.interrupt]);
      break;
    }
    expect((await onTerminal(init("--client", "x", "--lang", "en"), steps, own)).code).toBe(130);
  }, 60_000);
});

describe("report init in an editor", () => {
  it.each(["office", "client"] as const)(
    "a form of the %s that is filled in wholly passes report check",
    async (kind) => {
      // Another program fills each blank: it knows of a field only what the form's comments say.
      const script = join(folder, "editor");
      writeFileSync(
        script,
        `#!/usr/bin/env python3
import re, sys
out, hint = [], ""
for line in open(sys.argv[1], encoding="utf-8"):
    blank = re.match(r"^( +(?:- )?)([a-z-]+):$", line.rstrip("\\n"))
    if blank is None or blank.group(2) == "rows":
        comment = re.match(r"^ *# (.*)$", line)
        hint = comment.group(1).partition(" · ")[2] if comment else ""
        out.append(line)
        continue
    choice = re.match(r"([a-z-]+) \\(", hint)
    day = blank.group(2) == "date" or "YYYY-MM-DD" in hint
    word = "2026-11-24" if day else "yes" if hint.startswith("yes or no") else choice.group(1) if choice else "Ä: x"
    out.append(blank.group(1) + blank.group(2) + ': "' + word + '"\\n')
    hint = ""
open(sys.argv[1], "w", encoding="utf-8").writelines(out)
`,
      );
      chmodSync(script, 0o755);
      const own = { UNTERBAU_STATE_DIR: join(folder, `form-${kind}`), VISUAL: "", EDITOR: script };
      const args = kind === "office" ? ["--office"] : ["--client", "x"];
      const { code, stdout, stderr } = await unterbau(["report", "init", ...args, "--lang", "en", "--edit"], {
        env: own,
      });
      expect(code, stderr).toBe(0);
      const checked = await unterbau(["report", "check", stdout.toString().trim(), "--json"], { env: own });
      expect(JSON.parse(checked.stdout.toString())).toMatchObject({
        files: [{ problems: [], answered: questionsOf(kind).length, open: [] }],
      });
    },
  );
});

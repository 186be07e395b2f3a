import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Ajv } from "ajv";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { canonicalJson } from "../../src/audit/canonical.ts";
import { run, unterbau } from "../helpers/cli.ts";
import { sampleMaterial } from "../helpers/gdpr.ts";

const ajv = new Ajv();
const schema = (verb: string) => ajv.compile(JSON.parse(readFileSync(`docs/schemas/${verb}.json`, "utf8")) as object);

let folder: string;
let env: Record<string, string>;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "unterbau-report-"));
  env = { UNTERBAU_STATE_DIR: join(folder, "state") };
  writeFileSync(join(folder, "audit.json"), JSON.stringify(sampleMaterial().audit, null, 2));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** An editor that runs this on the form. */
function editor(name: string, script: string): Record<string, string> {
  const path = join(folder, name);
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
  return { ...env, VISUAL: "", EDITOR: path };
}

describe("report init and check", () => {
  it("put a form in place when it holds no errors, for its owner only", async () => {
    const answer = `sed -i '/^Q36:/,/^$/ { s/^  by:.*/  by: Ada/; s/^  date:.*/  date: 2026-11-24/; s/^  procedure:.*/  procedure: Ruf: "ja"/ }' "$1"`;
    const wrong = await unterbau(["report", "init", "--edit", "--lang", "de"], { env: editor("wrong", answer) });
    expect(wrong.code).toBe(2);
    expect(wrong.stderr).toMatch(/office\.yaml\.draft:\d+:\d+: /);
    expect(wrong.stderr).toContain("it stays in");
    const right = await unterbau(["report", "init", "--edit"], {
      env: editor("right", `sed -i "s/procedure: Ruf: .*/procedure: Rückruf/" "$1"`),
    });
    expect(right.stderr).toContain("going on with");
    expect(right.code).toBe(0);
    const file = right.stdout.toString().trim();
    expect(file).toBe(join(folder, "state/answers/office.yaml"));
    expect(statSync(file).mode % 0o1000).toBe(0o600);

    const checked = await unterbau(["report", "check", file, "--json"], { env });
    expect(checked.code).toBe(0);
    const document = JSON.parse(checked.stdout.toString()) as { files: { answered: number; open: string[] }[] };
    const validate = schema("report-check");
    expect(validate(document), JSON.stringify(validate.errors)).toBe(true);
    expect(document.files[0]!.answered).toBe(1);
    expect(document.files[0]!.open).not.toContain("Q36");
  });

  it("name an error's line, column and field", async () => {
    const file = join(folder, "bad.yaml");
    writeFileSync(
      file,
      "schema: unterbau/answers/1\nfile: client\nlanguage: en\nQ09:\n  by: Ada\n  date: 2026-11-24\n  need: huge\n",
    );
    const { code, stdout } = await unterbau(["report", "check", file], { env });
    expect(code).toBe(1);
    expect(stdout.toString()).toBe(`${file}:7:3: Q09.need: one of these is wanted: normal, high\n`);
  });

  it("ask on a terminal only, and refuse a client's name that is a path", async () => {
    const { code, stderr } = await unterbau(["report", "init", "--client", "../x"], { env });
    expect([code, stderr]).toEqual([2, expect.stringContaining("cannot be a client's name")]);
    const asked = await unterbau(["report", "init", "--client", "x"], { env });
    expect([asked.code, asked.stderr]).toEqual([2, expect.stringContaining("--edit")]);
  });
});

describe("report", () => {
  const common = (out: string) => [
    "--client",
    "muster",
    "--lang",
    "de",
    "--audit",
    join(folder, "audit.json"),
    "--out",
    join(folder, out),
  ];

  it("writes all papers in all formats, for their owner only", async () => {
    const { code, stdout, stderr } = await unterbau(
      ["report", "all", ...common("all"), "--format", "md,html,pdf,docx,json,oscal", "--json"],
      { env },
    );
    expect(stderr).toContain("muster.yaml is not there");
    expect(code).toBe(0);
    const document = JSON.parse(stdout.toString()) as { files: string[] };
    const validate = schema("report-files");
    expect(validate(document), JSON.stringify(validate.errors)).toBe(true);
    expect(document.files).toHaveLength(4 * 5 + 2);
    for (const file of document.files) expect(statSync(file).mode % 0o1000).toBe(0o600);
  });

  it("replaces no paper that says something else without --force", async () => {
    const first = await unterbau(["report", "tom", ...common("once"), "--format", "md"], { env });
    expect(first.code).toBe(0);
    expect((await unterbau(["report", "tom", ...common("once"), "--format", "md"], { env })).code).toBe(0);
    const paper = join(folder, "once/tom-de.md");
    writeFileSync(paper, "signed");
    const refused = await unterbau(["report", "tom", ...common("once"), "--format", "md"], { env });
    expect([refused.code, refused.stderr]).toEqual([2, expect.stringContaining("--force")]);
    expect(readFileSync(paper, "utf8")).toBe("signed");
    expect((await unterbau(["report", "tom", ...common("once"), "--format", "md", "--force"], { env })).code).toBe(0);
    expect(readFileSync(paper, "utf8")).toContain("# Anlage");
  });

  it("takes the newest run that was kept, or the one that is named", async () => {
    for (const [run, host] of [
      ["20261101-000000-aaaa", "old"],
      ["20261102-000000-bbbb", "new"],
    ] as const) {
      const audits = join(folder, "state/audits", run);
      mkdirSync(audits, { recursive: true });
      const { audit } = sampleMaterial();
      writeFileSync(
        join(audits, "manifest.json"),
        canonicalJson({ ...audit, run, host: { ...audit.host, name: host } }),
      );
    }
    const base = ["report", "tom", "--client", "muster", "--lang", "en", "--format", "md", "--audience", "internal"];
    expect((await unterbau([...base, "--out", join(folder, "new")], { env })).code).toBe(0);
    expect(readFileSync(join(folder, "new/tom-en.md"), "utf8")).toContain("| **Measured host** | new |");
    expect(
      (await unterbau([...base, "--run", "20261101-000000-aaaa", "--out", join(folder, "old")], { env })).code,
    ).toBe(0);
    expect(readFileSync(join(folder, "old/tom-en.md"), "utf8")).toContain("| **Measured host** | old |");
  });

  it("refuses what is no audit, naming where", async () => {
    const bad = join(folder, "bad.json");
    const say = async (content: string) => {
      writeFileSync(bad, content);
      return (await unterbau(["report", "tom", "--client", "x", "--lang", "de", "--audit", bad], { env })).stderr;
    };
    expect(await say("{")).toContain("is no audit's document");
    expect(await say("[".repeat(200_000))).toContain("is no audit's document");
    const { audit } = sampleMaterial();
    expect(await say(JSON.stringify({ ...audit, checks: [{ ...audit.checks[0], state: "fine" }] }))).toContain(
      "checks.0.state",
    );
    const oscal = await unterbau(["report", "tom", ...common("o"), "--format", "oscal"], { env });
    expect([oscal.code, oscal.stderr]).toEqual([2, expect.stringContaining("OSCAL has no form")]);
    const format = await unterbau(["report", "tom", ...common("o"), "--format", "odt"], { env });
    expect([format.code, format.stderr]).toEqual([2, expect.stringContaining("odt is no format")]);
  });
});

describe("make demo-report", () => {
  it("makes all papers of a host with a clean and a flawed guest, in both languages", async () => {
    const { code, stdout, stderr } = await run("sh", ["demo/report/demo.sh"]);
    expect(stderr).toBe("");
    expect(code).toBe(0);
    expect(stdout.toString().match(/22 papers in/g)).toHaveLength(2);
    const tom = readFileSync("demo/work/papers/de/tom-de.md", "utf8");
    const measure = "Alle beschreibbaren Datenträger liegen auf jedem Weg";
    expect(tom).toContain(`- Gast mail: ${measure}`);
    expect(tom).not.toContain(`web: ${measure}`);
    const deviations = readFileSync("demo/work/papers/en/deviations-en.md", "utf8");
    expect(deviations).toContain("### ENC-01/web");
    expect(deviations).not.toContain("### ENC-01/mail");
  });
});

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Ajv } from "ajv";
import { afterAll, beforeAll, expect, it } from "vitest";
import { must, unterbau } from "../helpers/cli.ts";
import { GOOD, SCOPE } from "../helpers/hosts.ts";

const ajv = new Ajv({ strict: true, allowUnionTypes: true, allErrors: true });
for (const name of ["audit", "audit-verify", "audit-list", "audit-sign", "audit-diff", "audit-policy"])
  ajv.addSchema(JSON.parse(readFileSync(`docs/schemas/${name}.json`, "utf8")) as object, name);

let folder: string;
let env: Record<string, string>;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "unterbau-audit-documents-"));
  env = { UNTERBAU_STATE_DIR: join(folder, "state") };
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

type Document = Record<string, unknown>;
const OF_RECORD = ["--root", GOOD, "--scope", SCOPE];

/** What `audit ARGS --json` prints, which has to follow the schema of that name. */
async function json(name: string, args: readonly string[]): Promise<Document> {
  const { stdout, stderr, code } = await unterbau(["audit", ...args, "--json"], { env });
  expect(code, stderr).toBeLessThanOrEqual(2);
  const document = JSON.parse(stdout.toString()) as Document;
  expect(ajv.validate(name, document), `${name}: ${ajv.errorsText()}`).toBe(true);
  return document;
}

it("the documents of an audit follow their schemas, from the first run to what changed in the second", async () => {
  const first = await json("audit", OF_RECORD);
  await json("audit", [...OF_RECORD, "--root", "demo/report/host", "--no-keep"]);
  // The manifest is the same document, with where each output is kept.
  const manifest: unknown = JSON.parse(
    readFileSync(join(folder, "state/audits", String(first.run), "manifest.json"), "utf8"),
  );
  expect(ajv.validate("audit", manifest), ajv.errorsText()).toBe(true);

  await must("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", join(folder, "key")]);
  const signed = await json("audit-sign", ["sign", String(first.run), "--key", join(folder, "key")]);
  expect(signed.signature).toContain(String(first.run));
  expect(await json("audit-list", ["list"])).toMatchObject({ runs: [{ run: first.run, signed: true }] });
  expect(await json("audit-verify", ["verify"])).toMatchObject({ ok: true, runs: [{ signature: "not-checked" }] });

  const policy = await json("audit-policy", ["policy"]);
  writeFileSync(join(folder, "policy.json"), JSON.stringify({ ...policy, argon2MemoryKiB: 1 << 30 }));
  const flawed = ["--root", "demo/report/host", ...OF_RECORD, "--policy", join(folder, "policy.json")];
  const diff = await json("audit-diff", [...flawed, "--diff", String(first.run)]);
  expect(diff.before).toBe(first.run);
  expect(diff.checks).toContainEqual({ id: "ENC-05", guest: "mail", before: "pass", after: "warn" });
  // A run whose manifest is no JSON any more.
  writeFileSync(join(folder, "state/audits", String(first.run), "manifest.json"), "{");
  expect(await json("audit-verify", ["verify"])).toMatchObject({ ok: false });
  expect(await json("audit-list", ["list"])).toMatchObject({ runs: [{ state: null }, {}] });
});

it("a host where nothing is known, and this one with samples, follow the schema too", async () => {
  const empty = mkdtempSync(join(folder, "empty-"));
  await json("audit", ["--root", empty, "--no-keep"]);
  const own = await json("audit", ["--no-keep", "--sample", "--connect", "test:///default"]);
  expect(own.samples).toEqual(expect.any(Array));
});

it("a recorded host that is judged as of a time gives the same bytes each time, and this one is judged now", async () => {
  const args = ["audit", ...OF_RECORD, "--no-keep", "--json", "--as-of", "2026-11-24T06:00:00Z"];
  const [first, second] = [await unterbau(args, { env }), await unterbau(args, { env })];
  expect(second.stdout.equals(first.stdout)).toBe(true);
  expect(JSON.parse(first.stdout.toString())).toMatchObject({ started: "2026-11-24T06:00:00.000Z" });
  const own = await unterbau(["audit", "--no-keep", "--as-of", "2026-11-24T06:00:00Z"], { env });
  expect([own.code, own.stderr]).toEqual([16, expect.stringContaining("--root")]);
  const wrong = await unterbau(["audit", ...OF_RECORD, "--no-keep", "--as-of", "yesterday"], { env });
  expect([wrong.code, wrong.stderr]).toEqual([16, expect.stringContaining("--as-of yesterday")]);
});

it("the schema takes no document with a verdict, a value or a hash that is none", async () => {
  const document = await json("audit", [...OF_RECORD, "--no-keep"]);
  const text = JSON.stringify(document);
  const spoilt: readonly [string, string][] = [
    ['"state":"pass"', '"state":"ok"'],
    ['"kind":"guest","value":"', '"kind":"secret","value":"'],
    ['"sha256":"', '"sha256":"x'],
    ['"encrypted":"yes"', '"encrypted":true'],
    ['"schema":"unterbau/audit/1"', '"schema":"unterbau/audit/2"'],
  ];
  for (const [from, to] of spoilt) {
    expect(text).toContain(from);
    expect(ajv.validate("audit", JSON.parse(text.replace(from, to))), to).toBe(false);
  }
});

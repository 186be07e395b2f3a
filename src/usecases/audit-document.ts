import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import * as v from "valibot";
import { canonicalJson } from "../audit/canonical.ts";
import type { AuditDocument, AuditLayer } from "../audit/model.ts";
import { ioError, StorageError } from "../core/errors.ts";
import { stateDirs } from "../host/run-store.ts";

/** Bytes of a document: a host with a hundred guests has some 5 MiB. */
const LARGEST = 64 * 1024 * 1024;

const text = v.string();
const maybe = <T extends v.GenericSchema>(schema: T) => v.nullable(schema);
const time = v.pipe(text, v.isoTimestamp());
const sha256 = v.pipe(text, v.regex(/^[0-9a-f]{64}$/, "no SHA-256"));
const state = v.picklist(["pass", "warn", "fail", "unknown", "n-a"]);
const kind = v.picklist([
  "path",
  "serial",
  "address",
  "rule",
  "person",
  "guest",
  "program",
  "text",
  "number",
  "bytes",
  "date",
]);

const layer: v.GenericSchema<AuditLayer> = v.looseObject({
  kind: text,
  name: text,
  path: maybe(text),
  cipher: maybe(text),
  keyBits: maybe(v.number()),
  encrypts: v.boolean(),
  medium: maybe(
    v.looseObject({
      rotational: maybe(v.boolean()),
      transport: maybe(text),
      model: maybe(text),
      serial: maybe(text),
    }),
  ),
  below: v.array(v.lazy(() => layer)),
});

/** Unknown keys are kept: they count for the hash. */
const document = v.looseObject({
  schema: v.literal("unterbau/audit/1"),
  run: text,
  started: time,
  ended: time,
  program: v.looseObject({ name: v.literal("unterbau"), version: text }),
  host: v.looseObject({
    name: maybe(text),
    machineIdSha256: maybe(text),
    os: maybe(text),
    kernel: maybe(text),
    recorded: v.boolean(),
  }),
  policy: v.looseObject({ date: text, file: maybe(text), sha256 }),
  guests: v.array(
    v.looseObject({
      name: text,
      uuid: text,
      disks: v.array(
        v.looseObject({
          target: text,
          device: text,
          place: text,
          encrypted: v.picklist(["yes", "no", "unknown"]),
          layers: maybe(layer),
          problem: maybe(text),
        }),
      ),
    }),
  ),
  checks: v.array(
    v.looseObject({
      id: v.pipe(text, v.regex(/^[A-Z]+-\d+$/, "no check's id")),
      guest: maybe(text),
      state,
      at: time,
      remarks: v.array(
        v.looseObject({
          state,
          code: text,
          values: v.record(text, v.looseObject({ kind, value: v.union([text, v.number()]) })),
        }),
      ),
      evidence: v.array(v.number()),
    }),
  ),
  evidence: v.array(
    v.looseObject({
      n: v.number(),
      kind: v.picklist(["command", "file", "folder", "bytes"]),
      what: v.array(text),
      at: time,
      exit: maybe(v.number()),
      version: maybe(text),
      sha256,
      sha256Redacted: maybe(sha256),
      bytes: v.number(),
      file: maybe(text),
    }),
  ),
  previous: maybe(sha256),
  state,
});

export interface ReadAudit {
  readonly audit: AuditDocument;
  /** SHA-256 in hex of its canonical JSON: of the manifest, when it is one. */
  readonly manifestSha256: string;
}

/** Reads what `audit --json` printed, or a run's manifest. Throws `usage` for what is none. */
export function readAudit(path: string): ReadAudit {
  let source: string;
  try {
    if (statSync(path).size > LARGEST) throw new StorageError("usage", `${path} is too large for an audit's document`);
    source = readFileSync(path, "utf8");
  } catch (error) {
    throw ioError(error, `cannot read ${path}`);
  }
  const wrong = (why: string): StorageError =>
    new StorageError("usage", `${path} is no audit's document: ${why}`, {
      hint: "unterbau audit --json makes one",
    });
  let checked: v.SafeParseResult<typeof document>;
  let value: unknown;
  try {
    value = JSON.parse(source);
    checked = v.safeParse(document, value);
  } catch (error) {
    // JSON that is none, or that is nested too deep.
    throw wrong(error instanceof Error ? error.message : String(error));
  }
  if (!checked.success) {
    const [issue] = checked.issues;
    throw wrong(`${v.getDotPath(issue) ?? "document"}: ${issue.message}`);
  }
  return {
    audit: value as AuditDocument,
    manifestSha256: createHash("sha256").update(canonicalJson(value)).digest("hex"),
  };
}

/** The manifest of a run that was kept; null: of the newest. Throws `usage` when there is none. */
export function manifestOf(run: string | null): string {
  const folders = stateDirs()
    .map((state) => join(state, "audits"))
    .filter((folder) => existsSync(folder));
  if (run !== null && !/^[\w.-]+$/.test(run)) throw new StorageError("usage", `${run} is no run's id`);
  const found = folders
    .flatMap((folder) => readdirSync(folder).map((name) => ({ name, path: join(folder, name, "manifest.json") })))
    .filter(({ name, path }) => (run === null || name === run) && existsSync(path))
    .sort((a, b) => (a.name < b.name ? 1 : -1));
  if (found[0]) return found[0].path;
  throw new StorageError("usage", run === null ? "no audit was run yet" : `there is no audit run ${run}`, {
    hint: "run unterbau audit first, or name what audit --json printed with --audit FILE",
  });
}

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import * as v from "valibot";
import { parse } from "yaml";
import type { AuditPolicy, Declared } from "../audit/model.ts";
import { BUILT_IN_POLICY } from "../audit/policy.ts";
import { ioError, StorageError } from "../core/errors.ts";

/** Both are pages of text. */
const MAX_FILE = 256 * 1024;
const NAMES = v.array(v.pipe(v.string(), v.minLength(1)));
const COUNT = v.pipe(v.number(), v.integer(), v.minValue(0));

/** What a file may say of each threshold. */
const POLICY = v.partial(
  v.strictObject({
    // As `audit policy --json` prints it.
    schema: v.literal("unterbau/audit-policy/1"),
    date: v.pipe(v.string(), v.regex(/^\d{4}-\d{2}(-\d{2})?$/)),
    ciphers: v.partial(v.strictObject({ pass: NAMES, warn: NAMES })),
    keyBits: COUNT,
    argon2MemoryKiB: COUNT,
    pbkdf2Iterations: COUNT,
    snapshotDays: COUNT,
    restoreTestMonths: v.partial(v.strictObject({ pass: COUNT, warn: COUNT })),
    tlsFloor: v.picklist(["1.2", "1.3"]),
    updateDays: v.partial(v.strictObject({ pass: COUNT, warn: COUNT })),
    releaseEnds: v.record(v.string(), v.pipe(v.string(), v.isoDate())),
    auditEveryDays: COUNT,
  }),
);

const DECLARED = v.looseObject({
  guests: v.optional(v.array(v.object({ name: v.string(), uuid: v.pipe(v.string(), v.toLowerCase(), v.uuid()) })), []),
});

export interface ReadPolicy {
  readonly policy: AuditPolicy;
  readonly file: string | null;
  readonly sha256: string;
}

/** The built-in thresholds, or a file's (YAML or JSON) over them. Throws `usage` for what is not understood. */
export function readAuditPolicy(path: string | undefined): ReadPolicy {
  if (path === undefined)
    return { policy: BUILT_IN_POLICY, file: null, sha256: sha256(JSON.stringify(BUILT_IN_POLICY)) };
  const text = readText(path);
  const said = understood(path, text, POLICY);
  const { schema: _, ciphers, restoreTestMonths, updateDays, releaseEnds, ...plain } = said;
  const policy = {
    ...BUILT_IN_POLICY,
    ...plain,
    ciphers: { ...BUILT_IN_POLICY.ciphers, ...ciphers },
    restoreTestMonths: { ...BUILT_IN_POLICY.restoreTestMonths, ...restoreTestMonths },
    updateDays: { ...BUILT_IN_POLICY.updateDays, ...updateDays },
    releaseEnds: { ...BUILT_IN_POLICY.releaseEnds, ...releaseEnds },
  } as AuditPolicy;
  return { policy, file: path, sha256: sha256(text) };
}

/** What is declared of the host: `guests` (name and UUID of each), and values that checks name. Throws `usage`. */
export function readDeclared(path: string | undefined): Declared | null {
  if (path === undefined) return null;
  const { guests, ...values } = understood(path, readText(path), DECLARED);
  return { guests, values };
}

function readText(path: string): string {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw ioError(error, `cannot read ${path}`);
  }
  if (text.length > MAX_FILE) throw new StorageError("usage", `${path} has more than ${MAX_FILE} characters`);
  return text;
}

function understood<S extends v.GenericSchema>(path: string, text: string, schema: S): v.InferOutput<S> {
  let said: unknown;
  try {
    said = parse(text, { maxAliasCount: 100 });
  } catch (error) {
    throw new StorageError("usage", `${path} is neither YAML nor JSON: ${(error as Error).message.split("\n")[0]}`, {
      cause: error,
    });
  }
  const result = v.safeParse(schema, said ?? {});
  if (result.success) return result.output;
  const [issue] = result.issues;
  const where = v.getDotPath(issue);
  throw new StorageError("usage", `${path}${where === null ? "" : `, ${where}`}: ${issue.message}`, {
    hint: "`unterbau audit policy` prints all thresholds as a file of that form",
  });
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

export function builtInPolicy(): AuditPolicy {
  return BUILT_IN_POLICY;
}

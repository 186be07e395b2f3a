import { createHash } from "node:crypto";
import {
  closeSync,
  constants,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { canonicalJson } from "../audit/canonical.ts";
import type { AuditDocument } from "../audit/model.ts";
import { ioError, StorageError } from "../core/errors.ts";
import { syncPath } from "../core/sync-path.ts";
import type { Evidence } from "./audit-reader.ts";
import { lockExclusively } from "./locks.ts";
import { stateDir } from "./run-store.ts";

/** Names in a run's folder. */
export const MANIFEST = "manifest.json";
export const SIGNATURE = `${MANIFEST}.sig`;
export const EVIDENCE = "evidence";
/** In the folder of all runs: the last one's name and its manifest's hash, so that a last run that is gone is missed. */
export const HEAD = "HEAD";
const LOCK = ".lock";
const RUN = /^\d{8}-\d{6}-[0-9a-z]{4}$/;
/** A manifest of a host with a hundred guests has some MiB. */
const MAX_MANIFEST = 256 * 1024 * 1024;

export interface StoredAudit {
  readonly folder: string;
  readonly run: string;
  /** As it lies there. */
  readonly bytes: Buffer;
  readonly sha256: string;
  /** Null: it is no manifest. */
  readonly document: AuditDocument | null;
}

export function auditFolder(state = stateDir()): string {
  return join(state, "audits");
}

/**
 * Keeps a run: its evidence as files, its document as canonical JSON with the hash of the run before. It is written beside and gets its
 * name when all of it is on the disk. Throws `io`, or `locked` while another one is being kept.
 */
export function keepRun(document: AuditDocument, evidence: readonly Evidence[], folder = auditFolder()): AuditDocument {
  const temporary = join(folder, `.${document.run}`);
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    using _ = lock(folder);
    removeLeftovers(folder);
    mkdirSync(join(temporary, EVIDENCE), { recursive: true, mode: 0o700 });
    const files = new Map<number, string>();
    for (const { n, kind, content } of evidence) {
      const file = join(EVIDENCE, `${String(n).padStart(5, "0")}-${kind}`);
      put(join(temporary, file), content);
      files.set(n, file);
    }
    const before = storedAudits(folder).at(-1);
    const whole: AuditDocument = {
      ...document,
      evidence: document.evidence.map((e) => ({ ...e, file: files.get(e.n) ?? null })),
      previous: before?.sha256 ?? null,
    };
    const bytes = Buffer.from(canonicalJson(whole));
    put(join(temporary, MANIFEST), bytes);
    syncPath(join(temporary, EVIDENCE));
    syncPath(temporary);
    renameSync(temporary, join(folder, document.run));
    const head = join(folder, `.${HEAD}`);
    put(head, Buffer.from(`${sha256(bytes)}  ${document.run}\n`));
    renameSync(head, join(folder, HEAD));
    syncPath(folder);
    return whole;
  } catch (error) {
    rmSync(temporary, { recursive: true, force: true });
    throw ioError(error, `cannot keep the run in ${folder}`);
  }
}

/**
 * Puts a signature beside a run's manifest, in place of an older one. It is written beside the run's folder: whatever lies there and is no
 * part of the run is a problem of the run. Its path. Throws `io`.
 */
export function keepSignature({ folder, run }: StoredAudit, signature: string): string {
  const temporary = join(dirname(folder), `.${run}.sig`);
  const path = join(folder, SIGNATURE);
  try {
    using _ = lock(dirname(folder));
    put(temporary, Buffer.from(signature));
    renameSync(temporary, path);
    syncPath(folder);
    return path;
  } catch (error) {
    throw ioError(error, `cannot write ${path}`);
  }
}

/** All runs, oldest first. */
export function storedAudits(folder = auditFolder()): StoredAudit[] {
  let names: string[];
  try {
    names = readdirSync(folder).filter((name) => RUN.test(name));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw ioError(error, `cannot read ${folder}`);
  }
  const found = names.map((run) => readStored(join(folder, run), run));
  // Two of one second are in the order in which they began.
  const at = (a: StoredAudit) => `${a.run.slice(0, 15)} ${a.document?.started ?? ""}`;
  return found.sort((a, b) => (at(a) < at(b) ? -1 : at(a) > at(b) ? 1 : 0));
}

/** The hash and name that HEAD has; null: there is none, or it is not understood. */
export function storedHead(folder = auditFolder()): { readonly sha256: string; readonly run: string } | null {
  try {
    const match = /^([0-9a-f]{64}) {2}(\S+)\n$/.exec(readFileSync(join(folder, HEAD), "utf8"));
    return match ? { sha256: match[1]!, run: match[2]! } : null;
  } catch {
    return null;
  }
}

/** One run by its id, or a beginning of it that is unique. Throws `usage`. */
export function findAudit(id: string, folder = auditFolder()): StoredAudit {
  const all = storedAudits(folder);
  const found = all.filter((a) => a.run === id || (id !== "" && a.run.startsWith(id)) || a.run.endsWith(`-${id}`));
  if (found.length === 1) return found[0]!;
  const hint =
    all.length === 0
      ? "no audit was kept yet"
      : `the last ones: ${all
          .slice(-5)
          .map((a) => a.run)
          .join(", ")}`;
  throw new StorageError("usage", found.length === 0 ? `there is no audit ${id}` : `several audits begin with ${id}`, {
    hint,
  });
}

/** Bytes that a run takes. */
export function sizeOf(folder: string): number {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((e) => e.isFile())
    .reduce((sum, e) => sum + lstatSync(join(e.parentPath, e.name)).size, 0);
}

function readStored(folder: string, run: string): StoredAudit {
  const path = join(folder, MANIFEST);
  let bytes = Buffer.alloc(0);
  let document: AuditDocument | null = null;
  try {
    if (lstatSync(path).size <= MAX_MANIFEST) bytes = readFileSync(path);
    const value = JSON.parse(bytes.toString("utf8")) as Partial<AuditDocument> | null;
    if (value?.schema === "unterbau/audit/1" && Array.isArray(value.evidence)) document = value as AuditDocument;
  } catch {
    // What it is not, `verify` says.
  }
  return { folder, run, bytes, sha256: sha256(bytes), document };
}

function put(path: string, content: Uint8Array): void {
  writeFileSync(path, content, { mode: 0o600, flag: "w", flush: true });
}

/** One run at a time is added to the chain. Throws `locked`, `io`. */
function lock(folder: string): Disposable {
  const fd = openSync(join(folder, LOCK), constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
  if (lockExclusively(fd)) return { [Symbol.dispose]: () => closeSync(fd) };
  closeSync(fd);
  throw new StorageError("locked", "another audit is being kept in this moment", { hint: "repeat it" });
}

/** What commands left that were killed; nobody else writes here while the lock is held. */
function removeLeftovers(folder: string): void {
  for (const name of readdirSync(folder)) {
    if (name.startsWith(".") && name !== LOCK) rmSync(join(folder, name), { recursive: true, force: true });
  }
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

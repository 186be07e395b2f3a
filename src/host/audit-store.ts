import { createHash } from "node:crypto";
import {
  closeSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { canonicalJson } from "../audit/canonical.ts";
import type { AuditDocument } from "../audit/model.ts";
import { ioError, StorageError } from "../core/errors.ts";
import { syncDirectory } from "../core/undo-log/writer.ts";
import type { Evidence } from "./audit-reader.ts";
import { isAlive, type Owner, thisProcess } from "./owner.ts";
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
 * name when all of it is on the disk. Throws `io`.
 */
export function keepRun(document: AuditDocument, evidence: readonly Evidence[], folder = auditFolder()): AuditDocument {
  const temporary = join(folder, `.${document.run}`);
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    using _ = lock(folder);
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
    syncDirectory(join(temporary, EVIDENCE));
    syncDirectory(temporary);
    renameSync(temporary, join(folder, document.run));
    const head = join(folder, `.${HEAD}`);
    put(head, Buffer.from(`${sha256(bytes)}  ${document.run}\n`));
    renameSync(head, join(folder, HEAD));
    syncDirectory(folder);
    return whole;
  } catch (error) {
    rmSync(temporary, { recursive: true, force: true });
    throw error instanceof StorageError ? error : ioError(error, `cannot keep the run in ${folder}`);
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

/** One run at a time is added to the chain. Throws `locked`. */
function lock(folder: string): Disposable {
  const path = join(folder, LOCK);
  for (let attempt = 0; ; attempt++) {
    try {
      const fd = openSync(path, "wx", 0o600);
      writeFileSync(fd, JSON.stringify(thisProcess()));
      fsyncSync(fd);
      closeSync(fd);
      return { [Symbol.dispose]: () => rmSync(path, { force: true }) };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      if (attempt > 0 || holderLives(path))
        throw new StorageError("locked", "another audit is being kept in this moment", { hint: "repeat it" });
      rmSync(path, { force: true });
    }
  }
}

function holderLives(path: string): boolean {
  try {
    return isAlive(JSON.parse(readFileSync(path, "utf8")) as Owner);
  } catch {
    // Killed between making and filling it.
    return false;
  }
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

import { createHash } from "node:crypto";
import { lstatSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { canonicalJson } from "../audit/canonical.ts";
import type { AuditDocument } from "../audit/model.ts";
import { StorageError } from "../core/errors.ts";
import {
  EVIDENCE,
  findAudit,
  keepSignature,
  MANIFEST,
  SIGNATURE,
  type StoredAudit,
  sizeOf,
  storedAudits,
  storedHead,
} from "../host/audit-store.ts";
import { mustRun, runProgram } from "../tools/run-program.ts";
import type { AuditListDocument, AuditVerifyDocument, VerifiedRun } from "./audit-documents.ts";

/** What a signature is for (ssh-keygen(1), -n): it is good for nothing else. */
const NAMESPACE = "unterbau-audit";

export interface VerifyOptions {
  /** Run ids; none: all. The chain is walked in any case. */
  readonly runs?: readonly string[] | undefined;
  /** ssh-keygen(1), ALLOWED SIGNERS. */
  readonly allowedSigners?: string | undefined;
  readonly folder?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Walks the chain: every run's manifest, every kept output, every link, and what lies there beside. */
export async function verifyRuns(options: VerifyOptions = {}): Promise<AuditVerifyDocument> {
  const all = storedAudits(options.folder);
  const wanted = new Set((options.runs ?? []).map((id) => findAudit(id, options.folder).run));
  const runs: VerifiedRun[] = [];
  for (const [i, stored] of all.entries()) {
    const problems = [...ownProblems(stored), ...linkProblems(stored, all[i - 1])];
    if (wanted.size > 0 && !wanted.has(stored.run)) {
      // Only what the chain itself shows of the others.
      const links = linkProblems(stored, all[i - 1]);
      if (links.length > 0)
        runs.push({ run: stored.run, sha256: stored.sha256, signature: "not-checked", problems: links });
      continue;
    }
    const { signature, reason } = await signatureOf(stored, options);
    runs.push({
      run: stored.run,
      sha256: stored.sha256,
      signature,
      problems: reason === null ? problems : [...problems, reason],
    });
  }
  const head = storedHead(options.folder);
  const last = all.at(-1);
  const chain: string[] = [];
  if (last && head === null)
    chain.push("HEAD is missing or not understood: whether the last run is still there is not known");
  if (head !== null && last === undefined) chain.push(`HEAD names ${head.run}, and there is no run`);
  if (head !== null && last && (head.run !== last.run || head.sha256 !== last.sha256))
    chain.push(`HEAD names ${head.run} with another hash than the last run has`);
  return {
    schema: "unterbau/audit-verify/1",
    runs,
    chain,
    ok: chain.length === 0 && runs.every((r) => r.problems.length === 0),
  };
}

function linkProblems({ document }: StoredAudit, before: StoredAudit | undefined): string[] {
  if (document === null || document.previous === (before?.sha256 ?? null)) return [];
  if (before === undefined) return ["the run before it is missing"];
  return [`it was made after another run than ${before.run}, or that one was changed`];
}

function ownProblems({ folder, run, bytes, document }: StoredAudit): string[] {
  if (document === null) return [`${MANIFEST} is missing or no manifest`];
  const found: string[] = [];
  if (document.run !== run) found.push(`${MANIFEST} is of the run ${document.run}`);
  if (canonicalJson(document) !== bytes.toString("utf8")) found.push(`${MANIFEST} is not written as it was`);
  const known = new Set<string>();
  for (const { n, file, sha256, sha256Redacted } of document.evidence) {
    // A name in a manifest that somebody changed must not lead out of the folder.
    if (file === null || !/^evidence\/\d{5}-\w+$/.test(file)) {
      found.push(`evidence ${n} names no file of the run`);
      continue;
    }
    known.add(file);
    const content = read(join(folder, file));
    if (content === null) found.push(`${file} is missing`);
    else if (createHash("sha256").update(content).digest("hex") !== (sha256Redacted ?? sha256))
      found.push(`${file} was changed`);
  }
  const there = [...names(folder), ...names(join(folder, EVIDENCE)).map((name) => `${EVIDENCE}/${name}`)];
  for (const name of there) {
    if (name !== MANIFEST && name !== SIGNATURE && name !== EVIDENCE && !known.has(name))
      found.push(`${name} does not belong to the run`);
  }
  return found;
}

async function signatureOf(
  { folder }: StoredAudit,
  { allowedSigners, signal }: VerifyOptions,
): Promise<{ signature: VerifiedRun["signature"]; reason: string | null }> {
  if (!names(folder).includes(SIGNATURE)) return { signature: "none", reason: null };
  if (allowedSigners === undefined) return { signature: "not-checked", reason: null };
  const signature = join(folder, SIGNATURE);
  const manifest = read(join(folder, MANIFEST)) ?? Buffer.alloc(0);
  const keygen = (...args: string[]) =>
    runProgram("ssh-keygen", ["-Y", ...args], { input: manifest, signal, packageName: "openssh-client" });
  const found = await keygen("find-principals", "-s", signature, "-f", allowedSigners);
  const [who] = found.code === 0 ? found.stdout.trim().split("\n") : [];
  if (!who) return { signature: "bad", reason: "it is signed by nobody who is allowed to" };
  const checked = await keygen("verify", "-f", allowedSigners, "-I", who, "-n", NAMESPACE, "-s", signature);
  return checked.code === 0
    ? { signature: "good", reason: null }
    : { signature: "bad", reason: "its signature does not fit" };
}

/** Signs a run's manifest with an SSH key. Throws `usage` for a run that is not there or not whole, `io` with ssh-keygen's reason. */
export async function signRun(id: string, key: string, signal?: AbortSignal, folder?: string): Promise<string> {
  const stored = findAudit(id, folder);
  const problems = ownProblems(stored);
  if (problems.length > 0) throw new StorageError("corrupt", `the run ${stored.run} is not whole: ${problems[0]}`);
  const signed = await mustRun("ssh-keygen", ["-Y", "sign", "-f", key, "-n", NAMESPACE], {
    input: stored.bytes,
    signal,
    packageName: "openssh-client",
  });
  return keepSignature(stored, signed);
}

export function listRuns(folder?: string): AuditListDocument {
  const runs = storedAudits(folder).map(({ run, document, folder: own }) => ({
    run,
    started: document?.started ?? null,
    host: document?.host.name ?? null,
    recorded: document?.host.recorded ?? null,
    state: document?.state ?? null,
    bytes: sizeOf(own),
    signed: names(own).includes(SIGNATURE),
  }));
  return { schema: "unterbau/audit-list/1", runs, bytes: runs.reduce((sum, r) => sum + r.bytes, 0) };
}

/** A run that was kept. Throws `usage` when it is not there, `corrupt` when it is none. */
export function keptDocument(id: string, folder?: string): AuditDocument {
  const { document, run } = findAudit(id, folder);
  if (document === null) throw new StorageError("corrupt", `the manifest of ${run} cannot be understood`);
  return document;
}

function names(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch {
    return [];
  }
}

function read(path: string): Buffer | null {
  try {
    return lstatSync(path).isFile() ? readFileSync(path) : null;
  } catch {
    return null;
  }
}

import { createHash, randomBytes } from "node:crypto";
import { resolve } from "node:path";
import { osName } from "../audit/checks/inv-01.ts";
import type { AuditDocument, AuditGuest, HostReader, Rules } from "../audit/model.ts";
import { auditGuests } from "../audit/storage/guests.ts";
import { worst } from "../audit/verdict.ts";
import { printable } from "../bytes/text.ts";
import { StorageError } from "../core/errors.ts";
import { LiveSource } from "../host/audit-live.ts";
import { EvidenceReader } from "../host/audit-reader.ts";
import { writeRecord } from "../host/audit-record.ts";
import { RecordedSource } from "../host/audit-recorded.ts";
import { readAuditPolicy, readDeclared } from "./audit-rules.ts";
import { runChecks } from "./audit-run.ts";

export interface AuditOptions {
  /** Names or UUIDs; none: all. */
  readonly guests: readonly string[];
  /** Recorded or mounted trees, the first over the others; none: this host. */
  readonly roots?: readonly string[] | undefined;
  /** A new folder that all that was read is written to. */
  readonly record?: string | undefined;
  readonly policy?: string | undefined;
  readonly scope?: string | undefined;
  readonly connect?: string | undefined;
  readonly version: string;
  readonly signal?: AbortSignal | undefined;
  /** What time it is; a recorded host can be judged as of its record. */
  readonly now?: (() => Date) | undefined;
}

/** Measures a host. Throws `usage` for a guest that is not there, or a policy or scope that is not understood. */
export async function audit(options: AuditOptions): Promise<AuditDocument> {
  const { roots = [], connect = null, signal, version, record, now = () => new Date() } = options;
  const started = now();
  const { policy, ...policyFile } = readAuditPolicy(options.policy);
  const rules: Rules = { policy, declared: readDeclared(options.scope), now: started.toISOString() };
  const source =
    roots.length > 0 ? new RecordedSource(roots.map((r) => resolve(r))) : new LiveSource({ connect, signal });
  const reader = new EvidenceReader(source, now);
  const guestEvidence = new Set<number>();
  const guests = await auditGuests(reader.view(guestEvidence));
  const named = pick(guests, options.guests);
  const view = (used: Set<number>) => reader.view(used);
  const checks = await runChecks(view, guests, named, guestEvidence, rules);
  const host = await hostOf(reader.view(new Set()));
  if (record !== undefined) writeRecord(resolve(record), reader);
  return {
    schema: "unterbau/audit/1",
    run: runId(started),
    started: started.toISOString(),
    ended: now().toISOString(),
    program: { name: "unterbau", version },
    host: { ...host, recorded: source.recorded },
    policy: { date: policy.date, ...policyFile },
    guests: named ?? [],
    checks,
    evidence: reader.evidence.map(({ content: _, stderr: __, ...entry }) => ({ ...entry, file: null })),
    previous: null,
    state: worst(checks.map((c) => c.state)),
  };
}

function pick(guests: readonly AuditGuest[] | null, names: readonly string[]): readonly AuditGuest[] | null {
  if (names.length === 0) return guests;
  if (guests === null)
    throw new StorageError("usage", "libvirt was not reached, so no guest can be found by name", {
      layer: "libvirt",
      hint: "start libvirt's daemon, or run it without naming a guest: the host is audited then",
    });
  return names.map((name) => {
    const found = guests.find((g) => g.name === name) ?? guests.find((g) => g.uuid === name.toLowerCase());
    if (found) return found;
    const there = guests.map((g) => printable(g.name)).slice(0, 20);
    throw new StorageError("usage", `there is no guest ${printable(name)}`, {
      layer: "libvirt",
      hint: there.length === 0 ? "no guest is defined there" : `there are: ${there.join(", ")}`,
    });
  });
}

async function hostOf(host: HostReader): Promise<Omit<AuditDocument["host"], "recorded">> {
  const [name, machine, release, kernel] = await Promise.all([
    host.file("/etc/hostname"),
    host.file("/etc/machine-id"),
    host.file("/etc/os-release"),
    host.run(["uname", "-r"]),
  ]);
  const id = machine.kind === "text" ? machine.text.trim() : "";
  return {
    name: name.kind === "text" ? name.text.trim() || null : null,
    // machine-id(5): it is confidential, and must not be shown as it is.
    machineIdSha256: id === "" ? null : createHash("sha256").update(id).digest("hex"),
    os: release.kind === "text" ? osName(release.text) : null,
    kernel: kernel.kind === "ran" && kernel.exit === 0 ? kernel.stdout.trim() : null,
  };
}

function runId(now: Date): string {
  const stamp = now.toISOString().replace(/[-:]/g, "").replace("T", "-").slice(0, 15);
  return `${stamp}-${randomBytes(2).toString("hex")}`;
}

import { createHash, randomBytes } from "node:crypto";
import { resolve } from "node:path";
import { osName } from "../audit/checks/inv-01.ts";
import { declaredPart } from "../audit/declared.ts";
import type { AuditDocument, AuditGuest, ChainState, Declared, HostReader, Rules } from "../audit/model.ts";
import { STATE_FOLDERS } from "../audit/state-folders.ts";
import { auditGuests } from "../audit/storage/guests.ts";
import { LUKS_INSIDE } from "../audit/storage/luks-inside.ts";
import { worst } from "../audit/verdict.ts";
import { printable } from "../bytes/text.ts";
import { StorageError } from "../core/errors.ts";
import type { KeyProvider } from "../core/layer.ts";
import { LiveSource } from "../host/audit-live.ts";
import { EvidenceReader } from "../host/audit-reader.ts";
import { writeRecord } from "../host/audit-record.ts";
import { RecordedSource } from "../host/audit-recorded.ts";
import type { RawCommand } from "../host/audit-source.ts";
import { auditFolder, keepRun, storedAudits } from "../host/audit-store.ts";
import { isEncrypted, restsOn } from "../host/rests-on.ts";
import { stateDirs } from "../host/run-store.ts";
import { HostWithGuests } from "./audit-inside.ts";
import { readAuditPolicy, readDeclared } from "./audit-rules.ts";
import { runChecks } from "./audit-run.ts";
import { verifyRuns } from "./audit-runs.ts";
import { sampleGuests } from "./audit-sample.ts";
import { encryptionInside } from "./look-for-luks.ts";

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
  /** Guests whose own configuration is read: `vm:NAME`, `vm:NAME:SELECTOR` of the volume that has their /etc; and those of the scope's `mail`. */
  readonly mail?: readonly string[] | undefined;
  /** For them. */
  readonly keys?: KeyProvider | undefined;
  readonly live?: boolean | undefined;
  readonly note?: ((text: string) => void) | undefined;
  /** What a program of the host's may take; default: 30 s. */
  readonly timeoutMs?: number | undefined;
  /** Read some MiB below and above each mapping that is said to encrypt. */
  readonly sample?: boolean | undefined;
  /** Keep the run with its evidence, in the chain of the state folder. */
  readonly keep?: boolean | undefined;
  /** RFC 3339: a recorded host is judged as of then, and gives the same document each time. */
  readonly asOf?: string | undefined;
  /** What time it is. */
  readonly now?: (() => Date) | undefined;
}

/** Measures a host. Throws `usage` for a guest that is not there, or a policy or scope that is not understood. */
export async function audit(options: AuditOptions): Promise<AuditDocument> {
  const { roots = [], connect = null, signal, version, record } = options;
  const asOf = options.asOf === undefined ? null : timeOf(options.asOf, roots.length > 0);
  const now = asOf === null ? (options.now ?? (() => new Date())) : () => asOf;
  const started = now();
  const { policy, ...policyFile } = readAuditPolicy(options.policy);
  const rules: Rules = { policy, declared: readDeclared(options.scope), now: started.toISOString() };
  const asked = askedGuests(options.mail ?? [], rules.declared);
  const { keys = NO_KEYS, live, note } = options;
  const host =
    roots.length > 0 ? null : new LiveSource({ connect, signal, timeoutMs: options.timeoutMs, own: ownFacts });
  const inside = { keys, connect: options.connect, live, signal, note };
  await using guestDisks = host === null ? null : new HostWithGuests(host, asked, inside);
  const source = guestDisks ?? new RecordedSource(roots.map((r) => resolve(r)));
  const reader = new EvidenceReader(source, now);
  const guestEvidence = new Set<number>();
  const guests = await auditGuests(reader.view(guestEvidence));
  const named = pick(guests, options.guests);
  const view = (used: Set<number>) => reader.view(used);
  const facts = await hostOf(reader.view(new Set()));
  const chain = options.keep && !source.recorded ? await chainOf(facts.machineIdSha256) : null;
  const checks = await runChecks(view, guests, named, guestEvidence, rules, asked, chain);
  if (options.sample && source.recorded)
    throw new StorageError("usage", "--sample reads the disks of this host, not of a recorded one", {
      hint: "leave out --root, or --sample",
    });
  const samples = options.sample
    ? await sampleGuests(named ?? [], reader.view(new Set()), { keys, signal })
    : undefined;
  if (record !== undefined) writeRecord(resolve(record), reader);
  const document: AuditDocument = {
    schema: "unterbau/audit/1",
    run: runId(started, asOf === null ? randomBytes(2) : digest(JSON.stringify([facts, named, checks]))),
    started: started.toISOString(),
    ended: now().toISOString(),
    program: { name: "unterbau", version },
    host: { ...facts, recorded: source.recorded },
    policy: { date: policy.date, ...policyFile },
    guests: named ?? [],
    checks,
    ...(samples === undefined ? {} : { samples }),
    evidence: reader.evidence.map(({ content: _, stderr, ...entry }) => ({
      ...entry,
      file: null,
      ...(stderr === "" ? {} : { stderr: stderr.slice(0, MAX_STDERR) }),
    })),
    previous: null,
    state: worst([...checks, ...(samples ?? [])].map((c) => c.state)),
  };
  if (!options.keep) return document;
  const kept = keepRun(document, reader.evidence);
  if (!onEncrypted(auditFolder()))
    note?.(
      `${auditFolder()}, where evidence is kept, is not known to lie on encrypted storage: it names disks, guests and addresses`,
    );
  return kept;
}

/** What this program finds itself, as lines that are kept like any program's: `luks-inside FORMAT PATH`, `state-folders`. */
async function ownFacts([, verb, format = "", path = ""]: readonly string[]): Promise<RawCommand | null> {
  if (verb === STATE_FOLDERS) return said(stateDirs().map((folder) => `${resolve(folder)}\n`));
  if (verb !== LUKS_INSIDE) return null;
  const { state, named, ciphers, containers } = await encryptionInside({ format, backing: [] }, path);
  const shown = state === "full" && named.length > 0 ? "unknown" : state;
  // An unprintable name from a guest's header must not make a line.
  const lines = containers.map(
    ({ version, cipher, keyBits, uuid, header }) =>
      `luks${version} ${word(cipher)} ${keyBits ?? "-"} ${word(uuid ?? "-")} ${JSON.stringify(header)}\n`,
  );
  return said([`${[shown, ciphers.map(word).join(",")].join(" ").trim()}\n`, ...lines]);
}

function word(text: string): string {
  return text.replace(/[^\w:.-]/g, "?");
}

function said(lines: readonly string[]): RawCommand {
  return { exit: 0, stdout: lines.join(""), stderr: "", version: null };
}

/** What is kept of this host so far. */
async function chainOf(machineIdSha256: string | null): Promise<ChainState> {
  const { runs, chain } = await verifyRuns();
  const own = storedAudits().flatMap(({ document }) =>
    document !== null && !document.host.recorded && document.host.machineIdSha256 === machineIdSha256
      ? [document.started]
      : [],
  );
  const problems = [...chain, ...runs.flatMap((r) => r.problems.map((p) => `${r.run}: ${p}`))];
  return { runs: own.length, last: own.at(-1) ?? null, problems };
}

/** Characters of an error that the manifest repeats. */
const MAX_STDERR = 4096;

function onEncrypted(path: string): boolean {
  try {
    return isEncrypted(restsOn(path));
  } catch {
    return false;
  }
}

const NO_KEYS: KeyProvider = { secretsFor: async () => [] };

/** Names of guests, with the selector of a volume. */
function askedGuests(mail: readonly string[], declared: Declared | null): ReadonlyMap<string, string | null> {
  const asked = new Map<string, string | null>();
  const said = declaredPart(declared, "mail");
  if (said.kind === "said")
    for (const [name, { volume }] of Object.entries(said.value)) asked.set(name, volume ?? null);
  for (const one of mail) {
    const [, name, volume] = /^(?:vm:)?([^:]+)(?::(.+))?$/.exec(one) ?? [];
    if (name === undefined) throw new StorageError("usage", `--mail ${printable(one)}: it is written vm:NAME[:VOLUME]`);
    asked.set(name, volume ?? null);
  }
  return asked;
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

/** Of a host that is recorded only: what is measured now cannot be of another time. */
function timeOf(text: string, recorded: boolean): Date {
  const time = new Date(text);
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?Z$/.test(text) || Number.isNaN(time.getTime()))
    throw new StorageError("usage", `--as-of ${printable(text)}: it is written 2026-11-24T06:00:00Z`);
  if (!recorded)
    throw new StorageError("usage", "--as-of is for a recorded host", { hint: "name the record with --root" });
  return time;
}

function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest().subarray(0, 2);
}

function runId(now: Date, suffix: Buffer): string {
  const stamp = now.toISOString().replace(/[-:]/g, "").replace("T", "-").slice(0, 15);
  return `${stamp}-${suffix.toString("hex")}`;
}

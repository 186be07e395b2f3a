import { type DeclaredDeletion, declaredPart } from "./declared.ts";
import type { CheckContext, HostReader } from "./model.ts";
import { stateRecords } from "./state-folders.ts";

/** A volume that was given up, from a record that `retire` wrote or from the declaration. */
export interface Deletion {
  /** The device, volume or file as it was called. */
  readonly name: string;
  readonly origin: "record" | "declared";
  readonly medium: "hdd" | "ssd" | "unknown";
  readonly wasPlaintext: boolean;
  readonly method: DeclaredDeletion["method"];
  /** RFC 3339; null: not ended. */
  readonly ended: string | null;
  /** Samples that were read back after the overwriting; null: none. */
  readonly samples: number | null;
  /** What the record itself says. */
  readonly verdict: "pass" | "warn" | "fail" | null;
  readonly certificate: string | null;
  /** Its name is gone by the record. */
  readonly removed: boolean;
  /** Of a backup of a LUKS header and the like: belongs to the destruction of another volume. */
  readonly part: boolean;
}

export interface Deletions {
  readonly all: readonly Deletion[];
  /** Guests whose old disk was left by a migration that ended, without a record of what became of it. */
  readonly unrecorded: readonly string[];
  /** Files that are no readable record. */
  readonly unread: readonly string[];
  readonly wrong: { readonly where: string; readonly why: string } | null;
}

/** Targets of one record. */
const MAX_TARGETS = 1000;

export async function collectDeletions({ host, declared }: CheckContext): Promise<Deletions> {
  const part = declaredPart(declared, "deletions");
  const [records, migrated] = await Promise.all([readRecords(host), endedMigrations(host)]);
  const said = part.kind === "said" ? part.value : [];
  return {
    all: [...records.found.flatMap((r) => r.deletions), ...said.map(ofDeclared)],
    unrecorded: migrated.filter((m) => !records.found.some((r) => r.run === m.run)).map((m) => m.guest),
    unread: records.unread,
    wrong: part.kind === "wrong" ? { where: part.where, why: part.why } : null,
  };
}

function ofDeclared(d: DeclaredDeletion): Deletion {
  return {
    name: d.name,
    origin: "declared",
    medium: d.medium === "other" ? "unknown" : d.medium,
    wasPlaintext: d.wasPlaintext,
    method: d.method,
    ended: d.date,
    samples: null,
    verdict: null,
    certificate: d.certificate ?? null,
    removed: d.method === "removed" || d.method === "destroyed",
    part: false,
  };
}

async function readRecords(host: HostReader) {
  const paths = await stateRecords(host, "retirements", ".json");
  const files = await Promise.all(paths.map((path) => host.file(path)));
  const found: { run: string; deletions: Deletion[] }[] = [];
  const unread: string[] = [];
  paths.forEach((path, i) => {
    const file = files[i];
    const record = file?.kind === "text" ? recordOf(file.text) : null;
    if (record === null) unread.push(path);
    else found.push(record);
  });
  return { found, unread };
}

const MEDIA = ["hdd", "ssd"] as const;
const VERDICTS = ["pass", "warn", "fail"] as const;
const METHODS: Readonly<Record<string, Deletion["method"]>> = {
  "random-overwrite": "random-overwrite",
  "random-overwrite+discard": "random-overwrite-discard",
  // cryptsetup's, and then the header's area; backups of headers are targets of their own.
  "luks-erase": "luks-erase-and-headers",
};

/** `unterbau/retire/1` (docs/schemas/retire.json); null: it is none. */
function recordOf(text: string): { run: string; deletions: Deletion[] } | null {
  let value: Record<string, unknown>;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (value?.schema !== "unterbau/retire/1" || typeof value.run !== "string" || !Array.isArray(value.targets))
    return null;
  const done = value.state === "done" && typeof value.ended === "string" ? value.ended : null;
  const deletions = value.targets.slice(0, MAX_TARGETS).map((t: Record<string, unknown>): Deletion => {
    const medium = MEDIA.find((m) => m === (t.medium as { type?: unknown } | null)?.type) ?? "unknown";
    const samples = (t.verified as { samples?: unknown } | null)?.samples;
    return {
      name: String(t.path),
      origin: "record",
      medium,
      wasPlaintext: t.wasPlaintext !== false,
      method: METHODS[String(t.method)] ?? "removed",
      ended: done,
      samples: typeof samples === "number" ? samples : null,
      verdict: VERDICTS.find((v) => v === t.verdict) ?? null,
      certificate: null,
      removed: t.removed === true,
      part: t.role !== "disk" && t.role !== "data-file" && t.role !== "backing-image",
    };
  });
  return { run: value.run, deletions };
}

/** The journals of migrations: what they are of on the first line, then steps. */
async function endedMigrations(host: HostReader): Promise<{ run: string; guest: string }[]> {
  const paths = await stateRecords(host, "migrations", ".migration");
  const files = await Promise.all(paths.map((path) => host.file(path)));
  return files.flatMap((file) => {
    if (file.kind !== "text") return [];
    try {
      const [head, ...steps] = file.text
        .split("\n")
        .slice(0, -1)
        .map(
          (line) =>
            JSON.parse(line) as { step?: string; state?: string; plan?: { id?: unknown; guest?: { name?: unknown } } },
        );
      const finish = steps.filter((s) => s.step === "finish").at(-1);
      if (finish?.state !== "done" || typeof head?.plan?.id !== "string") return [];
      return [{ run: head.plan.id, guest: String(head.plan.guest?.name) }];
    } catch {
      return [];
    }
  });
}

import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { ioError, StorageError } from "../core/errors.ts";
import { syncDirectory } from "../core/undo-log/writer.ts";
import { writeSynced } from "./edit-table.ts";
import { stateDir } from "./run-store.ts";

/** Rules that were put in force for a guest, and what was there before. Written before anything is changed. */
export interface EgressRecord {
  readonly schema: "unterbau/egress-run/1";
  readonly run: string;
  readonly guest: string;
  readonly uuid: string;
  /** libvirt's URI; null: virsh's own default. */
  readonly uri: string | null;
  /** `bridge unterbau_egress_…` */
  readonly table: string | null;
  /** Name of the filter, and its definition before, or null. */
  readonly filter: { readonly name: string; readonly before: string | null } | null;
  /** The guest's interfaces as they were: documents of their own. */
  readonly interfaces: readonly {
    readonly mac: string;
    readonly before: string;
    readonly live: boolean;
    readonly config: boolean;
  }[];
}

const RUN = /^[\w-]{1,64}$/;
const MAX_BYTES = 4 * 1024 * 1024;

function folder(): string {
  return join(stateDir(), "egress");
}

/** Durable when it returns. */
export function noteEgress(record: EgressRecord): void {
  const path = join(folder(), `${record.run}.json`);
  try {
    mkdirSync(folder(), { recursive: true, mode: 0o700 });
    rmSync(`${path}.new`, { force: true });
    writeSynced(`${path}.new`, `${JSON.stringify(record, null, 2)}\n`, 0o600);
    renameSync(`${path}.new`, path);
    syncDirectory(folder());
  } catch (error) {
    throw ioError(error, `cannot write ${path}`);
  }
}

/** Throws `usage` when there is no such run. */
export function readEgress(run: string): EgressRecord {
  const found = RUN.test(run) ? attempt(join(folder(), `${run}.json`)) : null;
  if (found === null) {
    const known = runs();
    throw new StorageError("usage", `no rules were applied by a run ${run}`, {
      hint: known.length === 0 ? "none were applied at all" : `there are: ${known.join(", ")}`,
    });
  }
  return found;
}

export function forgetEgress(run: string): void {
  rmSync(join(folder(), `${run}.json`), { force: true });
}

/** That of a guest, if its rules are in force. */
export function egressOfGuest(uuid: string): EgressRecord | null {
  return (
    runs()
      .flatMap((run) => attempt(join(folder(), `${run}.json`)) ?? [])
      .find((r) => r.uuid === uuid) ?? null
  );
}

function runs(): string[] {
  try {
    return readdirSync(folder())
      .filter((n) => n.endsWith(".json"))
      .map((n) => n.slice(0, -5))
      .sort();
  } catch {
    return [];
  }
}

function attempt(path: string): EgressRecord | null {
  try {
    const text = readFileSync(path, "utf8");
    const value = text.length > MAX_BYTES ? null : (JSON.parse(text) as EgressRecord | null);
    return value?.schema === "unterbau/egress-run/1" && Array.isArray(value.interfaces) ? value : null;
  } catch {
    return null;
  }
}

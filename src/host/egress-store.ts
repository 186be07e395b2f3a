import { rmSync } from "node:fs";
import { basename, join } from "node:path";
import { StorageError } from "../core/errors.ts";
import { putRecord, readRecord, recordsIn } from "./json-record.ts";
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
  putRecord(pathOf(record.run), record);
}

function pathOf(run: string): string {
  return join(folder(), `${run}.json`);
}

/** Throws `usage` when there is no such run. */
export function readEgress(run: string): EgressRecord {
  const found = RUN.test(run) ? readRules(pathOf(run)) : null;
  if (found === null) {
    const known = recordsIn(folder()).map((path) => basename(path, ".json"));
    throw new StorageError("usage", `no rules were applied by a run ${run}`, {
      hint: known.length === 0 ? "none were applied at all" : `there are: ${known.join(", ")}`,
    });
  }
  return found;
}

export function forgetEgress(run: string): void {
  rmSync(pathOf(run), { force: true });
}

/** That of a guest, if its rules are in force. */
export function egressOfGuest(uuid: string): EgressRecord | null {
  const records = recordsIn(folder()).flatMap((path) => readRules(path) ?? []);
  return records.find((r) => r.uuid === uuid) ?? null;
}

function readRules(path: string): EgressRecord | null {
  const value = readRecord<EgressRecord>(path, MAX_BYTES);
  const whole = value?.schema === "unterbau/egress-run/1" && Array.isArray(value.interfaces);
  return whole ? (value as EgressRecord) : null;
}

import { closeSync, constants, existsSync, mkdirSync, openSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { ioError, StorageError } from "../core/errors.ts";
import { appendLine, cutHalfLine, readLines } from "./json-lines.ts";
import { putRecord, readRecord, recordsIn } from "./json-record.ts";
import { lockExclusively } from "./locks.ts";
import type { Medium } from "./medium.ts";
import type { Segment } from "./overwrite.ts";
import { stateDir, stateDirs } from "./run-store.ts";
import type { SourceIdentity } from "./source-identity.ts";

export type DeletionVerdict = "pass" | "warn" | "fail";

/** One file or device that is destroyed. */
export interface RetiredTarget {
  readonly role: "disk" | "data-file" | "backing-image" | "firmware-variables" | "undo-log" | "header-backup";
  readonly path: string;
  /** Of a disk: what the old guest called it (`vda`), and SHA-256 of what it saw: of the migration's verification, and once more before it was destroyed. */
  readonly disk: { readonly name: string; readonly sha256: string } | null;
  readonly identity: SourceIdentity;
  /** LVM's UUID of the volume, as lvs(8) prints it. */
  readonly lvUuid: string | null;
  /** What was on it could be read without a key; false: declared by the operator. */
  readonly wasPlaintext: boolean;
  readonly medium: Medium;
  /**
   * random-overwrite: all that is allocated, once, with random bytes. luks-erase: keyslots by cryptsetup, then the header's area with random
   * bytes. `+discard`: then given back to the medium.
   */
  readonly method: "random-overwrite" | "random-overwrite+discard" | "luks-erase";
  /** Bytes from the start that are overwritten; holes are left. */
  readonly length: number;
  /** Null: not ended. */
  readonly overwrittenBytes: number | null;
  /** Samples that were read back from the medium and were the random bytes that were written. */
  readonly verified: { readonly at: string; readonly samples: number; readonly sha256: string } | null;
  /** discarded: by the device. holes: given back to the file system. unsupported: nobody took it. Null: not done, or not wanted. */
  readonly discard: "discarded" | "holes" | "unsupported" | null;
  /** Its name is gone. */
  readonly removed: boolean;
  /** Null: not ended. */
  readonly verdict: DeletionVerdict | null;
  /** What may be left of it, and where. */
  readonly residual: readonly string[];
}

/** That the copy has been started and was whole then. */
export interface CloneProof {
  /** When the migration ended. Times are RFC 3339, UTC. */
  readonly finished: string | null;
  readonly booted: { readonly at: string; readonly by: "live-check" | "qemu-log" } | null;
  readonly checked: { readonly at: string; readonly mode: string; readonly verdict: string } | null;
  /** The operator went on without all of it. */
  readonly overridden: boolean;
}

/** The deletion record of a migration's old disk (docs/schemas/retire.json). */
export interface RetirementRecord {
  readonly schema: "unterbau/retire/1";
  /** The migration's id. */
  readonly run: string;
  readonly state: "planned" | "begun" | "done";
  readonly begun: string | null;
  readonly ended: string | null;
  readonly program: { readonly name: "unterbau"; readonly version: string };
  /** Login name of who started it, before sudo. */
  readonly operator: { readonly user: string; readonly uid: number; readonly host: string };
  readonly guest: { readonly name: string; readonly uuid: string };
  readonly clone: { readonly name: string; readonly uuid: string };
  readonly proof: CloneProof;
  readonly targets: readonly RetiredTarget[];
  /** What holds bytes of the guest and is left. */
  readonly left: readonly string[];
  /** What an operator can do beyond it, such as the firmware's own way for a whole SSD. */
  readonly advice: readonly string[];
  readonly keepDomain: boolean;
  /** The old guest is no longer defined. */
  readonly undefined: boolean;
  /** Outside programs that took part; SHA-256 of standard output and standard error together. */
  readonly tools: readonly { readonly argv: readonly string[]; readonly exit: number; readonly sha256: string }[];
  /** The worst of all; null: not ended. */
  readonly verdict: DeletionVerdict | null;
  readonly residual: readonly string[];
}

/** What was done to target number `target`, in the order in which it was done; on the disk before the next thing is done. */
export type RetirementEvent =
  | ({ readonly target: number; readonly did: "segment" } & Segment)
  /** Of a thin volume: where its blocks lie, before the first is overwritten. */
  | { readonly target: number; readonly did: "blocks"; readonly sha256: string }
  | { readonly target: number; readonly did: "erased" | "verified" | "discarding" | "destroyed" | "removed" };

const SCHEMA = "unterbau/retire/1";
const RUN = /^[\w-]{1,64}$/;
/** A disk of 16 TiB has 262,144 segments of some 200 bytes. */
const MAX_BYTES = 256 * 1024 * 1024;

function folderIn(state: string): string {
  return join(state, "retirements");
}

/** The record of a retirement, and what of it is done. One process works on it at a time. */
export class Retirement implements Disposable {
  readonly #record: string;
  readonly #progress: string;
  readonly #lock: number;
  #events: RetirementEvent[];
  record: RetirementRecord;

  private constructor(folder: string, record: RetirementRecord, lock: number) {
    this.#record = join(folder, `${record.run}.json`);
    this.#progress = join(folder, `${record.run}.progress`);
    this.#lock = lock;
    this.record = record;
    this.#events = readEvents(this.#progress);
  }

  /** Writes the record down for the first time. Throws `locked` while another process works on the same. */
  static begin(record: RetirementRecord): Retirement {
    const folder = folderIn(stateDir());
    try {
      mkdirSync(folder, { recursive: true, mode: 0o700 });
    } catch (error) {
      throw ioError(error, `cannot make ${folder}`);
    }
    const retirement = new Retirement(folder, record, lockIn(folder, record.run));
    retirement.save(record);
    return retirement;
  }

  /** Goes on with one that was begun. Throws `usage` when there is none, `locked` while another process works on it. */
  static resume(run: string): Retirement {
    const found = retirements().find((r) => r.record.run === run);
    if (!found) throw new StorageError("usage", `no retirement ${run} was begun`, { hint: "unterbau retire --list" });
    const lock = lockIn(found.folder, run);
    // It may have gone on until a moment ago.
    return new Retirement(found.folder, readRetirement(join(found.folder, `${run}.json`)) ?? found.record, lock);
  }

  eventsOf(target: number): readonly RetirementEvent[] {
    return this.#events.filter((e) => e.target === target);
  }

  /** Durable when it returns. */
  note(event: RetirementEvent): void {
    const fd = openSync(this.#progress, constants.O_WRONLY | constants.O_CREAT | constants.O_APPEND, 0o600);
    try {
      appendLine(fd, event);
    } finally {
      closeSync(fd);
    }
    this.#events.push(event);
  }

  /** Durable when it returns. */
  save(record: RetirementRecord): void {
    putRecord(this.#record, record);
    this.record = record;
  }

  [Symbol.dispose](): void {
    closeSync(this.#lock);
  }
}

/** All that were begun, oldest first, in all state folders that can be read. */
export function retirements(
  states: readonly string[] = stateDirs(),
): { readonly folder: string; readonly record: RetirementRecord }[] {
  const paths = states.flatMap((state) => recordsIn(folderIn(state)));
  const found = paths.flatMap((path) => {
    const record = readRetirement(path);
    return record === null ? [] : [{ folder: dirname(path), record }];
  });
  return found.sort((a, b) => (a.record.run < b.record.run ? -1 : 1));
}

/** That of a migration, or null. */
export function retirementOf(run: string): RetirementRecord | null {
  return retirements().find(({ record }) => record.run === run)?.record ?? null;
}

function lockIn(folder: string, run: string): number {
  if (!RUN.test(run)) throw new StorageError("usage", `${run} is no run`);
  const fd = openSync(join(folder, `${run}.lock`), constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
  if (lockExclusively(fd)) return fd;
  closeSync(fd);
  throw new StorageError("locked", `another command is retiring the disk of ${run}`, {
    hint: "wait for it, or end it",
  });
}

function readRetirement(path: string): RetirementRecord | null {
  const value = readRecord<RetirementRecord>(path, MAX_BYTES);
  const whole = value?.schema === SCHEMA && typeof value.run === "string" && Array.isArray(value.targets);
  return whole ? (value as RetirementRecord) : null;
}

/** A last half line never counted; it is cut off, so that the next one is whole. */
function readEvents(path: string): RetirementEvent[] {
  if (!existsSync(path)) return [];
  if (statSync(path).size > MAX_BYTES) throw new StorageError("limit", `${path} has more than ${MAX_BYTES} bytes`);
  cutHalfLine(path);
  return readLines(path) as unknown as RetirementEvent[];
}

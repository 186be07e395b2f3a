import { randomBytes } from "node:crypto";
import { closeSync, mkdirSync, openSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { ioError, StorageError } from "../core/errors.ts";
import type { ImageFormat } from "../core/layer.ts";
import { syncPath } from "../core/sync-path.ts";
import type { FormatParameters } from "../tools/cryptsetup.ts";
import { appendLine, cutHalfLine, readLines } from "./json-lines.ts";
import { isAlive, type Owner, thisProcess } from "./owner.ts";
import { stateDir } from "./run-store.ts";
import type { SourceIdentity } from "./source-identity.ts";

/** Where a guest's disk was. */
export interface MigratedDisk {
  readonly path: string;
  readonly format: "raw" | ImageFormat;
  readonly identity: SourceIdentity;
}

/** A logical volume that a migration makes for a disk. */
export interface MigrationVolume {
  readonly group: string;
  /** As LVM writes it. */
  readonly groupUuid: string;
  readonly name: string;
  readonly extents: number;
}

export type MigrationTarget =
  | { readonly kind: "file"; readonly path: string }
  /** `volume`: the device is made by the migration; null: it is there. */
  | { readonly kind: "device"; readonly path: string; readonly volume: MigrationVolume | null };

/** A disk of the guest, and the container that it goes into. */
export interface MigrationDisk {
  /** `vda` */
  readonly disk: string;
  /** Bytes of the disk as the guest sees it. */
  readonly size: number;
  /** Where the old disk is, so that it is known again when it is to be destroyed; null: it is no file or device of this host. */
  readonly source: MigratedDisk | null;
  readonly target: MigrationTarget;
  /** Who decrypts: QEMU with a secret of libvirt's, or the host, which shows the content as `mapped`. */
  readonly opened: { readonly by: "qemu"; readonly secret: string } | { readonly by: "host"; readonly mapped: string };
  readonly parameters: FormatParameters;
  /** Whether the container gets a recovery key, and where that goes. */
  readonly recoveryKey: { readonly file: string } | "show" | null;
}

/** What a migration will do; decided once, before anything is done. Nothing in it is secret. */
export interface MigrationPlan {
  readonly id: string;
  readonly guest: { readonly name: string; readonly uuid: string; readonly uri: string | null };
  /** Whether libvirt started it with the host. */
  readonly autostart: boolean;
  /** In the guest's order; at least one. */
  readonly disks: readonly MigrationDisk[];
  /** Disks that are not moved, and why. */
  readonly stays: readonly { readonly disk: string; readonly why: string }[];
  readonly discard: boolean;
  /** Whether the containers get a second key of the user's. */
  readonly secondKey: boolean;
  readonly clone: { readonly name: string; readonly uuid: string };
  /** What the old guest is called afterwards, when the clone takes its name; null: it keeps its own. */
  readonly oldName: string | null;
  readonly nvram: { readonly from: string; readonly to: string } | null;
  /** What a check of the copy may mend there. */
  readonly repair: boolean;
}

export interface Migration {
  readonly path: string;
  readonly plan: MigrationPlan;
  readonly owner: Owner;
  /** Steps by name: begun, done or undone, and what was noted last. */
  readonly steps: ReadonlyMap<string, StepRecord>;
}

export interface StepRecord {
  readonly state: "begun" | "done" | "undone";
  readonly facts: Readonly<Record<string, string>>;
}

const SCHEMA = "unterbau/migration/2";
const ENDING = ".migration";

/** A migration's journal: what is about to be done is on the disk before it is done. One line of JSON each; a last half one never counted. */
export class MigrationJournal implements Disposable {
  readonly plan: MigrationPlan;
  readonly #path: string;
  readonly #fd: number;
  readonly #steps: Map<string, StepRecord>;

  private constructor(path: string, plan: MigrationPlan, steps: Map<string, StepRecord>) {
    this.plan = plan;
    this.#path = path;
    this.#fd = openSync(path, "a", 0o600);
    this.#steps = steps;
  }

  static create(plan: MigrationPlan): MigrationJournal {
    const folder = migrationFolder();
    const path = join(folder, `${plan.id}${ENDING}`);
    try {
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      closeSync(openSync(path, "wx", 0o600));
      const journal = new MigrationJournal(path, plan, new Map());
      journal.#append({ schema: SCHEMA, owner: thisProcess(), plan });
      syncPath(folder);
      return journal;
    } catch (error) {
      throw ioError(error, `cannot write ${path}`);
    }
  }

  /** Takes a migration over whose process is gone. Throws `locked` while it is there. */
  static takeOver({ path, plan, owner, steps }: Migration): MigrationJournal {
    if (isAlive(owner)) {
      throw new StorageError("locked", `the migration ${plan.id} is being worked on by process ${owner.pid}`, {
        hint: "wait for it, or end it",
      });
    }
    cutHalfLine(path);
    const journal = new MigrationJournal(path, plan, new Map(steps));
    journal.#append({ owner: thisProcess() });
    return journal;
  }

  step(name: string): StepRecord | null {
    return this.#steps.get(name) ?? null;
  }

  note(name: string, state: StepRecord["state"], facts: Readonly<Record<string, string>> = {}): void {
    const record = { state, facts: { ...this.#steps.get(name)?.facts, ...facts } };
    this.#append({ step: name, ...record });
    this.#steps.set(name, record);
  }

  /** For files that belong to the migration. */
  file(name: string): string {
    return `${this.#path}.${name}`;
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }

  #append(record: object): void {
    appendLine(this.#fd, record);
  }
}

export function newMigrationId(now = new Date()): string {
  const stamp = now.toISOString().replace(/[-:]/g, "").replace("T", "-").slice(0, 15);
  return `${stamp}-${randomBytes(2).toString("hex")}`;
}

export function migrationFolder(state = stateDir()): string {
  return join(state, "migrations");
}

/** All migrations, oldest first. */
export function migrations(): Migration[] {
  let names: string[];
  try {
    names = readdirSync(migrationFolder()).filter((name) => name.endsWith(ENDING));
  } catch {
    return [];
  }
  return names.sort().flatMap((name) => readMigration(join(migrationFolder(), name)) ?? []);
}

function readMigration(path: string): Migration | null {
  try {
    const [head, ...rest] = readLines(path);
    if (head?.schema !== SCHEMA) return null;
    let owner = head.owner as Owner;
    const steps = new Map<string, StepRecord>();
    for (const record of rest) {
      if (record.owner !== undefined) owner = record.owner as Owner;
      else steps.set(String(record.step), record as unknown as StepRecord);
    }
    return { path, plan: head.plan as MigrationPlan, owner, steps };
  } catch {
    return null;
  }
}

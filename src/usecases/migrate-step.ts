import { printable } from "../bytes/text.ts";
import { StorageError } from "../core/errors.ts";
import type { MigrationDisk, MigrationJournal, MigrationPlan } from "../host/migration-store.ts";
import { testPassphrase } from "../tools/cryptsetup.ts";
import { headerOf, type NewLuks } from "./luks-format.ts";
import type { MigrateOptions } from "./migrate.ts";

export interface StepContext {
  readonly journal: MigrationJournal;
  readonly luks: NewLuks;
  readonly options: MigrateOptions;
}

/** One step of a migration. A step that was begun may be half done: `goesOn` says whether it goes on by itself, else it is undone first. */
export interface Step<Context = StepContext> {
  /** In the journal: `define`; of one disk `copy vda`. */
  readonly name: string;
  /** For a person. */
  readonly what: string;
  /** How it is taken back, for a person; null: it leaves nothing. */
  readonly back: string | null;
  readonly goesOn: boolean;
  perform(context: Context): Promise<void>;
  /** Takes all of it back, also half of it, also when nothing of it is there. */
  undo(context: Context): Promise<void>;
}

/** A step for the migration as a whole. */
export interface GuestStep extends Step {
  /** Whether this guest needs it; default: yes. */
  applies?(plan: MigrationPlan): boolean;
}

/** For the steps of one disk: `luks` is how its container is made. */
export interface DiskContext extends StepContext {
  readonly disk: MigrationDisk;
  /** What was noted of one of this disk's steps. */
  facts(step: string): Readonly<Record<string, string>>;
  /** Notes something of the step that is being done, before it ends. */
  note(step: string, facts: Readonly<Record<string, string>>): void;
}

/** A step that is done for each disk. */
export interface DiskStep extends Step<DiskContext> {
  /** Whether this disk needs it; default: yes. */
  applies?(disk: MigrationDisk): boolean;
}

/** The steps for one disk out of its kind of step; of several disks each says which it means. */
export function forDisk(step: DiskStep, disk: MigrationDisk, several: boolean): Step {
  return {
    name: `${step.name} ${disk.disk}`,
    what: several ? `${disk.disk}: ${step.what}` : step.what,
    back: step.back,
    goesOn: step.goesOn,
    perform: (context) => step.perform(diskContext(context, disk)),
    undo: (context) => step.undo(diskContext(context, disk)),
  };
}

export function diskContext(context: StepContext, disk: MigrationDisk): DiskContext {
  const { journal, luks } = context;
  const { parameters, recoveryKey } = disk;
  return {
    ...context,
    luks: { ...luks, parameters, recoveryKey },
    disk,
    facts: (step) => factsOf(journal, disk, step),
    note: (step, facts) => journal.note(`${step} ${disk.disk}`, "begun", facts),
  };
}

/** What was noted of a disk's step: `verify` has `sha256`, `header` has `file`. */
export function factsOf(
  journal: MigrationJournal,
  { disk }: MigrationDisk,
  step: string,
): Readonly<Record<string, string>> {
  return journal.step(`${step} ${disk}`)?.facts ?? {};
}

/** A key that opens the container, of those that there are. Throws `key`. */
export async function unlockingKey(path: string, { keys }: NewLuks, options: MigrateOptions): Promise<Uint8Array> {
  const { uuid, kind, label } = await headerOf(path, options.limits);
  for (let attempt = 1; ; attempt++) {
    const secrets = await keys.secretsFor({ layer: kind, uuid, label, attempt });
    if (secrets.length === 0) {
      throw new StorageError("key", `no key opens ${printable(path)}`, {
        layer: kind,
        hint: "--target-key-file FILE, or type the passphrase on a terminal",
      });
    }
    for (const { bytes } of secrets) if (await testPassphrase(path, bytes, options)) return bytes;
  }
}

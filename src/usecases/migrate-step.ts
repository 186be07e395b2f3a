import { printable } from "../bytes/text.ts";
import { StorageError } from "../core/errors.ts";
import type { MigrationJournal, MigrationPlan } from "../host/migration-store.ts";
import { testPassphrase } from "../tools/cryptsetup.ts";
import { headerOf, type NewLuks } from "./luks-format.ts";
import type { MigrateOptions } from "./migrate.ts";

export interface StepContext {
  readonly journal: MigrationJournal;
  readonly luks: NewLuks;
  readonly options: MigrateOptions;
}

/** One step of a migration. A step that was begun may be half done: `goesOn` says whether it goes on by itself, else it is undone first. */
export interface Step {
  readonly name: string;
  /** For a person. */
  readonly what: string;
  readonly goesOn: boolean;
  /** Whether this guest and target need it; default: yes. */
  applies?(plan: MigrationPlan): boolean;
  perform(context: StepContext): Promise<void>;
  /** Takes all of it back, also half of it, also when nothing of it is there. */
  undo(context: StepContext): Promise<void>;
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

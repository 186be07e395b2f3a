import { rmSync } from "node:fs";
import { printable } from "../bytes/text.ts";
import { StorageError } from "../core/errors.ts";
import type { KeyProvider } from "../core/layer.ts";
import type { Limits } from "../core/limits.ts";
import { type Migration, MigrationJournal, type MigrationPlan, migrations } from "../host/migration-store.ts";
import { retirementOf } from "../host/retirement-store.ts";
import { findGuest, type GuestOptions } from "./guests.ts";
import { askKeys, type NewLuks } from "./luks-format.ts";
import type { MigrateDocument, MigrationsDocument } from "./migrate-documents.ts";
import { preflight } from "./migrate-preflight.ts";
import { factsOf, type Step, type StepContext } from "./migrate-step.ts";
import { stepsOf } from "./migrate-steps.ts";

export interface MigrateOptions extends GuestOptions {
  /** Volumes are made here: `VG` or `VG/LV`. */
  readonly to?: string | undefined;
  /** `PATH`, or `DISK=PATH` for each of several disks. */
  readonly toFile?: readonly string[] | undefined;
  readonly toDevice?: readonly string[] | undefined;
  /** Only these disks (`vda`) are moved; default: all that the guest can write to. */
  readonly disks?: readonly string[] | undefined;
  /** QEMU decrypts a device too, with a secret of libvirt's. */
  readonly libvirtLuks: boolean;
  /** Bytes of the container's sectors as the user or the policy wants them; default: as the guest's partition table counts. */
  readonly sectorSize?: number | undefined;
  /** Name below /dev/mapper; default: the clone's. */
  readonly mapped?: string | undefined;
  readonly newName?: string | undefined;
  /** The copy takes the guest's name. */
  readonly replace: boolean;
  readonly discard: boolean;
  readonly overwrite: boolean;
  readonly repair: boolean;
  /** Keys of LUKS inside the guest. */
  readonly sourceKeys: KeyProvider;
  /** Bytes a second at most. */
  readonly rate?: number | undefined;
  readonly checkpointBytes?: number | undefined;
  readonly checkerTimeoutMs: number;
  readonly limits?: Limits | undefined;
  readonly onProgress?: ((phase: string, done: number, total: number) => void) | undefined;
  /** Told before each step, and when it is performed but that is not written down yet. */
  readonly onStep?: ((step: Pick<Step, "name" | "what">, when: "before" | "performed") => void) | undefined;
  readonly note?: ((text: string) => void) | undefined;
}

/** What a migration would do. Nothing is changed. */
export async function planMigration(name: string, luks: NewLuks, options: MigrateOptions): Promise<MigrateDocument> {
  const { plan, notes } = await preflight(name, luks, options);
  return { ...documentOf(plan, "planned", notes), run: null };
}

/**
 * Moves a guest's disks into new LUKS containers, and defines a guest on it. Each step is in a journal before it is done, so that whatever
 * happens, `resume` goes on or `rollback` takes all of it back. The old guest and its disks stay as they are.
 */
export async function migrate(name: string, luks: NewLuks, options: MigrateOptions): Promise<MigrateDocument> {
  const { plan, notes } = await preflight(name, luks, options);
  for (const text of notes) options.note?.(text);
  const secondKey = (await askKeys(luks, plan.disks[0]!.target.path)).length > 1;
  using journal = MigrationJournal.create({ ...plan, secondKey });
  options.note?.(`migration ${plan.id}`);
  // Awaited here: the journal is closed when this returns.
  return await perform({ journal, luks, options }, notes);
}

/** Goes on with a migration that was interrupted. */
export async function resumeMigration(run: string, luks: NewLuks, options: MigrateOptions): Promise<MigrateDocument> {
  using journal = MigrationJournal.takeOver(findMigration(run));
  const { disks, secondKey } = journal.plan;
  const unmade = disks.find(({ disk }) => journal.step(`format ${disk}`)?.state !== "done");
  if (unmade && (await askKeys(luks, unmade.target.path)).length > 1 !== secondKey) {
    throw new StorageError("usage", `the migration was begun with ${secondKey ? "a second key" : "one key"}`, {
      hint: secondKey ? "--second-key-file FILE or --second-passphrase" : "go on with that one only",
    });
  }
  return await perform({ journal, luks, options }, []);
}

/** Takes all of a migration back, last step first. Throws `locked` while the copy runs, `usage` for one that is done unless forced. */
export async function rollbackMigration(
  run: string,
  luks: NewLuks,
  options: MigrateOptions & { readonly force: boolean },
): Promise<MigrateDocument> {
  const migration = findMigration(run);
  const { plan } = migration;
  refuseRetired(migration);
  if (isDone(migration) && !options.force) {
    throw new StorageError("usage", `the migration ${plan.id} is done`, {
      layer: "libvirt",
      hint: `what ${printable(plan.clone.name)} wrote since would be lost with it: --force takes it back all the same`,
    });
  }
  await refuseRunning(plan, options);
  using journal = MigrationJournal.takeOver(migration);
  const context: StepContext = { journal, luks, options };
  for (const step of stepsOf(plan).reverse()) {
    const { state } = journal.step(step.name) ?? {};
    if (state === undefined || state === "undone") continue;
    const what = `take back: ${step.what} (${step.back})`;
    if (step.back !== null) options.onStep?.({ name: step.name, what }, "before");
    // Written before: what was done once may be undone twice, but never counts as done again.
    journal.note(step.name, "begun");
    await step.undo(context);
    options.onStep?.(step, "performed");
    journal.note(step.name, "undone");
  }
  rmSync(migration.path);
  return documentOf(plan, "rolled-back", []);
}

export function listMigrations(): MigrationsDocument {
  return {
    schema: "unterbau/migrations/1",
    migrations: migrations().map((m) => ({
      run: m.plan.id,
      guest: m.plan.guest.name,
      clone: m.plan.clone.name,
      targets: m.plan.disks.map((d) => d.target.path),
      state: stateOf(m),
    })),
  };
}

function stateOf(m: Migration): string {
  if (isRetiring(m)) return retirementOf(m.plan.id)?.state === "done" ? "retired" : "retiring";
  if (isDone(m)) return "done";
  return stepsOf(m.plan).find((s) => m.steps.get(s.name)?.state !== "done")?.name ?? "done";
}

/** Whether its old disk is being destroyed, or is. */
function isRetiring({ plan, steps }: Migration): boolean {
  return steps.has("retire") || retirementOf(plan.id) !== null;
}

/** There is nothing to go back to. */
function refuseRetired(migration: Migration): void {
  if (!isRetiring(migration)) return;
  const { id, guest } = migration.plan;
  throw new StorageError(
    "usage",
    `the migration ${id} cannot be taken back: \`retire\` has begun to destroy the old disk of ${printable(guest.name)}`,
    { layer: "libvirt", hint: `unterbau retire --show ${id} tells how far; unterbau retire --resume ${id} ends it` },
  );
}

async function perform(context: StepContext, notes: readonly string[]): Promise<MigrateDocument> {
  const { journal, options } = context;
  const { id } = journal.plan;
  try {
    for (const step of stepsOf(journal.plan)) {
      const before = journal.step(step.name)?.state;
      if (before === "done") continue;
      options.signal?.throwIfAborted();
      options.onStep?.(step, "before");
      if (before === "begun" && !step.goesOn) await step.undo(context);
      journal.note(step.name, "begun");
      await step.perform(context);
      options.onStep?.(step, "performed");
      journal.note(step.name, "done");
    }
  } catch (error) {
    options.note?.(
      `migration ${id} stands: unterbau migrate --resume ${id} goes on, unterbau migrate --rollback ${id} takes all of it back`,
    );
    throw error;
  }
  const document = documentOf(journal.plan, "done", notes);
  const disks = document.disks.map((shown, i) => {
    const facts = (step: string) => factsOf(journal, journal.plan.disks[i]!, step);
    return { ...shown, sha256: facts("verify").sha256 ?? null, header: facts("header").file ?? null };
  });
  return { ...document, disks };
}

async function refuseRunning({ clone, guest }: MigrationPlan, options: MigrateOptions): Promise<void> {
  const about = { connect: guest.uri ?? options.connect, signal: options.signal };
  const found = await findGuest(clone.uuid, about).catch((error: unknown) => {
    if (error instanceof StorageError && error.code === "usage") return null;
    throw error;
  });
  if (found === null || found.state === "shut off") return;
  throw new StorageError("locked", `the guest ${printable(found.name)} is ${found.state}`, {
    layer: "libvirt",
    hint: "shut it down first",
  });
}

/** By its id, or an end of it that is unique. Throws `usage`. */
export function findMigration(run: string): Migration {
  const all = migrations();
  const found = all.filter((m) => m.plan.id === run || m.plan.id.endsWith(run));
  const [first, ...others] = found;
  if (first && others.length === 0) return first;
  throw new StorageError("usage", first ? `${run} could be several migrations` : `there is no migration ${run}`, {
    hint: all.length === 0 ? "none is known" : `there are: ${all.map((m) => m.plan.id).join(", ")}`,
  });
}

/** Whether every step is done. */
export function isDone({ steps }: Migration): boolean {
  return steps.get("finish")?.state === "done";
}

function documentOf(plan: MigrationPlan, state: MigrateDocument["state"], notes: readonly string[]): MigrateDocument {
  const { id, guest, clone, disks, stays } = plan;
  return {
    schema: "unterbau/migrate/1",
    run: id,
    state,
    guest: { name: guest.name, uuid: guest.uuid },
    clone,
    disks: disks.map(({ disk, size, target, opened, parameters }) => ({
      disk,
      size,
      target: target.path,
      volume:
        target.kind === "device" && target.volume !== null ? `${target.volume.group}/${target.volume.name}` : null,
      openedBy: opened.by,
      sectorSize: parameters.sectorSize,
      sha256: null,
      header: null,
    })),
    stays,
    steps: stepsOf(plan).map(({ name, what, back }) => ({ name, what, back })),
    notes,
  };
}

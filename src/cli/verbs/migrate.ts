import { describeError, StorageError } from "../../core/errors.ts";
import { migrationText } from "../../report/migrate-text.ts";
import { printable } from "../../report/units.ts";
import { shutDown, startAgain } from "../../usecases/guest-life.ts";
import { findGuest, type Guest, guestOf } from "../../usecases/guests.ts";
import { BUILT_IN } from "../../usecases/luks-policy.ts";
import {
  listMigrations,
  type MigrateOptions,
  migrate,
  planMigration,
  resumeMigration,
  rollbackMigration,
} from "../../usecases/migrate.ts";
import { Keys } from "../keys.ts";
import type { MigrateFlags } from "../luks-verbs.ts";
import { newKeysFrom, newLuksFrom } from "../new-luks.ts";
import { emit, emitJson, note } from "../output.ts";
import { Progress } from "../progress.ts";
import type { Session } from "../session.ts";

export async function run([source = ""]: readonly string[], flags: MigrateFlags, session: Session): Promise<number> {
  if (flags.list) return list(flags);
  const guest = guestOf(source);
  const { resume, rollback } = flags;
  if ((guest === null ? 0 : 1) + (resume ? 1 : 0) + (rollback ? 1 : 0) !== 1) {
    throw new StorageError("usage", "a guest is wanted, or --resume, --rollback or --list", {
      hint: "unterbau migrate vm:mail --to vg0",
    });
  }
  if (flags.rate === 0) throw new StorageError("usage", "--rate 0 would never end", { hint: "such as --rate 50M" });
  using keys = newKeysFrom(flags);
  using sourceKeys = new Keys({ keyFile: flags.keyFile, keyFd: flags.keyFd, prompt: false });
  // QEMU itself opens LUKS1 only.
  const byQemu = flags.toFile !== undefined || flags.libvirtLuks === true;
  const luks = newLuksFrom(byQemu ? { ...flags, luks1: true } : flags, keys);
  const { sectorSize } = luks.policy.default;
  const options = {
    ...optionsFrom(flags, sourceKeys, session),
    sectorSize: flags.sectorSize ?? (sectorSize === BUILT_IN.default.sectorSize ? undefined : sectorSize),
  };
  const document = await (async () => {
    if (resume !== undefined) return resumeMigration(resume, luks, options);
    if (rollback !== undefined) return rollbackMigration(rollback, luks, { ...options, force: flags.force ?? false });
    if (flags.dryRun) return planMigration(guest!, luks, options);
    const stopped = flags.shutdown ? await stop(guest!, flags, session) : null;
    let begun = false;
    const onStep: typeof options.onStep = (step, when) => {
      begun = true;
      options.onStep?.(step, when);
    };
    try {
      return await migrate(guest!, luks, { ...options, onStep });
    } catch (error) {
      if (stopped !== null && !begun) await asBefore(stopped);
      throw error;
    }
  })();
  if (flags.json) await emitJson(document);
  else await emit(migrationText(document));
  return 0;
}

function optionsFrom(flags: MigrateFlags, sourceKeys: Keys, { signal }: Session): MigrateOptions {
  let bar: Progress | null = null;
  let phase = "";
  return {
    connect: flags.connect,
    to: flags.to,
    toFile: flags.toFile,
    toDevice: flags.toDevice,
    disks: flags.disk,
    libvirtLuks: flags.libvirtLuks ?? false,
    mapped: flags.mapped,
    newName: flags.name,
    replace: flags.replace ?? false,
    discard: flags.allowDiscards ?? false,
    overwrite: flags.overwrite ?? false,
    repair: flags.repair ?? false,
    rate: flags.rate,
    checkerTimeoutMs: flags.checkerTimeout * 1000,
    sourceKeys,
    signal,
    onStep: ({ what }, when) => {
      if (when !== "before") return;
      bar?.clear();
      note(`- ${what}`);
    },
    onProgress: (name, done, total) => {
      if (name !== phase) bar?.clear();
      if (name !== phase || bar === null) bar = new Progress(name);
      phase = name;
      bar.bytes(done, total);
    },
    note: (text) => {
      bar?.clear();
      note(text);
    },
  };
}

/** The guest if it was not off before. */
async function stop(name: string, flags: MigrateFlags, { signal }: Session): Promise<Guest | null> {
  const guest = await findGuest(name, { connect: flags.connect, signal });
  if (guest.state === "shut off") return null;
  const { timeout, forceOff = false } = flags;
  await shutDown(guest, { timeoutMs: timeout * 1000, forceOff, signal, note });
  return guest;
}

/** Nothing was begun: a guest that served before serves again. */
async function asBefore(guest: Guest): Promise<void> {
  note(`nothing was changed: starting the guest ${printable(guest.name)} again`);
  await startAgain(guest).catch((error: unknown) => {
    note(`it could not be started: ${error instanceof Error ? describeError(error) : String(error)}`);
  });
}

async function list(flags: MigrateFlags): Promise<number> {
  const document = listMigrations();
  if (flags.json) await emitJson(document);
  else if (document.migrations.length === 0) await emit("no migrations are known\n");
  else
    for (const m of document.migrations)
      await emit(
        `${m.run}  ${printable(m.guest)} → ${printable(m.clone)}  ${m.targets.map(printable).join(", ")}  ${standing(m)}\n`,
      );
  return 0;
}

function standing({ state, run }: { readonly state: string; readonly run: string }): string {
  switch (state) {
    case "done":
      return "done";
    case "retired":
      return "done, the old disk is destroyed";
    case "retiring":
      return `done, the old disk is partly destroyed: unterbau retire --resume ${run}`;
    default:
      return `stands at: ${state}`;
  }
}

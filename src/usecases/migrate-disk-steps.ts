import { closeSync, existsSync, linkSync, openSync, rmSync, statSync, truncateSync } from "node:fs";
import { dirname } from "node:path";
import { alignUp } from "../bytes/integers.ts";
import { ioError, StorageError } from "../core/errors.ts";
import { syncPath } from "../core/sync-path.ts";
import { recordBeside, recordHeader, removeHeader } from "../host/header-store.ts";
import type { MigrationDisk, MigrationJournal } from "../host/migration-store.ts";
import { openSource } from "../host/open-source.ts";
import { sourceIdentity } from "../host/source-identity.ts";
import { convert, sourceDevice } from "./convert.ts";
import { backupHeader, proofOf } from "./headers.ts";
import { formatLuks } from "./luks-format.ts";
import type { MigrateOptions } from "./migrate.ts";
import { type DiskContext, type DiskStep, unlockingKey } from "./migrate-step.ts";
import { isVolumeAt, makeVolume, unmakeVolume } from "./migrate-volume.ts";
import { containerSize } from "./new-luks-target.ts";
import { openForInspection } from "./open-for-reading.ts";
import { removeKeyFile } from "./recovery-key.ts";
import { hashDevice, hashPayload } from "./second-reader.ts";

const nothing = async (): Promise<void> => {};

/** Where the container of a disk is until all is checked: a file has a name then that only this migration has. */
export function workPath({ plan }: MigrationJournal, { target }: MigrationDisk): string {
  return target.kind === "file" ? `${target.path}.${plan.id}` : target.path;
}

/** The same, after a look that a volume of ours is still what its path leads to. Throws `io` when not. */
async function container(context: DiskContext): Promise<string> {
  const path = workPath(context.journal, context.disk);
  if (await isThere(context)) return path;
  throw new StorageError("io", `${path} is gone`, { layer: "lvm", hint: "lvs shows what is there" });
}

/** Whether the volume that was made is still there; of other targets always. Throws when its path leads elsewhere. */
async function isThere({ journal, disk, facts }: DiskContext): Promise<boolean> {
  const { target } = disk;
  if (target.kind === "file" || target.volume === null) return true;
  return isVolumeAt(target.path, target.volume, journal.plan.id, facts("target").volume);
}

export const target: DiskStep = {
  name: "target",
  what: "make the target",
  back: "remove the file or volume that was made; a device that was there stays",
  goesOn: false,
  async perform({ journal, disk, note }) {
    const { target, parameters, size } = disk;
    if (target.kind === "device") {
      if (target.volume !== null) note("target", { volume: await makeVolume(target.volume, journal.plan.id) });
      return;
    }
    const path = workPath(journal, disk);
    try {
      closeSync(openSync(path, "wx", 0o600));
      truncateSync(path, containerSize(size, parameters));
    } catch (error) {
      throw ioError(error, `cannot make ${path}`);
    }
  },
  async undo({ journal, disk, facts }) {
    const { target } = disk;
    if (target.kind === "file") rmSync(workPath(journal, disk), { force: true });
    else if (target.volume !== null) await unmakeVolume(target.volume, journal.plan.id, facts("target").volume);
  },
};

export const format: DiskStep = {
  name: "format",
  what: "make the LUKS container",
  back: "destroy its keys, so that nothing opens what was copied",
  goesOn: false,
  async perform(context) {
    const { disk, luks, options, note } = context;
    const path = await container(context);
    note("format", { begun: path });
    const { uuid } = await formatLuks(path, luks, { name: disk.target.path, signal: options.signal });
    note("format", { uuid });
  },
  async undo(context) {
    const { target, recoveryKey, parameters } = context.disk;
    // What lies there is not ours before.
    if (context.facts("format").begun === undefined) return;
    if (recoveryKey !== null && recoveryKey !== "show") removeKeyFile(recoveryKey.file);
    // The keys go: what was copied is noise then.
    if (target.kind === "device" && (await isThere(context))) await wipeStart(target.path, parameters.dataOffset);
  },
};

export const header: DiskStep = {
  name: "header",
  what: "back the header up, and show that the backup unlocks",
  back: "remove the backup",
  goesOn: false,
  async perform(context) {
    const { luks, options, note } = context;
    const record = await backupHeader(await container(context), undefined, options);
    note("header", { file: record.file });
    const proof = await proofOf(record, luks.keys, options);
    if (proof.unlocks) return;
    throw new StorageError("io", `the header's backup is not shown to unlock: ${proof.reason}`, { layer: "luks" });
  },
  async undo({ facts }) {
    const { file } = facts("header");
    if (file !== undefined) removeHeader(file);
  },
};

export const copy: DiskStep = {
  name: "copy",
  what: "copy the disk into the container",
  back: null,
  goesOn: true,
  async perform(context) {
    const { disk, journal, luks, options } = context;
    await convert({
      ...sourceOf(journal, disk, options),
      target: await container(context),
      to: "luks",
      targetKeys: luks.keys,
      // It is ours: only what this migration wrote is there.
      overwrite: true,
      verify: false,
      rate: options.rate,
      checkpointBytes: options.checkpointBytes,
      onProgress: (_, progress) => options.onProgress?.(`copying ${disk.disk}`, progress.done, progress.total),
    });
  },
  undo: nothing,
};

export const verify: DiskStep = {
  name: "verify",
  what: "compare the disk with what a second reader decrypts, by their hashes",
  back: null,
  goesOn: true,
  async perform(context) {
    const { disk, journal, luks, options, note } = context;
    const { size, parameters } = disk;
    const { signal } = options;
    const whole = alignUp(size, parameters.sectorSize);
    const path = await container(context);
    const hash = async () => {
      await using opened = await openForInspection({ ...sourceOf(journal, disk, options), streaming: true });
      const onDone = (done: number) => options.onProgress?.(`reading ${disk.disk}`, done, size);
      // Awaited here: the source is closed when this returns.
      return await hashDevice(sourceDevice(opened.stack, undefined), parameters.sectorSize, { onDone, signal });
    };
    const source = await hash();
    const secret = await unlockingKey(path, luks, options);
    const onDone = (done: number) => options.onProgress?.(`reading the copy of ${disk.disk}`, done, whole);
    const copied = await hashPayload(path, parameters, whole, secret, { onDone, signal });
    if (source === copied) return note("verify", { sha256: source });
    throw new StorageError("io", `the copy of ${disk.disk} differs from the source`, {
      layer: "luks",
      hint: `somebody changed the source, or a medium is failing; unterbau migrate --rollback ${journal.plan.id}`,
    });
  },
  undo: nothing,
};

export const name: DiskStep = {
  name: "name",
  what: "give the target its name",
  back: "take the name away",
  goesOn: true,
  async perform(context) {
    const { journal, disk, note, facts } = context;
    const { target } = disk;
    const work = workPath(journal, disk);
    if (target.kind === "file") {
      if (existsSync(work)) {
        note("name", { inode: String(statSync(work).ino) });
        if (!isOurs(context)) linkSync(work, target.path);
        rmSync(work);
        syncPath(dirname(target.path));
      } else if (!isOurs(context)) throw new StorageError("io", `${work} is gone`, { layer: "file" });
    }
    const record = recordBeside(facts("header").file!);
    if (record) recordHeader({ ...record, device: sourceIdentity(target.path).realpath });
  },
  async undo(context) {
    if (isOurs(context)) rmSync(context.disk.target.path);
  },
};

function sourceOf({ plan }: MigrationJournal, { disk }: MigrationDisk, options: MigrateOptions) {
  const { note, signal, limits, sourceKeys: keys } = options;
  const sources = [`vm:${plan.guest.uuid}`];
  return { sources, guestDisks: [disk], connect: plan.guest.uri ?? undefined, keys, note, signal, limits };
}

/** Whether the name of the target has our file, as was noted before it got it. */
function isOurs({ disk: { target }, facts }: DiskContext): boolean {
  const { inode } = facts("name");
  return (
    target.kind === "file" &&
    inode !== undefined &&
    existsSync(target.path) &&
    String(statSync(target.path).ino) === inode
  );
}

/** Nothing opens the container any more, and nothing is recognised there. */
async function wipeStart(path: string, length: number): Promise<void> {
  const { file } = await openSource(sourceIdentity(path), "write");
  await using device = file;
  const zeros = new Uint8Array(1024 * 1024);
  for (let at = 0; at < length; at += zeros.length) await device.write(zeros.subarray(0, length - at), at);
  await device.flush();
}

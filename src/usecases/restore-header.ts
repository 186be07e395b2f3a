import { readFileSync, statSync } from "node:fs";
import { printable } from "../bytes/text.ts";
import { StorageError } from "../core/errors.ts";
import type { HeaderRecord } from "../host/header-store.ts";
import { openRun } from "../host/run.ts";
import { type SourceIdentity, sourceIdentity } from "../host/source-identity.ts";
import type { LuksHeader } from "../layers/luks/types.ts";
import { contentOfDevice } from "./device-content.ts";
import type { HeaderRestoreDocument } from "./header-documents.ts";
import { findBackups, type HeaderOptions, isOf, restoreInto, Scratch, standingOf } from "./headers.ts";
import { headerOf } from "./luks-format.ts";
import { recoverSource } from "./recover.ts";

export interface RestoreOptions extends HeaderOptions {
  /** Path of the backup; default: the newest of this device. */
  readonly from?: string | undefined;
  /** Whatever lies there, and whatever it is a backup of. */
  readonly force: boolean;
  readonly note?: ((text: string) => void) | undefined;
}

/**
 * Puts a backup's header on its device again, as cryptsetup restores it into an empty file, through an undo log: what was there before is
 * kept first, and `undo` brings it back. Throws `usage` when it is not this device's header, unless forced.
 */
export async function restoreHeader(device: string, options: RestoreOptions): Promise<HeaderRestoreDocument> {
  const identity = sourceIdentity(device);
  const recovered = await recoverSource([device]);
  for (const message of recovered?.messages ?? []) options.note?.(message);
  const record = backupFor(device, options);
  const { state } = await standingOf(record, options);
  if (state !== "whole") {
    const why = state === "missing" ? "is not there" : "is damaged: its bytes are not those that were written";
    throw new StorageError("io", `the backup ${printable(record.file)} ${why}`, {
      layer: "luks",
      hint: "unterbau header list shows others",
    });
  }
  using scratch = new Scratch();
  const restored = await restoreInto(scratch, record.file, options);
  const header = await headerOf(restored);
  if (!options.force) await refuseOther(device, identity, record, header);
  const { size } = statSync(record.file);
  const bytes = readFileSync(restored).subarray(0, size);
  if (size > identity.size) throw refused(`the backup has ${size} bytes, and ${device} only ${identity.size}`);
  await using run = await openRun({ verb: "header restore", sources: [{ path: device }] });
  await run.device(0).write(bytes, 0);
  await run.device(0).flush();
  const { changed } = await run.commit();
  return {
    schema: "unterbau/header-restore/1",
    device: identity.realpath,
    backup: record.file,
    uuid: header.uuid,
    run: changed ? run.id : null,
  };
}

function backupFor(device: string, { from }: RestoreOptions): HeaderRecord {
  if (from === undefined) return findBackups([device])[0]!;
  const [record] = findBackups([from]);
  return record!;
}

async function refuseOther(
  device: string,
  identity: SourceIdentity,
  record: HeaderRecord,
  restored: LuksHeader,
): Promise<void> {
  const name = printable(device);
  if (identity.size !== record.deviceSize)
    throw refused(`${name} has ${identity.size} bytes; the backup is of a device of ${record.deviceSize}`);
  let present: LuksHeader | null;
  try {
    present = await headerOf(identity.realpath);
  } catch {
    present = null;
  }
  if (present) {
    if (present.uuid === restored.uuid) return;
    throw refused(`the header on ${name} is that of ${present.uuid}; the backup is of ${restored.uuid}`);
  }
  if (!isOf(record, device)) throw refused(`${name} has no LUKS header, and the backup is of ${record.device}`);
  const what = await contentOfDevice(device);
  if (what !== null) throw refused(`${name} holds ${what} now`);
}

function refused(what: string): StorageError {
  return new StorageError("usage", `the header is not restored: ${what}`, {
    layer: "luks",
    hint: "--force restores it all the same; what is there now is kept, and undo brings it back",
  });
}

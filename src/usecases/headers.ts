import { createHash } from "node:crypto";
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
} from "node:fs";
import { dirname, join, resolve } from "node:path";
import { printable } from "../bytes/text.ts";
import { describeError, ioError, StorageError } from "../core/errors.ts";
import type { KeyProvider } from "../core/layer.ts";
import { syncPath } from "../core/sync-path.ts";
import { type HeaderRecord, headerFolder, headerRecords, recordBeside, recordHeader } from "../host/header-store.ts";
import { sourceIdentity } from "../host/source-identity.ts";
import type { LuksHeader } from "../layers/luks/types.ts";
import { luksHeaderBackup, luksHeaderRestore, testPassphrase } from "../tools/cryptsetup.ts";
import { nameIt } from "./convert-parts.ts";
import type { HeaderDocument, Proof, Standing } from "./header-documents.ts";
import { headerOf } from "./luks-format.ts";

export interface HeaderOptions {
  readonly signal?: AbortSignal | undefined;
}

/** The largest header that LUKS has: LUKS2, 4 MiB of metadata twice and 128 MiB of keyslots (LUKS2 On-Disk Format 1.1.4, 2.1). */
const LARGEST = 136 * 1024 * 1024;

/** A folder for a moment, readable by its owner only. A header in it is what lies on the device in the clear anyway. */
export class Scratch implements Disposable {
  readonly path: string;

  constructor() {
    const parent = headerFolder();
    mkdirSync(parent, { recursive: true, mode: 0o700 });
    for (const name of readdirSync(parent)) {
      const [, pid] = /^\.scratch-(\d+)-/.exec(name) ?? [];
      // Its process was killed.
      if (pid !== undefined && !existsSync(`/proc/${pid}`))
        rmSync(join(parent, name), { recursive: true, force: true });
    }
    this.path = mkdtempSync(join(parent, `.scratch-${process.pid}-`));
  }

  file(name: string): string {
    return join(this.path, name);
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** Copies the header of a device or file into a new file (mode 0600) in `folder`, with its record. Throws when there is no header. */
export async function backupHeader(
  device: string,
  folder: string | undefined,
  options: HeaderOptions,
): Promise<HeaderRecord> {
  const identity = sourceIdentity(device);
  const header = await readHeader(identity.realpath);
  const made = new Date().toISOString();
  const into = resolve(folder ?? headerFolder());
  const stamp = made.replace(/[-:]/g, "").replace(/\.\d+Z$/, "Z");
  const named = join(into, `${header.uuid}-${stamp}`);
  const file = firstFree(named);
  const part = `${file}.part`;
  try {
    mkdirSync(into, { recursive: true, mode: 0o700 });
    await luksHeaderBackup(identity.realpath, part, options);
    chmodSync(part, 0o600);
    const bytes = readFileSync(part);
    const record: HeaderRecord = {
      schema: "unterbau/header-record/1",
      file,
      device: identity.realpath,
      stableId: identity.stableId,
      deviceSize: identity.size,
      uuid: header.uuid,
      version: header.kind === "luks1" ? 1 : 2,
      label: header.label,
      epoch: epochOf(header),
      size: bytes.length,
      sha256: sha256(bytes),
      made,
    };
    syncPath(part);
    nameIt(part, file);
    syncPath(dirname(file));
    recordHeader(record);
    return record;
  } catch (error) {
    rmSync(part, { force: true });
    throw ioError(error, `the header of ${device} cannot be kept in ${into}`);
  }
}

/** The header at a path's start. Throws `usage` when there is none. */
async function readHeader(path: string): Promise<LuksHeader> {
  try {
    return await headerOf(path);
  } catch (error) {
    throw new StorageError("usage", `${path} holds no LUKS header that can be used: ${(error as Error).message}`, {
      layer: "luks",
      hint: "name the device or file that begins with it; unterbau inspect shows where LUKS lies",
      cause: error,
    });
  }
}

/** Where a backup stands beside its device, without a key. */
export async function standingOf(record: HeaderRecord, options: HeaderOptions): Promise<Standing> {
  return { state: stateOf(record), onDevice: await onDevice(record, options) };
}

function stateOf(record: HeaderRecord): Standing["state"] {
  const bytes = readBackup(record.file);
  if (bytes === null) return "missing";
  return bytes.length === record.size && sha256(bytes) === record.sha256 ? "whole" : "damaged";
}

async function onDevice(record: HeaderRecord, options: HeaderOptions): Promise<Standing["onDevice"]> {
  if (!existsSync(record.device)) return "absent";
  let header: LuksHeader;
  try {
    header = await headerOf(record.device);
  } catch {
    return "none";
  }
  if (header.uuid !== record.uuid) return "other";
  if (record.epoch !== null && record.epoch !== epochOf(header)) return "changed";
  // cryptsetup leaves out what no keyslot uses: only two of its own backups can be compared.
  using scratch = new Scratch();
  await luksHeaderBackup(record.device, scratch.file("now"), options);
  return sha256(readFileSync(scratch.file("now"))) === record.sha256 ? "current" : "changed";
}

/** Has cryptsetup restore a backup into a file of its own, and open it with the keys that there are. */
export async function proofOf(record: HeaderRecord, keys: KeyProvider, options: HeaderOptions): Promise<Proof> {
  const no = (reason: string): Proof => ({ unlocks: false, reason });
  const state = stateOf(record);
  if (state === "missing") return no("it is not there");
  if (state === "damaged") return no("its bytes are not those that were written");
  using scratch = new Scratch();
  try {
    const restored = await restoreInto(scratch, record.file, options);
    const { uuid, kind, label } = await headerOf(restored);
    if (uuid !== record.uuid) return no(`it is the header of ${uuid}`);
    let tried = 0;
    for (let attempt = 1; ; attempt++) {
      const secrets = await keys.secretsFor({ layer: kind, uuid, label, attempt });
      if (secrets.length === 0) break;
      for (const { bytes } of secrets) {
        tried++;
        if (await testPassphrase(restored, bytes, options)) return { unlocks: true, reason: null };
      }
    }
    return tried === 0
      ? { unlocks: null, reason: "no key was given, so that it unlocks is not shown" }
      : no(tried === 1 ? "the key opens no keyslot of it" : `none of the ${tried} keys opens a keyslot of it`);
  } catch (error) {
    if (error instanceof StorageError && error.code === "cancelled") throw error;
    return no(describeError(error));
  }
}

/** What cryptsetup makes of a backup on an empty device: the path of that. */
export async function restoreInto(scratch: Scratch, backup: string, options: HeaderOptions): Promise<string> {
  const path = scratch.file("restored");
  closeSync(openSync(path, "wx", 0o600));
  // cryptsetup wants some payload behind it.
  truncateSync(path, statSync(backup).size + 1024 * 1024);
  await luksHeaderRestore(path, backup, options);
  return path;
}

/** Backups by path, device or UUID; all of them for none. Throws `usage` for one that is not known. */
export function findBackups(names: readonly string[]): HeaderRecord[] {
  const all = headerRecords();
  if (names.length === 0) return all;
  return names.flatMap((name) => {
    const path = resolve(name);
    const beside = recordBeside(path);
    if (beside) return [beside];
    const found = all.filter((r) => r.file === path || r.uuid === name.toLowerCase() || isOf(r, path));
    if (found.length > 0) return found;
    throw new StorageError("usage", `no header backup of ${printable(name)} is known`, {
      hint: `unterbau header backup ${printable(name)} makes one; unterbau header list shows those that are known`,
    });
  });
}

/** Whether a backup is of what lies at this path now. */
export function isOf(record: HeaderRecord, path: string): boolean {
  try {
    const { realpath, stableId } = sourceIdentity(path);
    return record.stableId !== null && stableId !== null ? record.stableId === stableId : record.device === realpath;
  } catch {
    return record.device === path;
  }
}

export function headerDocument(record: HeaderRecord): HeaderDocument {
  const { file, device, uuid, version, label, epoch, size, sha256, made } = record;
  return { file, device, uuid, version, label, epoch, size, sha256, made };
}

function readBackup(path: string): Buffer | null {
  try {
    return statSync(path).size > LARGEST ? Buffer.alloc(0) : readFileSync(path);
  } catch {
    return null;
  }
}

function epochOf(header: LuksHeader): number | string | null {
  const { sequenceId } = header.details;
  return typeof sequenceId === "number" || typeof sequenceId === "string" ? sequenceId : null;
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Several backups of one second: the next gets a number. */
function firstFree(base: string): string {
  for (let i = 1; ; i++) {
    const path = `${base}${i === 1 ? "" : `-${i}`}.luksheader`;
    if (!existsSync(path) && !existsSync(`${path}.part`)) return path;
  }
}

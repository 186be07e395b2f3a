import {
  closeSync,
  fsyncSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeSync,
} from "node:fs";
import { basename, join } from "node:path";
import { ioError, type StorageError } from "../core/errors.ts";
import { isAlive, type Owner, thisProcess } from "./owner.ts";
import { stateDir, stateDirs } from "./run-store.ts";

/** A view of a running guest that is or was open: what has to be ended, whoever finds it. */
export interface LiveRecord {
  readonly schema: "unterbau/live/1";
  readonly owner: Owner;
  readonly guest: string;
  readonly uuid: string;
  /** libvirt's URI. */
  readonly uri: string;
  /** Holds the socket, the scratch files and, while the guest's file systems may be frozen, a file `frozen`. */
  readonly folder: string;
  /** Of a view through LVM: what is made, or to be made, in the host's groups. */
  readonly snapshots?: readonly SnapshotName[];
}

export interface SnapshotName {
  readonly group: string;
  readonly name: string;
}

export interface StoredLive {
  readonly path: string;
  readonly record: LiveRecord;
}

const SCHEMA = "unterbau/live/1";
const FOLDER = /^\/.*\/unterbau-live-[A-Za-z0-9]{6}$/;
/** lvm(8), "VALID NAMES". Only names that a view gives are ever removed. */
const GROUP = /^[A-Za-z0-9+_.][A-Za-z0-9+_.-]*$/;
const SNAPSHOT = /^unterbau-live-[A-Za-z0-9]{6}(-\d+)?$/;
const MAX_BYTES = 64 * 1024;

/** A folder for a view that keeps none of the guest's bytes in it; it is gone with the view. Throws `io` as `noteLive` does. */
export function liveFolder(): string {
  const parent = join(stateDir(), "live");
  try {
    mkdirSync(parent, { recursive: true, mode: 0o700 });
    return mkdtempSync(join(parent, "unterbau-live-"));
  } catch (error) {
    throw cannotNote(error, parent);
  }
}

function cannotNote(error: unknown, folder: string): StorageError {
  return ioError(error, `cannot note the view of the guest in ${folder}`, {
    layer: "libvirt",
    hint: "choose a folder that can be written to with UNTERBAU_STATE_DIR",
  });
}

/** Notes a view before it is begun, durably. Throws `io` when the state folder cannot be written to. */
export function noteLive(view: Omit<LiveRecord, "schema" | "owner">): StoredLive {
  const record: LiveRecord = { schema: SCHEMA, owner: thisProcess(), ...view };
  const folder = join(stateDir(), "live");
  const path = join(folder, `${basename(view.folder)}.json`);
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const fd = openSync(path, "wx", 0o600);
    try {
      writeSync(fd, `${JSON.stringify(record)}\n`);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    throw cannotNote(error, folder);
  }
  return { path, record };
}

/** Views whose process is gone. */
export function abandonedViews(states: readonly string[] = stateDirs()): StoredLive[] {
  return states.flatMap((state) => {
    const folder = join(state, "live");
    let names: string[];
    try {
      names = readdirSync(folder);
    } catch {
      return [];
    }
    return names.flatMap((name) => {
      const path = join(folder, name);
      try {
        const text = readFileSync(path, "utf8");
        const value = text.length > MAX_BYTES ? null : (JSON.parse(text) as LiveRecord | null);
        // The folder is removed with all that is in it: nothing else may be named there.
        const named = (value?.snapshots ?? []).every((v) => GROUP.test(v.group) && SNAPSHOT.test(v.name));
        const valid = value?.schema === SCHEMA && FOLDER.test(value.folder) && !value.folder.includes("/../") && named;
        return valid && !isAlive(value.owner) ? [{ path, record: value }] : [];
      } catch {
        return [];
      }
    });
  });
}

/** The view is ended: its folder goes, then the note of it. */
export function forgetLive({ path, record }: StoredLive): void {
  rmSync(record.folder, { recursive: true, force: true });
  rmSync(path, { force: true });
}

import { createHash } from "node:crypto";
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { StorageError } from "../core/errors.ts";
import type { LineChange } from "./edit-table.ts";
import { putRecord } from "./json-record.ts";
import { stateDir } from "./run-store.ts";

/** What `boot enable` wrote for a guest, so that exactly that is taken back. Written down before anything is changed. */
export interface BootRecord {
  readonly schema: "unterbau/boot-record/1";
  readonly guest: string;
  readonly uuid: string;
  /** Files of our own: absolute in the host's tree, with the SHA-256 of what was written. */
  readonly files: readonly { readonly path: string; readonly sha256: string }[];
  readonly lines: readonly LineChange[];
  /** libvirt started the guest by itself before. */
  readonly autostart: boolean;
}

const SCHEMA = "unterbau/boot-record/1";

/** Beside the runs; in another tree below that. */
function fileFor(root: string, uuid: string): string {
  const state = root === "/" ? stateDir() : join(root, "var/lib/unterbau");
  return join(state, "boot", `${uuid}.json`);
}

export function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

/** Null: nothing was written for this guest. Throws `corrupt`. */
export function readBootRecord(root: string, uuid: string): BootRecord | null {
  const path = fileFor(root, uuid);
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
  try {
    const value = JSON.parse(text) as BootRecord;
    if (value.schema === SCHEMA && Array.isArray(value.files) && Array.isArray(value.lines)) return value;
  } catch {
    // As for a record of another kind.
  }
  throw new StorageError("corrupt", `${path} is no record of boot enable`, {
    layer: "boot",
    hint: "it names what was written; move it away when you know that",
  });
}

/** Durable when it returns. Throws `io`. */
export function writeBootRecord(root: string, record: Omit<BootRecord, "schema">): void {
  putRecord(fileFor(root, record.uuid), { schema: SCHEMA, ...record });
}

export function forgetBootRecord(root: string, uuid: string): void {
  rmSync(fileFor(root, uuid), { force: true });
}

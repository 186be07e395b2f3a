import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  copyFileSync,
  existsSync,
  fsyncSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { dirname } from "node:path";
import { ioError, StorageError } from "../core/errors.ts";
import { syncPath } from "../core/sync-path.ts";

/** A line of a table that is put in, or takes the place of another one. */
export interface LineChange {
  /** Absolute, in the host's tree. */
  readonly file: string;
  /** Null: it is added at the end. */
  readonly before: string | null;
  readonly after: string;
  /** Added behind a last line that had no end: taking it out leaves the line so. */
  readonly unended?: boolean;
}

/** The text with the changes done. Throws `io` when a line that was to be replaced is not there. */
export function withChanges(text: string, changes: readonly LineChange[]): string {
  let lines = text.split("\n");
  for (const { before, after, file } of changes) {
    if (before === null) {
      // The last element is what follows the last newline: nothing, in a whole file.
      if (lines.at(-1) === "") lines = [...lines.slice(0, -1), after, ""];
      else lines = [...lines, after, ""];
      continue;
    }
    const at = lines.indexOf(before);
    if (at < 0) throw new StorageError("io", `${file} was changed meanwhile: the line “${before}” is not there`);
    lines[at] = after;
  }
  return lines.join("\n");
}

/** Takes changes back, last first; edited lines that somebody edited further are in `left`. */
export function withoutChanges(text: string, changes: readonly LineChange[]): { text: string; left: LineChange[] } {
  const lines = text.split("\n");
  const left: LineChange[] = [];
  for (const change of [...changes].reverse()) {
    const at = lines.lastIndexOf(change.after);
    if (at < 0) {
      // Not there any more, or never written: an edited line is back, or somebody made another one of it.
      if (change.before !== null && !lines.includes(change.before)) left.push(change);
      continue;
    }
    if (change.before === null) {
      lines.splice(at, 1);
      if (change.unended && at === lines.length - 1 && lines[at] === "") lines.pop();
    } else lines[at] = change.before;
  }
  return { text: lines.join("\n"), left };
}

/**
 * Puts `text` into a table of the host that is there, in one step: who reads it sees the old one or the new one. The old one is kept beside it;
 * returns that path. Mode and owner stay; a symbolic link stays one. Throws `io`; the table is as it was then.
 */
export function replaceTable(path: string, text: string, now: Date): string {
  try {
    const real = realpathSync(path);
    const { mode, uid, gid } = statSync(real);
    const stamp = now
      .toISOString()
      .replaceAll(/[-:]|\.\d+Z/g, "")
      .replace("T", "-");
    let backup = `${real}.unterbau-${stamp}`;
    for (let n = 1; existsSync(backup); n++) backup = `${real}.unterbau-${stamp}.${n}`;
    copyFileSync(real, backup, constants.COPYFILE_EXCL);
    chmodSync(backup, mode & 0o777);
    chownSync(backup, uid, gid);
    syncPath(backup);
    const next = `${real}.unterbau-new`;
    rmSync(next, { force: true });
    writeSynced(next, text, mode & 0o777);
    chownSync(next, uid, gid);
    renameSync(next, real);
    syncPath(dirname(real));
    return backup;
  } catch (error) {
    throw ioError(error, `cannot change ${path}`);
  }
}

/** A new file; throws `io` when there is one. */
export function writeSynced(path: string, text: string, mode: number): void {
  const fd = openSync(path, "wx", mode);
  try {
    writeSync(fd, text);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

export function readIfThere(path: string): string | null {
  return existsSync(path) ? readFileSync(path, "utf8") : null;
}

import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmdirSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { lockExclusively } from "./locks.ts";

const PREFIX = "unterbau-";
/** A folder of ours, as mkdtemp(3) names it. */
const NAME = /^unterbau-[A-Za-z0-9]{6}$/;
const FILE = "disk";
/** Locked while its process lives, in whatever pid namespace that is. */
const LOCK = "lock";
const { O_RDWR, O_CREAT, O_EXCL, O_NOFOLLOW } = constants;

/** A folder below TMPDIR with one empty file to mount on. */
export interface MountFolder extends Disposable {
  readonly path: string;
}

let swept = false;

/** Makes one; the first call of a process also takes away what processes that were killed have left. */
export function mountFolder(parent: string = tmpdir()): MountFolder {
  if (!swept) sweep(parent);
  swept = true;
  for (;;) {
    const folder = mkdtempSync(join(parent, PREFIX));
    const fd = openSync(join(folder, LOCK), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
    // Another process that sweeps may have come in between: it takes this folder away, or has done so already.
    if (!lockExclusively(fd) || fstatSync(fd).nlink === 0) {
      closeSync(fd);
      continue;
    }
    const path = join(folder, FILE);
    writeFileSync(path, "", { mode: 0o600, flag: "wx" });
    return {
      path,
      [Symbol.dispose]() {
        remove(folder);
        closeSync(fd);
      },
    };
  }
}

/** Removes folders of this user whose process is gone. Follows no links, and takes away nothing but the two files that it knows. */
export function sweep(parent: string): void {
  for (const name of attempt(() => readdirSync(parent)) ?? []) {
    if (NAME.test(name)) attempt(() => sweepOne(join(parent, name)));
  }
}

function sweepOne(folder: string): void {
  const uid = process.getuid?.();
  const stat = lstatSync(folder);
  // mkdtemp makes it 0700: nobody else can have put anything in.
  if (!stat.isDirectory() || stat.uid !== uid || (stat.mode & 0o077) !== 0) return;
  const fd = openSync(join(folder, LOCK), O_RDWR | O_NOFOLLOW);
  try {
    const lock = fstatSync(fd);
    if (lock.isFile() && lock.uid === uid && lockExclusively(fd)) remove(folder);
  } finally {
    closeSync(fd);
  }
}

/** The lock goes last but one, so that what is left after an interruption is still known as ours. */
function remove(folder: string): void {
  attempt(() => unlinkSync(join(folder, FILE)));
  attempt(() => unlinkSync(join(folder, LOCK)));
  attempt(() => rmdirSync(folder));
}

/** What cannot be removed now is for the next one. */
function attempt<T>(act: () => T): T | null {
  try {
    return act();
  } catch {
    return null;
  }
}

import { realpathSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { printable } from "../bytes/text.ts";
import { StorageError } from "../core/errors.ts";
import { folderUsers } from "../host/busy.ts";
import { type FuseMount, fuseMounts, isStale, mayUnmount } from "../host/fuse-mounts.ts";
import { ended } from "../host/marked-processes.ts";
import { isAlive } from "../host/owner.ts";
import { unmountFuse } from "../tools/fusermount.ts";

/** How long the process of a mount may take to let go of its source. */
const PATIENCE_SECONDS = 60;

export interface UmountDocument {
  readonly schema: "unterbau/umount/1";
  readonly folder: string;
  /** unmounted: its process has ended, too, and its source is free. cleaned: its process had been killed. */
  readonly outcome: "unmounted" | "cleaned";
}

/** Ends what `mount` shows in a folder. Throws `usage` when it is none of ours, `locked` with who uses it when it is in use. */
export async function umount(given: string): Promise<UmountDocument> {
  const folder = mountPoint(given);
  const found = fuseMounts().find((m) => m.folder === folder);
  if (found === undefined) throw notOurs(given);
  if (!mayUnmount(found)) {
    throw new StorageError("usage", `${given} was mounted by the user ${found.uid}`, {
      layer: "fuse",
      hint: "only that user and root may unmount it",
    });
  }
  const stale = !isAlive(found.owner);
  const refused = unmountFuse(folder, { lazy: stale });
  if (refused !== null) throw inUse(given, folder, refused);
  if (!stale && !(await ended([found.owner.pid], PATIENCE_SECONDS))) {
    throw new StorageError("io", `${given} is unmounted, but its process ${found.owner.pid} does not end`, {
      layer: "fuse",
      hint: "it holds the source: end it",
    });
  }
  return { schema: "unterbau/umount/1", folder, outcome: stale ? "cleaned" : "unmounted" };
}

/** Mounts that processes which were killed have left are taken away, one line for each. Those of other users are root's to take away. */
export function clearStaleMounts(): string[] {
  return fuseMounts()
    .filter((m) => mayUnmount(m) && isStale(m))
    .map(({ folder }) => {
      const refused = unmountFuse(folder, { lazy: true });
      const shown = printable(folder);
      return refused === null
        ? `a mount on ${shown} whose process had been killed is taken away`
        : `a mount on ${shown} whose process had been killed cannot be taken away: ${printable(refused)}`;
    });
}

/** The folder itself may no longer answer: only what is above it is looked at. */
function mountPoint(given: string): string {
  const path = resolve(given);
  try {
    return realpathSync(path);
  } catch {
    try {
      return join(realpathSync(dirname(path)), basename(path));
    } catch {
      return path;
    }
  }
}

function notOurs(given: string): StorageError {
  const others: readonly FuseMount[] = fuseMounts();
  return new StorageError("usage", `nothing of unterbau's is mounted on ${given}`, {
    layer: "fuse",
    hint:
      others.length === 0
        ? "no volume is mounted by unterbau mount; other mounts are ended by umount(8)"
        : `mounted are: ${others.map((m) => m.folder).join(", ")}`,
  });
}

function inUse(given: string, folder: string, reason: string): StorageError {
  const users = folderUsers(folder);
  const who = users.length > 0 ? `it is in use by ${users.join(", ")}` : reason;
  return new StorageError("locked", `cannot unmount ${given}: ${who}`, {
    layer: "fuse",
    hint: "end these programs or have them leave the folder, then repeat",
  });
}

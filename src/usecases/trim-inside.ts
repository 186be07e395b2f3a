import { readBytes } from "../core/device.ts";
import { describeError, StorageError } from "../core/errors.ts";
import { DEFAULT_LIMITS } from "../core/limits.ts";
import { findPath } from "../extfs/path.ts";
import type { ExtVolume } from "../extfs/volume.ts";
import { cryptOption, parseCrypttab } from "../host/crypttab.ts";
import { splitMapperName } from "../host/lvm-groups.ts";
import { parseFstab } from "../host/mount-table.ts";
import { findVolume } from "../stack/selectors.ts";
import type { Tree, Volume } from "../stack/tree.ts";
import { openFiles } from "./inside.ts";
import { openForInspection } from "./open-for-reading.ts";
import type { SourceOptions } from "./source-options.ts";
import type { TrimExplainDocument, TrimMountDocument } from "./trim-documents.ts";

/** A table has some lines. */
const MAX_TABLE_BYTES = 1 << 20;
const LOCAL = ["ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "vfat", "exfat", "ntfs", "auto"];

/** What the guest's own tables say of its file systems, read through our stack; nothing of the guest's runs. */
export async function mountsInside(options: SourceOptions): Promise<TrimExplainDocument["inside"]> {
  try {
    await using opened = await openForInspection({ ...options, look: true });
    const { tree } = opened.stack;
    const { limits = DEFAULT_LIMITS, signal, note } = options;
    for (const volume of tree.volumes) {
      if (!/^ext[234]$/.test(volume.type ?? "") || !volume.readable) continue;
      await using files = await openFiles(volume, { limits, signal, note });
      const fstab = await readText(files, "/etc/fstab");
      if (fstab === null) continue;
      const crypttab = (await readText(files, "/etc/crypttab")) ?? "";
      const timer =
        (await isThere(files, "/etc/systemd/system/timers.target.wants/fstrim.timer")) ||
        (await isThere(files, "/usr/lib/systemd/system/timers.target.wants/fstrim.timer"));
      return { reason: null, mounts: mountsOf(fstab, crypttab, timer, tree) };
    }
    const locked = tree.volumes.some((v) => v.kind === "locked");
    return {
      reason: locked ? "it is encrypted, and no key was given" : "no /etc/fstab in an ext file system",
      mounts: [],
    };
  } catch (error) {
    if (!(error instanceof StorageError) || error.code === "cancelled") throw error;
    return { reason: describeError(error), mounts: [] };
  }
}

function mountsOf(fstab: string, crypttab: string, timer: boolean, tree: Tree): TrimMountDocument[] {
  const entries = parseCrypttab(crypttab);
  return parseFstab(fstab)
    .filter((m) => LOCAL.includes(m.type))
    .map(({ what, where, type, options }) => {
      const volume = volumeOf(what, tree);
      const sent = options.some((o) => o === "discard" || o.startsWith("discard="))
        ? "discard"
        : timer
          ? "timer"
          : "never";
      const inLuks = volume?.path.some((p) => /^luks/.test(p));
      const all = entries.length > 0 && entries.every((e) => cryptOption(e, "discard") !== null);
      const guestCrypt =
        inLuks === undefined ? null : !inLuks ? null : entries.length === 0 ? "unknown" : all ? "passes" : "drops";
      return { what, where, type: volume?.type ?? type, sent, guestCrypt };
    });
}

/** The volume that the guest mounts by this name, if it is one of those that we see. */
export function volumeOf(what: string, tree: Tree): Volume | null {
  const [, kind, value] = /^\/dev\/disk\/by-(uuid|label)\/(.*)$/.exec(what) ?? [];
  const mapped = splitMapperName(/^\/dev\/mapper\/(.*)$/.exec(what)?.[1] ?? "");
  const name =
    kind !== undefined
      ? `${kind.toUpperCase()}=${value}`
      : mapped !== null
        ? `${mapped.group}/${mapped.volume}`
        : what.replace(/^\/dev\/vd/, "/dev/sd");
  try {
    return findVolume(tree, name);
  } catch {
    return null;
  }
}

async function readText(files: ExtVolume, path: string): Promise<string | null> {
  try {
    const inode = await findPath(files, path, { followLast: true });
    if (inode.type !== "file") return null;
    const content = files.content(inode);
    return Buffer.from(await readBytes(content, 0, Math.min(content.size, MAX_TABLE_BYTES))).toString("utf8");
  } catch (error) {
    if (error instanceof StorageError && error.code === "usage") return null;
    throw error;
  }
}

async function isThere(files: ExtVolume, path: string): Promise<boolean> {
  try {
    await findPath(files, path, { followLast: false });
    return true;
  } catch (error) {
    if (error instanceof StorageError && error.code === "usage") return false;
    throw error;
  }
}

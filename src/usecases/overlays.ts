import { closeSync, opendirSync, openSync, readSync, realpathSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { printable } from "../bytes/text.ts";
import { StorageError } from "../core/errors.ts";
import type { SourceIdentity } from "../host/source-identity.ts";
import { backingReference } from "../layers/qcow2/backing.ts";
import { attributeOf, childOf, parseXml, textOf } from "../libvirt/xml.ts";
import { virsh } from "../tools/virsh.ts";
import { connections, type GuestOptions } from "./guests.ts";
import { meets } from "./retire-users.ts";

/** An image that shows the bytes of another one below it. */
export interface Overlay {
  readonly path: string;
  /** Of those that were asked for, the one that it lies on. */
  readonly below: string;
}

export interface Overlays {
  readonly found: readonly Overlay[];
  /** Folders and files that could not be looked at. */
  readonly unseen: readonly string[];
}

/** QEMU's own magic of qcow and qcow2; in all versions the backing file's name is found by the same two fields. */
const MAGIC = 0x514649fb;
/** QEMU's limit of a backing file's name. */
const MAX_NAME = 1023;
/** A folder of images has some hundreds of files. */
const MAX_FILES = 20_000;
/** A pool without an answer is no reason to wait for long. */
const POOLS_MS = 10_000;

/**
 * Images that lie on one of these, also where no guest names them: in the folders of these themselves, and in all pools of libvirt. Only qcow and
 * qcow2 are looked at; an image on top of such a one is not searched for.
 */
export async function overlaysOn(below: readonly SourceIdentity[], options: GuestOptions): Promise<Overlays> {
  const own = below.filter((b) => b.kind === "file").map((b) => dirname(b.realpath));
  const folders = new Set([...own, ...(await poolFolders(options))].map(realOr));
  const found: Overlay[] = [];
  const unseen: string[] = [];
  for (const folder of folders) {
    for (const path of filesIn(folder, unseen)) {
      if (below.some((b) => b.realpath === path)) continue;
      const named = backingOf(path, unseen);
      if (named === null) continue;
      const met = below.find((b) => meets(resolve(dirname(path), named), b));
      if (met !== undefined) found.push({ path, below: met.realpath });
    }
  }
  return { found, unseen };
}

/** Throws `locked` when an image lies on one of these: it would show other bytes then. */
export async function refuseOverlays(
  below: readonly SourceIdentity[],
  what: string,
  hint: string,
  options: GuestOptions & { readonly note?: ((text: string) => void) | undefined },
): Promise<void> {
  const { found, unseen } = await overlaysOn(below, options);
  const [place] = unseen;
  if (place !== undefined) {
    const others = unseen.length === 1 ? "" : ` and ${unseen.length - 1} others`;
    options.note?.(
      `${printable(place)}${others} could not be read: whether an image there lies on this one is not known`,
    );
  }
  const [first, ...others] = found;
  if (first === undefined) return;
  const more = others.length === 0 ? "" : ` (and ${others.map((o) => printable(o.path)).join(", ")})`;
  throw new StorageError(
    "locked",
    `the image ${printable(first.path)}${more} lies on ${printable(first.below)}${what}`,
    {
      layer: "qcow2",
      hint,
    },
  );
}

function filesIn(folder: string, unseen: string[]): string[] {
  const files: string[] = [];
  try {
    const entries = opendirSync(folder);
    try {
      for (let entry = entries.readSync(); entry !== null; entry = entries.readSync()) {
        if (files.length >= MAX_FILES) {
          unseen.push(`${folder} beyond ${MAX_FILES} files`);
          break;
        }
        const path = join(folder, entry.name);
        // A pool of logical volumes is a folder of links to devices.
        const { isImage } = entry.isFile()
          ? { isImage: true }
          : entry.isSymbolicLink()
            ? look(path)
            : { isImage: false };
        if (isImage) files.push(realOr(path));
      }
    } finally {
      entries.closeSync();
    }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "ENOENT" && code !== "ENOTDIR") unseen.push(folder);
  }
  return files;
}

function look(path: string): { readonly isImage: boolean } {
  try {
    const stat = statSync(path);
    return { isImage: stat.isFile() || stat.isBlockDevice() };
  } catch {
    return { isImage: false };
  }
}

/** The path that a qcow2 image names as the one below it, as it is written there; null: none, or no such image, or a name that is no path. */
function backingOf(path: string, unseen: string[]): string | null {
  let fd: number;
  try {
    fd = openSync(path, "r");
  } catch (error) {
    // A file that went away meanwhile is none.
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") unseen.push(path);
    return null;
  }
  try {
    const head = new DataView(new ArrayBuffer(20));
    if (readSync(fd, head, 0, 20, 0) < 20 || head.getUint32(0) !== MAGIC) return null;
    const [offset, length] = [head.getBigUint64(8), head.getUint32(16)];
    if (offset === 0n || length === 0) return null;
    const name = Buffer.alloc(Math.min(length, MAX_NAME));
    if (length > MAX_NAME || readSync(fd, name, 0, length, offset) < length) {
      unseen.push(path);
      return null;
    }
    return backingReference(name.subarray(0, length).toString("utf8"), null).path;
  } catch (error) {
    // A protocol other than a local file, or damage.
    if (!(error instanceof StorageError) || error.code === "corrupt") unseen.push(path);
    return null;
  } finally {
    closeSync(fd);
  }
}

/** Where the pools of all connections keep what they have. A libvirt that does not answer has none. */
async function poolFolders({ connect, signal }: GuestOptions): Promise<string[]> {
  const found: string[] = [];
  for (const uri of connections(connect)) {
    const ask = (...args: string[]) =>
      virsh(args, { uri, readOnly: true, timeoutMs: POOLS_MS, signal }).catch((error: unknown) => {
        if (error instanceof StorageError && error.code !== "cancelled") return "";
        throw error;
      });
    for (const name of (await ask("pool-list", "--all", "--name")).split("\n")) {
      if (name.trim() === "") continue;
      const xml = await ask("pool-dumpxml", `--pool=${name.trim()}`);
      const pool = xml === "" ? null : parseXml(xml, "pool");
      // Of others the target is a folder of /dev, full of what is no image of theirs.
      if (!/^(dir|fs|netfs|logical|gluster|vstorage)$/.test(attributeOf(pool, "type") ?? "")) continue;
      const path = textOf(childOf(childOf(pool, "target"), "path"));
      if (path?.startsWith("/")) found.push(path);
    }
  }
  return found;
}

function realOr(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

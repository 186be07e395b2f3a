import { createHash } from "node:crypto";
import { existsSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { Cleanup } from "../core/cleanup.ts";
import type { BlockDevice } from "../core/device.ts";
import { StorageError } from "../core/errors.ts";
import { openFileDevice } from "../core/file-device.ts";
import { syncPath } from "../core/sync-path.ts";
import { systemHoles } from "../host/holes.ts";
import { lockSource } from "../host/locks.ts";
import { openSource } from "../host/open-source.ts";
import { stateDir } from "../host/run-store.ts";
import { sourceIdentity } from "../host/source-identity.ts";
import { systemWriteBack } from "../host/write-back.ts";
import { createQcow2 } from "../layers/qcow2/create.ts";
import type { TreeNode } from "../stack/tree.ts";
import {
  contentOf,
  create,
  luksIn,
  nameIt,
  opened,
  readState,
  stackOn,
  type Target,
  type TargetOptions,
} from "./convert-parts.ts";

/** Bytes of the smallest sectors that a guest sees. */
const SECTOR = 512;

/**
 * Opens a target: a new file (made as PATH.part, and named when it is whole), an existing block device, or an existing LUKS container
 * whose payload is written. Throws `usage` when something would be overwritten that may not be, or is too small.
 */
export async function openTarget(options: TargetOptions): Promise<Target> {
  const exists = existsSync(options.path);
  if (options.format === "luks") {
    if (!exists) {
      throw new StorageError("usage", `${options.path} does not exist`, {
        hint: "make the container first, for example: cryptsetup luksFormat FILE-OR-DEVICE",
      });
    }
    return openInPlace(options);
  }
  if (!exists) return openNew(options);
  if (sourceIdentity(options.path).kind !== "blockdev") {
    throw new StorageError("usage", `${options.path} is there already`, {
      hint: "choose another name, or remove it; to write into a LUKS container that exists: --to luks",
    });
  }
  if (options.format === "qcow2") {
    throw new StorageError("unsupported", "a qcow2 image is not made on a block device", {
      layer: "qcow2",
      feature: "qcow2 on a block device",
      hint: "--to raw writes the disk itself there",
    });
  }
  return openInPlace(options);
}

async function openNew(options: TargetOptions): Promise<Target> {
  const { path, format, size } = options;
  const part = `${path}.part`;
  const statePath = `${part}.json`;
  const state = existsSync(part) ? readState(statePath, options) : null;
  if (!state && existsSync(part)) {
    throw new StorageError("usage", `${part} is there already`, {
      hint: `it may be what an interrupted copy of something else left: remove it (and ${statePath}), and repeat`,
    });
  }
  await using cleanup = new Cleanup();
  if (!state) create(part);
  const open = async (writable: boolean, into: Cleanup): Promise<BlockDevice> => {
    const file = into.use(
      openFileDevice(part, { writable, holes: systemHoles(), background: true, writeBack: systemWriteBack }),
    );
    lockSource(file.fd, part, writable ? "write" : "read");
    if (writable && !state) await (format === "raw" ? file.resize!(size) : createQcow2(file, { size }));
    if (format === "raw") return file;
    // What the last writes of an interrupted copy allocated is on no list: the refcounts are made anew.
    if (writable && state) await markDirty(file);
    const stack = into.use(await stackOn(file, part, { format: "qcow2", writable }, options));
    return contentOf(stack.tree.roots[0]!.children[0]!);
  };
  const device = await open(true, cleanup);
  return opened(options, cleanup, {
    device,
    blank: true,
    state,
    statePath,
    open: (into) => open(false, into),
    remove: () => rmSync(part, { force: true }),
    put: () => {
      syncPath(part);
      nameIt(part, path);
      syncPath(dirname(path));
    },
  });
}

async function openInPlace(options: TargetOptions): Promise<Target> {
  const { path, format, size } = options;
  const identity = sourceIdentity(path);
  const statePath = join(
    stateDir(),
    "convert",
    `${createHash("sha256").update(identity.realpath).digest("hex").slice(0, 32)}.json`,
  );
  const state = readState(statePath, options);
  await using cleanup = new Cleanup();
  const open = async (writable: boolean, into: Cleanup): Promise<{ device: BlockDevice; node: TreeNode }> => {
    const { file } = await openSource(identity, writable ? "write" : "read", { background: true });
    into.use(file);
    const stack = into.use(await stackOn(file, path, { format: "raw", writable }, options));
    const raw = stack.tree.roots[0]!.children[0]!;
    if (format !== "luks") return { device: file, node: raw };
    const node = luksIn(raw, path);
    return { device: contentOf(node), node };
  };
  const { device, node } = await open(true, cleanup);
  if (device.size < size) {
    throw new StorageError("usage", `${path} has room for ${device.size} bytes; the source has ${size}`, {
      layer: format === "luks" ? "luks" : "file",
    });
  }
  if (!state && !options.overwrite) refuseContent(path, node);
  // A source need not end with a sector: its guest sees zeros up to the end of its last one, not what noise decrypts to.
  if (!state && format === "luks" && size % SECTOR !== 0) await device.zero(size, SECTOR - (size % SECTOR));
  return opened(options, cleanup, {
    device,
    blank: false,
    state,
    statePath,
    open: async (into) => (await open(false, into)).device,
    remove: () => {},
    put: () => {},
  });
}

/** Lets through a disk, or the inside of a container, in which nothing is recognised; what cannot be opened may be something. */
function refuseContent(path: string, node: TreeNode): void {
  const [only, ...others] = node.children;
  if (only?.kind === "unknown" && only.findings.length === 0 && others.length === 0) return;
  const what = only === undefined ? String(node.details.unavailable ?? "something unknown") : contentName(only);
  throw new StorageError("usage", `${path} is not empty: it holds ${what}`, {
    hint: "if that may be lost: --overwrite",
  });
}

function contentName(node: TreeNode): string {
  if (node.kind === "unknown") return node.findings[0]!.message;
  return node.kind === "filesystem" ? String(node.details.type) : node.kind;
}

/** Sets the dirty bit (qcow2 specification, "Header", incompatible feature bit 0), so that opening it for writing counts all clusters. */
async function markDirty(file: BlockDevice): Promise<void> {
  const byte = new Uint8Array(1);
  await file.read(byte, 79);
  byte[0] = byte[0]! | 1;
  await file.write(byte, 79);
  await file.flush();
}

import { createHash } from "node:crypto";
import {
  closeSync,
  existsSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { Cleanup } from "../core/cleanup.ts";
import type { BlockDevice } from "../core/device.ts";
import { ioError, StorageError } from "../core/errors.ts";
import { openFileDevice } from "../core/file-device.ts";
import type { Json } from "../core/finding.ts";
import type { KeyProvider } from "../core/layer.ts";
import { DEFAULT_LIMITS, type Limits } from "../core/limits.ts";
import { systemHoles } from "../host/holes.ts";
import { lockSource } from "../host/locks.ts";
import { openSource } from "../host/open-source.ts";
import { stateDir } from "../host/run-store.ts";
import { sourceIdentity } from "../host/source-identity.ts";
import { createQcow2 } from "../layers/qcow2/create.ts";
import { PathGate } from "../stack/gate.ts";
import { openStack, type Stack } from "../stack/resolver.ts";
import type { TreeNode } from "../stack/tree.ts";

export type TargetFormat = "raw" | "qcow2" | "luks";

export interface TargetOptions {
  readonly path: string;
  readonly format: TargetFormat;
  /** Bytes that will be copied. */
  readonly size: number;
  /** What is copied; a state left by another copy is not continued. */
  readonly source: Json;
  /** For an existing LUKS container. */
  readonly keys: KeyProvider;
  /** What an existing device or container holds may be lost. */
  readonly overwrite: boolean;
  readonly limits?: Limits | undefined;
}

/** Where a copy goes. Disposal closes it; an unfinished one can be opened again and continued. */
export interface Target extends AsyncDisposable {
  readonly device: BlockDevice;
  /** It reads as zeros where nothing was written. */
  readonly blank: boolean;
  /** Bytes that an earlier, interrupted copy of the same source left there for good. */
  readonly done: number;
  /** `done` bytes are durable. */
  checkpoint(done: number): Promise<void>;
  /** Closes it and opens it again for reading only: what is read now comes from the file or device, through all layers anew. */
  reopen(): Promise<BlockDevice>;
  /** Closes it; the copy turned out wrong, and is not continued. A new file goes. */
  discard(): Promise<void>;
  /** The copy is whole: it gets its name, and what was kept to continue it goes. Nothing is written afterwards. */
  finish(): Promise<void>;
}

/** The record beside an unfinished copy. */
interface State {
  readonly schema: "unterbau/convert-state/1";
  readonly source: Json;
  readonly format: TargetFormat;
  readonly done: number;
}

/** Permissions of a new image: a guest's disk is nobody else's business. */
const MODE = 0o600;

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
    const file = into.use(openFileDevice(part, { writable, holes: systemHoles(), background: true }));
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

interface Parts {
  readonly device: BlockDevice;
  readonly blank: boolean;
  readonly state: State | null;
  readonly statePath: string;
  /** Opens it again for reading. */
  readonly open: (into: Cleanup) => Promise<BlockDevice>;
  readonly remove: () => void;
  /** Puts the whole and closed copy in its place. */
  readonly put: () => void;
}

function opened({ source, format }: TargetOptions, cleanup: Cleanup, parts: Parts): Target {
  const { device, blank, state, statePath, open, remove, put } = parts;
  const save = (done: number): void =>
    writeState(statePath, { schema: "unterbau/convert-state/1", source, format, done });
  if (!state) save(0);
  let owned = cleanup.move();
  return {
    device,
    blank,
    done: state?.done ?? 0,
    async checkpoint(done) {
      save(done);
    },
    async reopen() {
      await owned[Symbol.asyncDispose]();
      owned = new Cleanup();
      return open(owned);
    },
    async discard() {
      await owned[Symbol.asyncDispose]();
      rmSync(statePath, { force: true });
      remove();
    },
    async finish() {
      await owned[Symbol.asyncDispose]();
      put();
      rmSync(statePath, { force: true });
    },
    [Symbol.asyncDispose]: () => owned[Symbol.asyncDispose](),
  };
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

function luksIn(raw: TreeNode, path: string): TreeNode {
  const luks = raw.children.find((n) => n.kind === "luks1" || n.kind === "luks2");
  if (!luks) {
    throw new StorageError("usage", `${path} holds no LUKS container`, {
      layer: "luks",
      hint: "make it first, for example: cryptsetup luksFormat FILE-OR-DEVICE",
    });
  }
  if (luks.details.locked !== undefined) {
    throw new StorageError("key", `${path}: ${String(luks.details.locked)}`, {
      layer: luks.kind,
      hint: "its key: --target-key-file FILE, or type the passphrase on a terminal",
    });
  }
  return luks;
}

function stackOn(
  file: BlockDevice,
  path: string,
  { format, writable }: { format: "raw" | "qcow2"; writable: boolean },
  options: TargetOptions,
): Promise<Stack> {
  return openStack([{ name: path, kind: "file", path, device: file, format, details: {} }], {
    writable,
    keys: options.keys,
    limits: options.limits ?? DEFAULT_LIMITS,
    gate: new PathGate([]),
    openFile: (named) =>
      Promise.reject(new StorageError("gate", `a target does not name other files (${named})`, { layer: "file" })),
  });
}

function contentOf(node: TreeNode): BlockDevice {
  if (node.content) return node.content;
  throw new StorageError(
    "io",
    `the target cannot be written: ${String(node.details.unavailable ?? "it has no content")}`,
    { layer: node.kind },
  );
}

function create(path: string): void {
  try {
    closeSync(openSync(path, "wx", MODE));
  } catch (error) {
    throw ioError(error, `cannot make ${path}`, { layer: "file", hint: "check the folder and its permissions" });
  }
}

/** Sets the dirty bit (qcow2 specification, "Header", incompatible feature bit 0), so that opening it for writing counts all clusters. */
async function markDirty(file: BlockDevice): Promise<void> {
  const byte = new Uint8Array(1);
  await file.read(byte, 79);
  byte[0] = byte[0]! | 1;
  await file.write(byte, 79);
  await file.flush();
}

/** Never over a file that has appeared meanwhile. */
function nameIt(part: string, path: string): void {
  try {
    linkSync(part, path);
    rmSync(part);
  } catch (error) {
    try {
      // File systems without hard links (FAT, some network ones) leave only this.
      if ((error as NodeJS.ErrnoException).code === "EEXIST" || existsSync(path)) throw error;
      renameSync(part, path);
    } catch (cause) {
      throw ioError(cause, `the copy is whole, but cannot be named ${path}`, { layer: "file", hint: `it is ${part}` });
    }
  }
}

function syncPath(path: string): void {
  const fd = openSync(path, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function readState(path: string, options: TargetOptions): State | null {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch {
    return null;
  }
  let state: State;
  try {
    state = JSON.parse(text) as State;
  } catch {
    return null;
  }
  const same =
    state.schema === "unterbau/convert-state/1" &&
    state.format === options.format &&
    Number.isSafeInteger(state.done) &&
    state.done >= 0 &&
    state.done <= options.size &&
    JSON.stringify(state.source) === JSON.stringify(options.source);
  return same ? state : null;
}

function writeState(path: string, state: State): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const next = `${path}.new`;
  writeFileSync(next, `${JSON.stringify(state)}\n`, { mode: MODE, flush: true });
  renameSync(next, path);
  syncPath(dirname(path));
}

import {
  closeSync,
  existsSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname } from "node:path";
import { Cleanup } from "../core/cleanup.ts";
import type { BlockDevice } from "../core/device.ts";
import { ioError, StorageError } from "../core/errors.ts";
import type { Json } from "../core/finding.ts";
import type { KeyProvider } from "../core/layer.ts";
import { DEFAULT_LIMITS, type Limits } from "../core/limits.ts";
import { syncPath } from "../core/sync-path.ts";
import { PathGate } from "../stack/gate.ts";
import { openStack, type Stack } from "../stack/resolver.ts";
import type { TreeNode } from "../stack/tree.ts";

/** What all targets of a copy have in common: the record with which a copy goes on, the last steps, the layers over a file. */

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
export interface State {
  readonly schema: "unterbau/convert-state/1";
  readonly source: Json;
  readonly format: TargetFormat;
  readonly done: number;
  /** The container in which the copy will be is not whole yet. */
  readonly formatting?: boolean | undefined;
}

/** Permissions of a new image: a guest's disk is nobody else's business. */
const MODE = 0o600;

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

export function opened({ source, format }: TargetOptions, cleanup: Cleanup, parts: Parts): Target {
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

export function luksIn(raw: TreeNode, path: string): TreeNode {
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

export function stackOn(
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

export function contentOf(node: TreeNode): BlockDevice {
  if (node.content) return node.content;
  throw new StorageError(
    "io",
    `the target cannot be written: ${String(node.details.unavailable ?? "it has no content")}`,
    { layer: node.kind },
  );
}

export function create(path: string): void {
  try {
    closeSync(openSync(path, "wx", MODE));
  } catch (error) {
    throw ioError(error, `cannot make ${path}`, { layer: "file", hint: "check the folder and its permissions" });
  }
}

/** Never over a file that has appeared meanwhile. */
export function nameIt(part: string, path: string): void {
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

export function readState(path: string, options: TargetOptions): State | null {
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

export function writeState(path: string, state: State): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const next = `${path}.new`;
  writeFileSync(next, `${JSON.stringify(state)}\n`, { mode: MODE, flush: true });
  renameSync(next, path);
  syncPath(dirname(path));
}

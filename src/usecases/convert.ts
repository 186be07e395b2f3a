import { statSync } from "node:fs";
import { alignDown } from "../bytes/integers.ts";
import { COPY_CHUNK, type CopyProgress, copyDevice } from "../core/copy.ts";
import type { BlockDevice } from "../core/device.ts";
import { StorageError } from "../core/errors.ts";
import type { Json } from "../core/finding.ts";
import type { KeyProvider } from "../core/layer.ts";
import { workBuffers } from "../crypto/xor.ts";
import { sourceIdentity } from "../host/source-identity.ts";
import type { Stack } from "../stack/resolver.ts";
import type { TreeNode } from "../stack/tree.ts";
import type { Target, TargetFormat, TargetOptions } from "./convert-parts.ts";
import { openTarget } from "./convert-target.ts";
import type { ConvertDocument, NewLuksDocument } from "./documents.ts";
import { withDisks } from "./guest-disks.ts";
import type { NewLuks } from "./luks-format.ts";
import { openForInspection } from "./open-for-reading.ts";
import { readableVolume } from "./readable-volume.ts";
import type { SourceOptions } from "./source-options.ts";

export interface ConvertOptions extends SourceOptions {
  /** What is copied; default: the whole disk as the guest sees it. */
  readonly volume?: string | undefined;
  readonly target: string;
  /** Default: qcow2 for names that end so, else raw. */
  readonly to?: TargetFormat | undefined;
  /** The target is a new file with a new LUKS container, and the copy is its content. */
  readonly newLuks?: NewLuks | undefined;
  /** Keys of an existing LUKS container that is written into. */
  readonly targetKeys: KeyProvider;
  readonly overwrite: boolean;
  /** Read all of it back and compare. */
  readonly verify: boolean;
  /** Bytes after which an interrupted copy can be continued; default 512 MiB. */
  readonly checkpointBytes?: number | undefined;
  /** Bytes a second at most. */
  readonly rate?: number | undefined;
  readonly onProgress?: ((phase: "copying" | "verifying", progress: CopyProgress) => void) | undefined;
}

/** Bytes between checkpoints of an interrupted copy. */
const CHECKPOINT = 512 * 1024 * 1024;
const COMPARE = 4 * 1024 * 1024;

/**
 * Copies a disk or a volume into a new image, an existing block device or an existing LUKS container. An interrupted copy is continued
 * by the same command, as long as the source is the same file, unchanged.
 */
export async function convert(given: ConvertOptions): Promise<ConvertDocument> {
  const options = await withDisks(given, "read");
  const { target: path, signal, onProgress, newLuks } = options;
  const format = newLuks ? "luks" : (options.to ?? (/\.qcow2$/i.test(path) ? "qcow2" : "raw"));
  refuseItself(options);
  const began = performance.now();
  await using opened = await openForInspection({ ...options, streaming: true });
  const source = sourceDevice(opened.stack, options.volume);
  using work = workBuffers(2, COPY_CHUNK);
  const tellOf = {
    path,
    format,
    size: source.size,
    source: fingerprint(options, opened.named),
    overwrite: options.overwrite,
    keys: options.targetKeys,
    limits: options.limits,
    signal,
  };
  const target = newLuks
    ? await newContainer(tellOf, newLuks)
    : Object.assign(await openTarget(tellOf), { made: undefined });
  let progress: CopyProgress;
  let from: number;
  try {
    from = await continueAt(source, target, signal);
    progress = await copyDevice(source, target.device, {
      from,
      blank: target.blank,
      every: options.checkpointBytes ?? CHECKPOINT,
      onCheckpoint: (done) => target.checkpoint(done),
      onProgress: (p) => onProgress?.("copying", p),
      rate: options.rate,
      buffers: work.buffers,
      signal,
    });
    await target.checkpoint(progress.done);
    if (options.verify) await verify(source, target, (p) => onProgress?.("verifying", p), signal);
    await target.finish();
  } catch (error) {
    if (!(error instanceof StorageError) || error.code !== "cancelled") throw error;
    throw new StorageError("cancelled", "cancelled", { hint: "the same command continues the copy", cause: error });
  } finally {
    await target[Symbol.asyncDispose]();
  }
  return {
    schema: "unterbau/convert/1",
    sources: [...options.sources],
    volume: options.volume ?? null,
    target: path,
    format,
    size: source.size,
    writtenBytes: progress.written,
    continuedAt: from,
    verified: options.verify,
    ...(target.made ? { luks: target.made } : {}),
    seconds: Math.round(performance.now() - began) / 1000,
  };
}

function refuseItself(options: ConvertOptions): void {
  let target: string;
  try {
    target = sourceIdentity(options.target).realpath;
  } catch {
    return;
  }
  const local = options.sources.filter((s) => !s.startsWith("nbd+unix:"));
  if (local.some((s) => sourceIdentity(s).realpath === target)) {
    throw new StorageError("usage", `${options.target} is the source itself`, {
      hint: "a copy needs a place of its own",
    });
  }
}

/** The whole disk as the guest sees it, or a volume of it. */
export function sourceDevice(stack: Stack, volume: string | undefined): BlockDevice {
  if (volume !== undefined) return readableVolume(stack, volume).device;
  const [root, ...others] = stack.tree.roots;
  if (others.length > 0) {
    throw new StorageError("usage", "several disks cannot be copied into one", {
      hint: "say which volume: --volume SELECTOR",
    });
  }
  const disk = wholeDisk(root!);
  if (disk) return disk;
  const reason = root!.children[0]?.details.unavailable ?? root!.children[0]?.details.locked;
  throw new StorageError("unsupported", `the disk cannot be read${reason ? `: ${String(reason)}` : ""}`, {
    layer: "file",
  });
}

/** What an image shows to its guest; of a raw disk its own bytes, whatever is in them. */
export function wholeDisk(root: TreeNode): BlockDevice | null {
  const [below] = root.children;
  if (!below) return root.device;
  if (below.kind === "raw") return below.device;
  // An image that lies in LUKS, which the user has said.
  const image = below.kind === "luks1" || below.kind === "luks2" ? below.children[0] : below;
  return image?.content ?? null;
}

/** Loaded only here: most copies make none. */
async function newContainer(options: TargetOptions, luks: NewLuks): Promise<Target & { made: NewLuksDocument }> {
  const { openNewLuks } = await import("./new-luks-target.ts");
  return openNewLuks({ ...options, source: { copied: options.source, luks: { ...luks.parameters } } }, luks);
}

/** Tells one state of the sources from another; a source over the network has none. */
function fingerprint(options: ConvertOptions, named: readonly string[]): Json {
  const sources = [...options.sources, ...named].map((path) => {
    if (path.startsWith("nbd+unix:")) return { nbd: path, at: Date.now() };
    const { realpath, kind, dev, ino, size } = sourceIdentity(path);
    return { realpath, dev, ino, size, mtime: kind === "file" ? statSync(realpath).mtimeMs : null };
  });
  const { volume, snapshot, format, inside } = options;
  return {
    sources,
    volume: volume ?? null,
    snapshot: snapshot ?? null,
    format: format ?? null,
    inside: [...(inside ?? [])],
  };
}

/**
 * Where an interrupted copy goes on. In a device or container anything can have happened since (it may have been made anew under the same
 * name), so what was copied is looked at again; a new image's own file tells that by being there.
 */
async function continueAt(source: BlockDevice, target: Target, signal: AbortSignal | undefined): Promise<number> {
  if (target.blank || target.done === 0) return target.done;
  const different = await firstDifference(source, target.device, { end: target.done, signal });
  return different === null ? target.done : alignDown(different, COMPARE);
}

async function verify(
  source: BlockDevice,
  target: Target,
  onProgress: (p: CopyProgress) => void,
  signal: AbortSignal | undefined,
): Promise<void> {
  const total = source.size;
  const onDone = (done: number): void => onProgress({ done, total, written: 0 });
  const offset = await firstDifference(source, await target.reopen(), { end: total, onDone, signal });
  if (offset === null) return;
  // Nobody shall get it by the same command without --verify.
  await target.discard();
  throw new StorageError("io", "the copy differs from the source", {
    layer: "file",
    offset,
    hint: "the target's medium or the source is failing, or somebody changed the source: nothing was put in place",
  });
}

interface CompareOptions {
  /** Bytes from the start. */
  readonly end: number;
  readonly onDone?: (done: number) => void;
  readonly signal: AbortSignal | undefined;
}

/** The offset of the first byte in which both differ, or null. */
async function firstDifference(a: BlockDevice, b: BlockDevice, options: CompareOptions): Promise<number | null> {
  const { end, onDone, signal } = options;
  const [left, right] = [Buffer.alloc(COMPARE), Buffer.alloc(COMPARE)];
  for (let at = 0; at < end; at += COMPARE) {
    signal?.throwIfAborted();
    const length = Math.min(COMPARE, end - at);
    const [x, y] = [left.subarray(0, length), right.subarray(0, length)];
    await a.read(x, at, { signal });
    await b.read(y, at, { signal });
    if (Buffer.compare(x, y) !== 0) return at + x.findIndex((byte, i) => byte !== y[i]);
    onDone?.(at + length);
  }
  return null;
}

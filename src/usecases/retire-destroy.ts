import { createHash } from "node:crypto";
import { existsSync, rmSync, statSync } from "node:fs";
import { basename, dirname } from "node:path";
import { printable } from "../bytes/text.ts";
import { StorageError } from "../core/errors.ts";
import type { FileDevice } from "../core/file-device.ts";
import { syncPath } from "../core/sync-path.ts";
import { discardFacts } from "../host/discard.ts";
import { discardBlocks } from "../host/give-back.ts";
import { removeHeader } from "../host/header-store.ts";
import { punchHole } from "../host/holes.ts";
import { openSource } from "../host/open-source.ts";
import { overwrite, readSamplesAgain, type Segment } from "../host/overwrite.ts";
import type { RetiredTarget, Retirement, RetirementRecord } from "../host/retirement-store.ts";
import { sourceIdentity } from "../host/source-identity.ts";
import { luksErase } from "../tools/cryptsetup.ts";
import type { RetireOptions } from "./retire-preflight.ts";
import { sameDisk } from "./retire-source.ts";
import { verdictOf } from "./retire-verdict.ts";
import { type ThinBlocks, thinBlocks } from "./retire-volumes.ts";

/** Bytes of one discard: it can be interrupted between two. */
const DISCARD = 1024 * 1024 * 1024;
/** No file system of Linux has larger blocks. */
const BLOCK = 64 * 1024;

export type DestroyOptions = Pick<RetireOptions, "signal" | "onProgress" | "onStep" | "segmentBytes"> & {
  /** Blocks of files were given back to their file system while the guest lived. */
  readonly gaveBack: boolean;
};

/**
 * Destroys target number `index`, from where it was left. Its entry in the record says how it went. `opened`: where the caller has it open and
 * locked already; it is closed then.
 */
export async function destroyTarget(
  retirement: Retirement,
  index: number,
  options: DestroyOptions,
  opened: FileDevice | null = null,
): Promise<void> {
  const target = retirement.record.targets[index]!;
  const done = new Set(retirement.eventsOf(index).map((e) => e.did));
  if (done.has("destroyed")) return opened?.[Symbol.asyncDispose]();
  if (!sameDisk(target.identity, sourceIdentity(target.path))) {
    throw new StorageError(
      "usage",
      `${printable(target.path)} is another file or device than the one that was to be destroyed`,
      {
        hint: "nothing more was destroyed; put the old one in its place, and repeat",
      },
    );
  }
  if (target.method === "luks-erase" && !done.has("erased")) {
    // cryptsetup locks it itself.
    await opened?.[Symbol.asyncDispose]();
    await erase(retirement, index, options);
  }
  await using device =
    opened !== null && target.method !== "luks-erase"
      ? opened
      : (await openSource(target.identity, "write", { background: true })).file;
  if (!done.has("verified")) await overwriteTarget(retirement, index, device, options);
  let discard: RetiredTarget["discard"] = null;
  if (target.method === "random-overwrite+discard") {
    // From here on samples read as anything.
    if (!done.has("discarding")) retirement.note({ target: index, did: "discarding" });
    discard = await giveBack(target, device, options.signal);
    options.onStep?.("discard");
  }
  const segments = segmentsOf(retirement, index);
  const verified = {
    at: new Date().toISOString(),
    samples: segments.reduce((sum, s) => sum + s.samples.length, 0),
    sha256: sha256(segments.map((s) => s.sha256).join("\n")),
  };
  const { kind } = target.identity;
  const gaveBack = kind === "file" && options.gaveBack;
  setTarget(retirement, index, {
    ...target,
    overwrittenBytes: segments.reduce((sum, s) => sum + s.bytes, 0),
    verified,
    discard,
    ...verdictOf({ ...target, kind, discard, verified: true, gaveBack }),
  });
  retirement.note({ target: index, did: "destroyed" });
}

async function erase(retirement: Retirement, index: number, { signal, onStep }: DestroyOptions): Promise<void> {
  const { path } = retirement.record.targets[index]!;
  const output = await luksErase(path, { signal });
  const tool = { argv: ["cryptsetup", "luksErase", "--batch-mode", "--", path], exit: 0, sha256: sha256(output) };
  retirement.save({ ...retirement.record, tools: [...retirement.record.tools, tool] });
  onStep?.("erase");
  retirement.note({ target: index, did: "erased" });
}

async function overwriteTarget(
  retirement: Retirement,
  index: number,
  device: FileDevice,
  options: DestroyOptions,
): Promise<void> {
  const { length, path } = retirement.record.targets[index]!;
  const { signal, onProgress, onStep, segmentBytes } = options;
  const last = segmentsOf(retirement, index).at(-1);
  const thin = await blocksOf(retirement, index);
  await overwrite(device, {
    from: last === undefined ? 0 : last.at + last.length,
    end: Math.min(length, device.size),
    segmentBytes,
    only: thin?.ranges,
    onSegment: (segment) => {
      onStep?.("segment");
      retirement.note({ target: index, did: "segment", ...segment });
    },
    onProgress: (done) => onProgress?.(`overwriting ${basename(path)}`, done, length),
    signal,
  });
  await readSamplesAgain(device, segmentsOf(retirement, index));
  // A snapshot that was made meanwhile would have taken the old blocks.
  if (thin !== null) await blocksOf(retirement, index);
  onStep?.("verify");
  retirement.note({ target: index, did: "verified" });
}

/** Where the blocks of a thin volume lie; throws `io` when that is not where they were before the first was overwritten. */
async function blocksOf(retirement: Retirement, index: number): Promise<ThinBlocks | null> {
  const { identity, path } = retirement.record.targets[index]!;
  const thin = identity.kind === "blockdev" ? await thinBlocks(path) : null;
  if (thin === null) return null;
  const before = retirement.eventsOf(index).flatMap((e) => (e.did === "blocks" ? [e.sha256] : []))[0];
  if (before === undefined) retirement.note({ target: index, did: "blocks", sha256: thin.sha256 });
  else if (before !== thin.sha256) {
    throw new StorageError("io", `the blocks of ${printable(path)} lie elsewhere in their thin pool than before`, {
      layer: "lvm",
      hint: "a snapshot was made of it, or somebody wrote to it: the old content is in the pool's other blocks; see lvs, and overwrite the pool's disks",
    });
  }
  return thin;
}

function segmentsOf(retirement: Retirement, index: number): Segment[] {
  return retirement.eventsOf(index).flatMap((e) => (e.did === "segment" ? [e] : []));
}

async function giveBack(
  { identity, length }: RetiredTarget,
  device: FileDevice,
  signal: AbortSignal | undefined,
): Promise<RetiredTarget["discard"]> {
  const file = identity.kind === "file";
  if (!file && (discardFacts(basename(identity.realpath))?.max ?? 0) === 0) return "unsupported";
  for (let at = 0; at < length; at += DISCARD) {
    signal?.throwIfAborted();
    const piece = Math.min(DISCARD, length - at);
    // A file's last block goes as a whole, too.
    if (!(file ? punchHole(device.fd, at, piece + BLOCK) : discardBlocks(device.fd, at, piece))) return "unsupported";
  }
  await device.flush();
  return file ? "holes" : "discarded";
}

/** Takes a destroyed file's name away. */
export function removeTarget(retirement: Retirement, index: number): void {
  const target = retirement.record.targets[index]!;
  if (retirement.eventsOf(index).some((e) => e.did === "removed")) return;
  const { path, role, identity } = target;
  if (existsSync(path)) {
    const { ino } = statSync(path, { bigint: true });
    // Somebody may have put another file there meanwhile.
    if (String(ino) === identity.ino) {
      if (role === "header-backup") removeHeader(path);
      else rmSync(identity.realpath);
      syncPath(dirname(identity.realpath));
    }
  }
  setTarget(retirement, index, { ...target, removed: true });
  retirement.note({ target: index, did: "removed" });
}

function setTarget(retirement: Retirement, index: number, target: RetiredTarget): void {
  const { record } = retirement;
  const targets: RetirementRecord["targets"] = record.targets.map((t, i) => (i === index ? target : t));
  retirement.save({ ...record, targets });
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

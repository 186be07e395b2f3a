import { StorageError } from "../core/errors.ts";
import type { Json } from "../core/finding.ts";
import type { Run } from "../host/run.ts";
import { findVolume } from "../stack/selectors.ts";
import type { Tree, TreeNode, Volume } from "../stack/tree.ts";
import { type CheckedVolume, type CheckVolumeOptions, checkVolume, lostExt, prepareChecker } from "./check-volume.ts";
import type { CheckDocument, CheckedVolumeDocument } from "./documents.ts";
import { openForInspection } from "./open-for-reading.ts";
import { openForWriting } from "./open-for-writing.ts";
import { getReadyToRemember, rememberCheck } from "./remember-check.ts";
import type { PreparedFile } from "./run-on-file.ts";
import type { SourceOptions } from "./source-options.ts";

export interface CheckOptions extends SourceOptions {
  /** Selectors; empty: every volume that holds a file system, and every one of which that cannot be known. */
  readonly volumes: readonly string[];
  readonly repair: boolean;
  readonly preen: boolean;
  readonly force: boolean;
  /** Throw an XFS log away that cannot be replayed here, and repair without it. */
  readonly zeroLog?: boolean | undefined;
  readonly timeoutMs: number;
  readonly env?: NodeJS.ProcessEnv | undefined;
  readonly on?: CheckEvents | undefined;
  /** False: what is checked will be gone, and its verdict is kept by the caller. */
  readonly remember?: boolean | undefined;
  /** What is said of a volume whose check threw; null: it is thrown on. */
  readonly failed?: ((volume: Volume, error: unknown) => Promise<CheckedVolumeDocument | null>) | undefined;
  /** Has the last word on a volume, before it is told. */
  readonly revise?: ((volume: Volume, found: CheckedVolumeDocument) => Promise<CheckedVolumeDocument>) | undefined;
}

/** What a check tells while it runs. */
export interface CheckEvents {
  volume?(volume: { readonly selector: string; readonly type: string | null; readonly size: number }): void;
  output?(chunk: Uint8Array): void;
  progress?(fraction: number): void;
  done?(volume: CheckedVolumeDocument): void;
  /** All is checked; these hold no file system that anybody knows. Not called when the user chose the volumes. */
  passedOver?(volumes: readonly { readonly selector: string; readonly type: string | null }[]): void;
}

/** Exit code bits of fsck(8). */
export const FSCK = { clean: 0, corrected: 1, errorsLeft: 4, operational: 8 } as const;

/**
 * Forced check of the chosen volumes. Without `repair` nothing below is written; with it the changes of all volumes are committed as
 * one unit, after the last check has ended.
 */
export async function check(options: CheckOptions): Promise<CheckDocument> {
  const { document, files } = await (options.repair ? repair(options) : preview(options));
  // A snapshot is not the disk, and an image inside not the file that it lies in.
  if (options.snapshot === undefined && !options.inside?.length && options.remember !== false)
    rememberCheck(files, document, options.volumes.length === 0, options.note);
  return document;
}

interface Checked {
  readonly document: CheckDocument;
  /** What was checked, as far as it is on this host. */
  readonly files: readonly string[];
}

async function preview(options: CheckOptions): Promise<Checked> {
  // The child that will become the checker gets ready while the stack is opened.
  await using prepared = prepareChecker(options.env);
  await using opened = await openForInspection({ ...options, streaming: true });
  const documents: CheckedVolumeDocument[] = [];
  for (const volume of chooseVolumes(opened.stack.tree, options.volumes)) {
    documents.push((await checkOne(volume, options, prepared)).document);
  }
  tellPassedOver(opened.stack.tree, options);
  const code = exitCodeOf(documents);
  const document = {
    schema: "unterbau/check/1",
    run: null,
    mode: "preview",
    volumes: documents,
    exitCode: code,
  } as const;
  return { document, files: opened.files };
}

async function repair(options: CheckOptions): Promise<Checked> {
  await using opened = await openForWriting(options, "check");
  const { run, stack } = opened;
  const checked: CheckedVolume[] = [];
  try {
    for (const volume of chooseVolumes(stack.tree, options.volumes)) {
      const result = await checkOne(volume, options);
      checked.push(result);
      // Into the run's buffer only: the source is changed by the one commit below.
      if (result.changes) await result.changes.commitTo(volume.device!, { signal: options.signal });
      if (result.changes) await volume.device!.flush();
    }
  } finally {
    for (const { changes } of checked) await changes?.[Symbol.asyncDispose]();
  }
  tellPassedOver(stack.tree, options);
  const documents = checked.map((c) => c.document);
  const changed = checked.some((c) => c.changes !== null);
  if (changed) {
    if (options.signal?.aborted) throw new StorageError("cancelled", "cancelled; nothing was written");
    noteVolumes(run, documents, stack.tree);
    await run.commit();
  }
  const document: CheckDocument = {
    schema: "unterbau/check/1",
    run: changed ? run.id : null,
    mode: "repair",
    volumes: documents,
    exitCode: exitCodeOf(documents),
  };
  return { document, files: opened.files };
}

/** A checker's text in the record of a run is kept up to this many characters; all of it is in the document. */
const RECORDED_LOG = 64 * 1024;

/** A checker names the guest's files: that text does not come to rest in the clear when the guest's disk is encrypted. */
function noteVolumes(run: Run, documents: readonly CheckedVolumeDocument[], tree: Tree): void {
  const tools = Object.fromEntries(
    documents.flatMap((d) => (d.checker ? [d.checker.split(" ", 2) as [string, string]] : [])),
  );
  const secret = tree.roots.some(isEncrypted);
  const recorded = (d: CheckedVolumeDocument): Json => ({ ...d, log: secret ? "" : d.log.slice(-RECORDED_LOG) });
  run.note({ volumes: documents.map(recorded), tools });
}

function isEncrypted(node: TreeNode): boolean {
  if (node.kind === "luks1" || node.kind === "luks2" || node.details.encryption === "LUKS") return true;
  return node.children.some(isEncrypted);
}

async function checkOne(volume: Volume, options: CheckOptions, prepared?: PreparedFile): Promise<CheckedVolume> {
  const { on, repair, preen, force, timeoutMs, signal, env } = options;
  on?.volume?.({ selector: volume.selector, type: volume.type, size: volume.size });
  const perVolume: CheckVolumeOptions = {
    repair,
    named: options.volumes.length > 0,
    preen,
    force,
    zeroLog: options.zeroLog ?? false,
    timeoutMs,
    signal,
    env,
    prepared,
    meanwhile: getReadyToRemember,
    onOutput: on?.output,
    onProgress: on?.progress,
  };
  let result: CheckedVolume;
  try {
    result = await checkVolume(volume, perVolume);
  } catch (error) {
    const document = await options.failed?.(volume, error);
    if (!document) throw error;
    on?.done?.(document);
    return { document, changes: null };
  }
  const document = options.revise ? await options.revise(volume, result.document) : result.document;
  on?.done?.(document);
  return { ...result, document };
}

/** All file systems by default; what is locked or cannot be opened might hold one, and is reported as not checked. */
function chooseVolumes(tree: Tree, selectors: readonly string[]): readonly Volume[] {
  if (selectors.length > 0) return [...new Set(selectors.map((s) => findVolume(tree, s)))];
  const chosen = tree.volumes.filter(mayHoldFilesystem);
  if (chosen.length === 0) {
    throw new StorageError("unsupported", "there is no file system in it that could be checked", {
      hint: "see what is there: unterbau inspect",
    });
  }
  return chosen;
}

function tellPassedOver(tree: Tree, options: CheckOptions): void {
  const rest = options.volumes.length > 0 ? [] : tree.volumes.filter((v) => !mayHoldFilesystem(v));
  if (rest.length > 0) options.on?.passedOver?.(rest.map(({ selector, type }) => ({ selector, type })));
}

function mayHoldFilesystem(v: Volume): boolean {
  if (v.kind === "filesystem" || v.kind === "locked" || v.reason !== null) return true;
  // A member of an array is known by its type only; what lies in the array might be a file system.
  return v.kind === "unknown" && (v.type !== null || lostExt(v) !== undefined);
}

export function exitCodeOf(documents: readonly CheckedVolumeDocument[]): number {
  return documents.reduce((code, d) => code | codeOf(d), 0);
}

function codeOf(d: CheckedVolumeDocument): number {
  switch (d.verdict) {
    case "clean":
      return FSCK.clean;
    case "repaired":
      return FSCK.corrected;
    case "would-repair":
    case "errors-left":
    case "errors":
      return FSCK.errorsLeft;
    case "not-checked":
    case "snapshot-invalid":
      return FSCK.operational;
  }
}

import { freemem } from "node:os";
import type { BlockDevice } from "../core/device.ts";
import { StorageError } from "../core/errors.ts";
import type { Finding } from "../core/finding.ts";
import { Overlay } from "../core/overlay.ts";
import { checkReads } from "../extfs/check-reads.ts";
import { EXT_BACKUP_FOUND } from "../filesystems/ext-backup.ts";
import type { Volume } from "../stack/tree.ts";
import type { Checker, CheckMode, Judgement } from "../tools/checker.ts";
import { checkerFor } from "../tools/checkers.ts";
import { e2fsckProgress } from "../tools/e2fsck.ts";
import type { CheckedVolumeDocument } from "./documents.ts";
import { PROGRESS_FD, type PreparedFile, prepareFile, type RunResult, runOnFile } from "./run-on-file.ts";

/** A checker's text is kept up to this many bytes; a hostile file system can make e2fsck print without end. */
const LOG_LIMIT = 4 * 1024 * 1024;

export interface CheckVolumeOptions {
  readonly repair: boolean;
  /** The user named this volume: what only might be a file system is repaired then, too. */
  readonly named: boolean;
  readonly preen: boolean;
  /** A journal that cannot be replayed here (XFS) is thrown away, and the file system repaired without it. */
  readonly zeroLog: boolean;
  /** Commit a repair that leaves errors. */
  readonly force: boolean;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  /** The checker's text as it comes. */
  readonly onOutput?: ((chunk: Uint8Array) => void) | undefined;
  /** 0 to 1. */
  readonly onProgress?: ((fraction: number) => void) | undefined;
  readonly env?: NodeJS.ProcessEnv | undefined;
  /** See RunOnFileOptions. */
  readonly meanwhile?: (() => void) | undefined;
  /** From `prepareChecker` with the same `env`. */
  readonly prepared?: PreparedFile | undefined;
}

/**
 * What a check of an ext file system reads ahead, at most, into the kernel's page cache: that of some two million files, but never much of
 * the memory that is free.
 */
const readAhead = (): number => Math.min(512 * 1024 * 1024, freemem() / 8);

/** How a checker is run; `prepareChecker` and each run agree on it. */
const CHECKER_FILE = { writable: true, stderr: "stdout" } as const;

/** Starts to get a checker's file ready, for the first volume that is checked. */
export function prepareChecker(env: NodeJS.ProcessEnv | undefined): PreparedFile {
  return prepareFile({ ...CHECKER_FILE, stdout: "pipe", ...(env ? { env } : {}) });
}

export interface CheckedVolume {
  readonly document: CheckedVolumeDocument;
  /** The changes that a repair commits; null when there is nothing to commit. The caller disposes of it. */
  readonly changes: Overlay | null;
}

export function notChecked(volume: Volume, reason: string): CheckedVolume {
  const { selector, type } = volume;
  return {
    document: {
      selector,
      type,
      verdict: "not-checked",
      reason,
      exitCode: null,
      checker: null,
      log: "",
      changedBytes: 0,
      seconds: 0,
    },
    changes: null,
  };
}

function noFilesystem(volume: Volume): string {
  if (volume.kind === "swap") return "swap space holds no file system";
  if (volume.type === "BitLocker") return "it is encrypted by Windows (BitLocker), which is not opened here";
  if (volume.type === "bsd") return "it holds a BSD disklabel, whose partitions are not opened";
  return "no file system was recognised in it";
}

/** The finding that a volume without a recognised content may be an ext file system whose superblock is gone. */
export function lostExt(volume: Volume): Finding | undefined {
  return volume.kind === "unknown" ? volume.node.findings.find((f) => f.code === EXT_BACKUP_FOUND) : undefined;
}

/** Its end is missing: whatever a checker that does not notice says, this is no clean file system. */
function missingEnd(volume: Volume): string | null {
  return volume.node.findings.find((f) => f.severity === "error" && f.code.endsWith("-truncated"))?.message ?? null;
}

/** Runs the right checker on an overlay over one volume. Nothing below is written: a repair's changes are handed back. */
export async function checkVolume(volume: Volume, options: CheckVolumeOptions): Promise<CheckedVolume> {
  if (volume.device === null || !volume.readable) return notChecked(volume, volume.reason ?? "it cannot be read");
  const lost = lostExt(volume);
  const type = lost ? "ext4" : volume.kind === "filesystem" ? volume.type : null;
  if (type === null) return notChecked(volume, noFilesystem(volume));
  // A volume that was given another use may still carry a backup superblock: a repair by mistake would destroy it.
  if (lost && options.repair && !options.named) {
    return notChecked(volume, `${lost.message}; --volume ${volume.selector} repairs it as an ext file system`);
  }
  const checker = checkerFor(type);
  if (!checker) return notChecked(volume, `there is no checker for ${type}`);
  if (options.repair && !checker.repairs)
    return notChecked(volume, checker.repairRefused ?? `${checker.name} does not repair`);
  const path = checker.find();
  if (path === null) return notChecked(volume, `${checker.name} is not installed (package ${checker.packageName})`);
  const mode: CheckMode = !checker.repairs || checker.lookFirst ? "look" : options.preen ? "preen" : "fix";

  const overlay = new Overlay(volume.device);
  try {
    const log = new Log(options.onOutput);
    let first = await runChecker(checker, path, mode, overlay, log, options);
    let judgement = judge(checker, mode, first, log, await overlay.changedBytes(), options);
    const then = checker.lookFirst ? afterLook(judgement, options) : null;
    if (then !== null) {
      const repair = new Log(log.next());
      first = await runChecker(checker, path, then, overlay, repair, options);
      judgement = judge(checker, then, first, repair, await overlay.changedBytes(), options);
    }
    const changedBytes = await overlay.changedBytes();
    if (checker.confirmWith && (judgement.verdict === "repaired" || judgement.verdict === "would-repair")) {
      judgement = await confirm(checker, path, overlay, judgement, options);
    }
    const cut = missingEnd(volume);
    if (cut !== null) judgement = { verdict: "not-checked", reason: cut };
    const commit =
      options.repair &&
      changedBytes > 0 &&
      (judgement.verdict === "clean" ||
        judgement.verdict === "repaired" ||
        (judgement.verdict === "errors-left" && options.force));
    const reason =
      options.repair && judgement.verdict === "errors-left" && !options.force && changedBytes > 0
        ? `${judgement.reason ?? "errors are left"}; nothing was written (--force commits what could be repaired)`
        : judgement.reason;
    const document: CheckedVolumeDocument = {
      selector: volume.selector,
      type: volume.type,
      verdict: judgement.verdict,
      reason,
      exitCode: first.exitCode,
      checker: checker.versionIn?.(log.text()) ?? checker.version(path) ?? checker.name,
      log: log.text(),
      changedBytes,
      seconds: Math.round(first.seconds * 1000) / 1000,
    };
    if (commit) return { document, changes: overlay };
    await overlay[Symbol.asyncDispose]();
    return { document, changes: null };
  } catch (error) {
    await overlay[Symbol.asyncDispose]();
    throw error;
  }
}

/** The mode in which a checker that has only looked so far goes on, or null. */
function afterLook(found: Judgement, options: CheckVolumeOptions): CheckMode | null {
  if (found.dirtyLog && options.zeroLog) return "zero-log";
  return found.verdict === "errors-left" && !options.preen ? "fix" : null;
}

async function runChecker(
  checker: Checker,
  path: string,
  mode: CheckMode,
  device: BlockDevice,
  log: Log,
  options: CheckVolumeOptions,
): Promise<RunResult> {
  const fraction = e2fsckProgress();
  const reports = checker.name === "e2fsck" && options.onProgress !== undefined;
  const result = await runOnFile({
    ...CHECKER_FILE,
    device,
    argv: checker.argv(path, mode, "{}", reports ? PROGRESS_FD : null),
    cage: "checker",
    configFiles: checker.configFiles,
    stdout: (chunk) => log.add(chunk),
    readAhead:
      checker.name === "e2fsck" ? checkReads(device, { budget: readAhead(), signal: options.signal }) : undefined,
    prepared: options.prepared,
    meanwhile: options.meanwhile,
    progress: reports
      ? (text) => {
          const p = fraction(text);
          if (p) options.onProgress?.(p.fraction);
        }
      : undefined,
    timeoutMs: options.timeoutMs,
    signal: options.signal,
    ...(options.env ? { env: options.env } : {}),
  });
  if (result.cancelled) throw new StorageError("cancelled", "cancelled");
  return result;
}

function judge(
  checker: Checker,
  mode: CheckMode,
  run: RunResult,
  log: Log,
  changedBytes: number,
  options: CheckVolumeOptions,
): Judgement {
  const { exitCode, signal, timedOut, cancelled, deviceError } = run;
  return checker.interpret({
    mode,
    commit: options.repair,
    exitCode,
    signal,
    timedOut,
    cancelled,
    deviceError,
    output: log.text(),
    changedBytes,
  });
}

/** Where the exit code alone does not prove a repair: the checker must find the result clean. */
async function confirm(
  checker: Checker,
  path: string,
  overlay: Overlay,
  found: Judgement,
  options: CheckVolumeOptions,
): Promise<Judgement> {
  const log = new Log(undefined);
  const again = await runChecker(checker, path, checker.confirmWith!, overlay, log, {
    ...options,
    onProgress: undefined,
  });
  const second = judge(checker, checker.confirmWith!, again, log, 0, options);
  if (second.verdict === "clean") return found;
  return { verdict: "errors-left", reason: `${checker.name} still finds errors after its repair` };
}

/** A checker's text, shown as it comes and kept up to a limit. */
class Log {
  readonly #chunks: Uint8Array[] = [];
  readonly #show: ((chunk: Uint8Array) => void) | undefined;
  #bytes = 0;

  constructor(show: ((chunk: Uint8Array) => void) | undefined) {
    this.#show = show;
  }

  add(chunk: Uint8Array): void {
    if (this.#bytes >= LOG_LIMIT) {
      // The end matters most (verdict lines): the oldest half goes.
      const all = Buffer.concat(this.#chunks.splice(0));
      this.#chunks.push(
        all.subarray(0, LOG_LIMIT / 4),
        Buffer.from("\n[... cut ...]\n"),
        all.subarray(all.length - LOG_LIMIT / 4),
      );
      this.#bytes = LOG_LIMIT / 2;
    }
    this.#chunks.push(Uint8Array.from(chunk));
    this.#bytes += chunk.length;
    this.#show?.(chunk);
  }

  /** Where another run's text goes, to follow this one's. */
  next(): (chunk: Uint8Array) => void {
    return (chunk) => this.add(chunk);
  }

  text(): string {
    return Buffer.concat(this.#chunks).toString("utf8");
  }
}

import { StorageError } from "../core/errors.ts";
import { Overlay } from "../core/overlay.ts";
import { findProgram } from "../tools/find.ts";
import { openForInspection } from "./open-for-reading.ts";
import { openForWriting } from "./open-for-writing.ts";
import { readableVolume } from "./readable-volume.ts";
import { type RunResult, runOnFile } from "./run-on-file.ts";
import type { SourceOptions } from "./source-options.ts";

export interface ExecOptions extends SourceOptions {
  readonly volume: string;
  /** The tool and its arguments; `{}` stands for the file. */
  readonly command: readonly string[];
  /** Commit what the tool changes. */
  readonly write: boolean;
  /** Commit although the tool failed. */
  readonly force: boolean;
}

export interface ExecResult {
  /** The tool's own; 128 + n when signal n ended it. */
  readonly exitCode: number;
  /** Bytes of the volume that the tool changed. */
  readonly changedBytes: number;
  /** The run's id when they were committed, else null. */
  readonly run: string | null;
}

/** Runs a tool on a volume shown as a file, on an overlay. Its changes are lost, or with `write` committed as one unit. */
export async function exec(options: ExecOptions): Promise<ExecResult> {
  const argv = toolArgv(options.command);
  if (!options.write) {
    await using opened = await openForInspection(options);
    await using overlay = new Overlay(readableVolume(opened.stack, options.volume).device);
    const result = await runTool(overlay, argv, options);
    return { exitCode: exitCodeOf(result), changedBytes: await overlay.changedBytes(), run: null };
  }
  await using opened = await openForWriting(options, "exec");
  const { run, stack } = opened;
  const { device, selector } = readableVolume(stack, options.volume);
  await using overlay = new Overlay(device);
  const result = await runTool(overlay, argv, options);
  const changedBytes = await overlay.changedBytes();
  const exitCode = exitCodeOf(result);
  const commit = changedBytes > 0 && (exitCode === 0 || options.force);
  if (commit) {
    await overlay.commitTo(device, { signal: options.signal });
    await device.flush();
    run.note({ volumes: [{ selector, command: options.command, exitCode, changedBytes }] });
    await run.commit();
  }
  return { exitCode, changedBytes, run: commit ? run.id : null };
}

function toolArgv(command: readonly string[]): string[] {
  const [tool, ...rest] = command;
  if (tool === undefined) {
    throw new StorageError("usage", "no tool was named", { hint: "put it behind --, for example: -- tune2fs -l {}" });
  }
  if (!rest.some((a) => a.includes("{}"))) {
    throw new StorageError("usage", "the tool is not told which file to work on", {
      hint: "write {} where the file's name belongs: -- tune2fs -l {}",
    });
  }
  const path = findProgram(tool);
  if (path === null)
    throw new StorageError("usage", `there is no program called ${tool}`, {
      hint: "check its name, or install its package",
    });
  return [path, ...rest];
}

async function runTool(overlay: Overlay, argv: readonly string[], options: ExecOptions): Promise<RunResult> {
  const result = await runOnFile({
    device: overlay,
    writable: true,
    argv,
    cage: "host",
    stdin: "inherit",
    stdout: "inherit",
    stderr: "inherit",
    signal: options.signal,
  });
  if (result.cancelled) throw new StorageError("cancelled", "cancelled; nothing was written");
  if (result.deviceError) throw result.deviceError;
  return result;
}

const SIGNALS: Record<string, number> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGILL: 4,
  SIGABRT: 6,
  SIGBUS: 7,
  SIGFPE: 8,
  SIGKILL: 9,
  SIGSEGV: 11,
  SIGPIPE: 13,
  SIGTERM: 15,
};

function exitCodeOf(result: RunResult): number {
  return result.exitCode ?? 128 + (SIGNALS[result.signal ?? ""] ?? 0);
}

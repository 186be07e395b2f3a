import { spawn } from "node:child_process";
import { resolve } from "node:path";

export const CLI = resolve("dist/cli.js");

export interface CliResult {
  readonly code: number | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

export interface CliOptions {
  readonly env?: Record<string, string>;
  readonly cwd?: string;
  /** Bytes for stdin. */
  readonly input?: Uint8Array;
}

/** Runs the built command line and waits for its end, whatever its exit code. */
export function unterbau(args: readonly string[], options: CliOptions = {}): Promise<CliResult> {
  return run(process.execPath, [CLI, ...args], options);
}

/** Runs any program without a shell. Rejects only when it cannot be started. */
export function run(program: string, args: readonly string[], options: CliOptions = {}): Promise<CliResult> {
  return new Promise((done, fail) => {
    const child = spawn(program, args, {
      env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin`, NO_COLOR: "1", LC_ALL: "C", ...options.env },
      cwd: options.cwd,
      stdio: ["pipe", "pipe", "pipe"],
    });
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    child.stdout.on("data", (c: Buffer) => out.push(c));
    child.stderr.on("data", (c: Buffer) => err.push(c));
    child.on("error", fail);
    child.on("close", (code) => done({ code, stdout: Buffer.concat(out), stderr: Buffer.concat(err).toString() }));
    child.stdin.on("error", () => {});
    child.stdin.end(options.input ?? "");
  });
}

/** Runs a program that must succeed; returns its stdout as text. */
export async function must(program: string, args: readonly string[], options: CliOptions = {}): Promise<string> {
  const r = await run(program, args, options);
  if (r.code !== 0) throw new Error(`${program} ${args.join(" ")} ended with ${r.code}:\n${r.stderr}\n${r.stdout}`);
  return r.stdout.toString();
}

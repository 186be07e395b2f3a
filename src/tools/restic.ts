import { mustRun } from "./run-program.ts";
import { feedProgram, readProgram } from "./stream-program.ts";

export interface Snapshot {
  readonly id: string;
  readonly tags: readonly string[];
}

/** restic(1) on one repository. Passwords come by a file that restic reads, or by the user's own environment. */
export class Restic {
  readonly #global: readonly string[];
  readonly #signal: AbortSignal | undefined;

  constructor(repository: string, passwordFile: string | undefined, signal: AbortSignal | undefined) {
    this.#global = [
      "--repo",
      repository,
      ...(passwordFile === undefined ? [] : ["--password-file", passwordFile]),
      "--no-cache",
    ];
    this.#signal = signal;
  }

  /** Fails when the repository cannot be opened. */
  async open(): Promise<void> {
    await this.#run("cat", "config");
  }

  /** One snapshot with one file, from a stream; no snapshot when the stream breaks off. */
  async put(file: string, tags: readonly string[], pieces: AsyncIterable<Uint8Array | number>): Promise<void> {
    const args = [...this.#global, "backup", "--quiet", "--stdin", "--stdin-filename", file];
    for (const tag of tags) args.push("--tag", tag);
    await feedProgram("restic", args, pieces, { packageName: "restic", signal: this.#signal });
  }

  /** Snapshots that have all of these tags, oldest first. */
  async snapshots(tags: readonly string[]): Promise<Snapshot[]> {
    const found = JSON.parse(await this.#run("snapshots", "--json", "--tag", tags.join(","))) as
      | { readonly id: string; readonly tags?: readonly string[] }[]
      | null;
    return (found ?? []).map(({ id, tags: own }) => ({ id, tags: own ?? [] }));
  }

  get(snapshot: string, file: string): AsyncIterable<Uint8Array> {
    const args = [...this.#global, "dump", snapshot, `/${file}`];
    return readProgram("restic", args, { packageName: "restic", signal: this.#signal });
  }

  async #run(...args: string[]): Promise<string> {
    return mustRun("restic", [...this.#global, ...args], { packageName: "restic", signal: this.#signal });
  }
}

import { mustRun } from "./run-program.ts";
import { feedProgram, readProgram, type StreamOptions } from "./stream-program.ts";

/** borg(1) on one repository. Passphrases come by a file that borg has read, or by the user's own environment. */
export class Borg {
  readonly #repository: string;
  readonly #options: StreamOptions;

  constructor(repository: string, passwordFile: string | undefined, signal: AbortSignal | undefined) {
    this.#repository = repository;
    // borg splits the command as a shell does, and runs it without one.
    const command = passwordFile === undefined ? undefined : `cat -- '${passwordFile.replaceAll("'", `'"'"'`)}'`;
    this.#options = {
      packageName: "borgbackup",
      signal,
      env: { BORG_DISPLAY_PASSPHRASE: "no", ...(command === undefined ? {} : { BORG_PASSCOMMAND: command }) },
    };
  }

  /** How the repository is encrypted: `none`, `authenticated`, `repokey` …; fails when it cannot be opened. */
  async encryption(): Promise<string> {
    const info = JSON.parse(await this.#run("info", "--json", this.#repository)) as { encryption?: { mode?: string } };
    return info.encryption?.mode ?? "unknown";
  }

  /** One archive with one file, from a stream; no archive when the stream breaks off. */
  async put(archive: string, file: string, pieces: AsyncIterable<Uint8Array | number>): Promise<void> {
    const args = ["create", "--stdin-name", file, `${this.#repository}::${archive}`, "-"];
    await feedProgram("borg", args, pieces, this.#options);
  }

  /** Names of archives that begin so; those that borg keeps of interrupted ones are left out. */
  async archives(prefix: string): Promise<string[]> {
    const text = await this.#run("list", "--json", "--glob-archives", `${prefix}*`, this.#repository);
    const { archives } = JSON.parse(text) as { archives: { name: string }[] };
    return archives.map((a) => a.name).filter((name) => !/\.checkpoint(\.\d+)?$/.test(name));
  }

  get(archive: string, file: string): AsyncIterable<Uint8Array> {
    return readProgram("borg", ["extract", "--stdout", `${this.#repository}::${archive}`, file], this.#options);
  }

  async #run(...args: string[]): Promise<string> {
    const { packageName, env, signal } = this.#options;
    return mustRun("borg", args, { packageName, env, signal });
  }
}

import { closeSync, constants, lstatSync, openSync, readdirSync, readSync, realpathSync, statSync } from "node:fs";
import type { FileStat } from "../audit/model.ts";
import { StorageError } from "../core/errors.ts";
import { findProgram } from "../tools/find.ts";
import { runProgram } from "../tools/run-program.ts";
import { type HostSource, MAX_FILE, MAX_HEAD, MAX_NAMES, type RawCommand, type RawFile } from "./audit-source.ts";
import { fileStatOf } from "./file-stat.ts";

/** Programs at once. */
const PARALLEL = 8;
const TIMEOUT_MS = 30_000;
/** How a program is asked for its version, where it is not `--version`. */
const VERSION_ARGS: Readonly<Record<string, readonly string[]>> = {
  dmsetup: ["version"],
  ip: ["-V"],
  ss: ["-V"],
  getfacl: ["-v"],
  lsinitramfs: [],
  postconf: [],
  doveconf: [],
};

export interface LiveOptions {
  /** libvirt's connection; null: virsh's own default, or the system's guests. */
  readonly connect: string | null;
  readonly signal?: AbortSignal | undefined;
  /** What a program may take; default: 30 s. */
  readonly timeoutMs?: number | undefined;
  /** Answers `["unterbau", …]`: facts that no other program gives. */
  readonly own?: ((argv: readonly string[]) => Promise<RawCommand | null>) | undefined;
}

/** This host. */
export class LiveSource implements HostSource {
  readonly recorded = false;
  readonly #options: LiveOptions;
  readonly #versions = new Map<string, Promise<string | null>>();
  #running = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(options: LiveOptions) {
    this.#options = options;
  }

  async run(argv: readonly string[]): Promise<RawCommand | null> {
    const [name = "", ...args] = argv;
    if (name === "unterbau") return (await this.#options.own?.(argv)) ?? null;
    if (findProgram(name) === null) return null;
    const version = this.#versionOf(name);
    const result = await this.#limited(name, args);
    return { ...result, version: await version };
  }

  #versionOf(name: string): Promise<string | null> {
    const known = this.#versions.get(name);
    if (known) return known;
    const args = VERSION_ARGS[name] ?? ["--version"];
    const asked =
      args.length === 0
        ? Promise.resolve(null)
        : this.#limited(name, args).then(({ exit, stdout, stderr }) =>
            exit === 0
              ? (`${stdout}\n${stderr}`
                  .split("\n")
                  .find((line) => line.trim() !== "")
                  ?.trim() ?? null)
              : null,
          );
    this.#versions.set(name, asked);
    return asked;
  }

  async #limited(name: string, args: readonly string[]): Promise<Omit<RawCommand, "version">> {
    if (this.#running >= PARALLEL) await new Promise<void>((go) => this.#waiting.push(go));
    else this.#running++;
    try {
      return await this.#start(name, args);
    } finally {
      // Whoever waits takes this place.
      const next = this.#waiting.shift();
      if (next) next();
      else this.#running--;
    }
  }

  async #start(name: string, args: readonly string[]): Promise<Omit<RawCommand, "version">> {
    const { signal, connect, timeoutMs = TIMEOUT_MS } = this.#options;
    const named = process.env.VIRSH_DEFAULT_CONNECT_URI || process.env.LIBVIRT_DEFAULT_URI;
    const uri = connect ?? named ?? "qemu:///system";
    try {
      const env = { VIRSH_DEFAULT_CONNECT_URI: uri };
      const { code, stdout, stderr } = await runProgram(name, args, { signal, env, timeoutMs });
      return { exit: code ?? 128, stdout, stderr };
    } catch (error) {
      if (!(error instanceof StorageError) || error.code === "cancelled") throw error;
      return { exit: 124, stdout: "", stderr: error.message };
    }
  }

  async file(path: string): Promise<RawFile> {
    try {
      if (!statSync(path).isFile()) return { kind: "unreadable", reason: "it is no regular file" };
      const bytes = readStart(path, MAX_FILE + 1);
      if (bytes.length > MAX_FILE) return { kind: "unreadable", reason: `it has more than ${MAX_FILE} bytes` };
      return { kind: "bytes", bytes };
    } catch (error) {
      const { code = "error" } = error as NodeJS.ErrnoException;
      return code === "ENOENT" || code === "ENOTDIR" ? { kind: "absent" } : { kind: "unreadable", reason: code };
    }
  }

  async list(path: string): Promise<readonly string[] | null> {
    return attempt(() => readdirSync(path).slice(0, MAX_NAMES).sort());
  }

  async stat(path: string): Promise<FileStat | null> {
    return attempt(() => fileStatOf(lstatSync(path)));
  }

  async head(path: string, length: number): Promise<Uint8Array | null> {
    return attempt(() => {
      const stat = statSync(path);
      return stat.isFile() || stat.isBlockDevice() ? readStart(path, Math.min(length, MAX_HEAD)) : null;
    });
  }

  async real(path: string): Promise<string | null> {
    return attempt(() => realpathSync(path));
  }
}

/** Files of /proc say that they are empty: all that comes is read. */
function readStart(path: string, length: number): Uint8Array {
  // A fifo that took the file's place meanwhile must not block.
  const fd = openSync(path, constants.O_RDONLY + constants.O_NONBLOCK);
  try {
    const chunks: Uint8Array[] = [];
    let left = length;
    while (left > 0) {
      const chunk = Buffer.alloc(Math.min(left, 64 * 1024));
      const n = readSync(fd, chunk, 0, chunk.length, null);
      if (n === 0) break;
      chunks.push(chunk.subarray(0, n));
      left -= n;
    }
    return Buffer.concat(chunks);
  } finally {
    closeSync(fd);
  }
}

function attempt<T>(read: () => T): T | null {
  try {
    return read();
  } catch {
    return null;
  }
}

import { lstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import type { FileStat } from "../audit/model.ts";
import { StorageError } from "../core/errors.ts";
import { type HostSource, MAX_FILE, MAX_HEAD, MAX_NAMES, type RawCommand, type RawFile } from "./audit-source.ts";
import { fileStatOf } from "./file-stat.ts";

/** One entry of `.recorded/commands.json`. */
export interface RecordedCommand {
  readonly argv: readonly string[];
  readonly exit: number;
  /** The text, or the file in `.recorded` that has it. */
  readonly stdout: string | { readonly file: string };
  readonly stderr: string;
  readonly version?: string | null;
}

/** What a copied tree cannot hold of a path: one entry of `.recorded/paths.json`. */
export interface RecordedPath {
  readonly list?: readonly string[] | null;
  readonly real?: string | null;
  /** Base64. */
  readonly head?: string | null;
  /** Why the file could not be read; null: it was not there. */
  readonly unreadable?: string | null;
}

/** Below the tree's root. */
export const RECORDED = ".recorded";
/** As Linux: more links than this in one path are a loop. */
const MAX_LINKS = 40;
const MAX_RECORD = 64 * 1024 * 1024;

/**
 * A tree: a host's files as in `/`, and in `.recorded` what its programs said (`commands.json`), owners and modes (`stat.json`) and what
 * else a copy cannot hold (`paths.json`). The tree of a mounted disk has none of these. Several trees lie over one another, the first on top.
 * Links never lead out of the tree.
 */
export class RecordedSource implements HostSource {
  readonly recorded = true;
  readonly #roots: readonly string[];
  readonly #commands = new Map<string, RecordedCommand & { readonly root: string }>();
  readonly #stats = new Map<string, FileStat | null>();
  readonly #paths = new Map<string, RecordedPath>();
  /** Why files could not be read, and how many trees lie over the one that says so: a file in one of these is there. */
  readonly #unreadable = new Map<string, { readonly why: string | null; readonly depth: number }>();

  /** Throws `usage` when a root is no folder, or a record is not understood. */
  constructor(roots: readonly string[]) {
    this.#roots = roots;
    for (const [depth, root] of [...roots.entries()].reverse()) {
      if (!isFolder(root))
        throw new StorageError("usage", `${root} is no folder`, { hint: "--root names a host's tree" });
      for (const command of (record(root, "commands.json") as RecordedCommand[] | null) ?? [])
        this.#commands.set(key(command.argv), { ...command, root });
      for (const [path, stat] of Object.entries(record(root, "stat.json") ?? {}))
        this.#stats.set(path, stat as FileStat);
      for (const [path, facts] of Object.entries((record(root, "paths.json") ?? {}) as Record<string, RecordedPath>)) {
        this.#paths.set(path, { ...this.#paths.get(path), ...facts });
        if (facts.unreadable !== undefined) this.#unreadable.set(path, { why: facts.unreadable, depth });
      }
    }
  }

  async run(argv: readonly string[]): Promise<RawCommand | null> {
    const found = this.#commands.get(key(argv));
    if (!found) return null;
    const { exit, stdout, stderr, version = null, root } = found;
    if (typeof stdout === "string") return { exit, stdout, stderr, version };
    const file = resolveInside(join(root, RECORDED), `/${stdout.file}`);
    const text = file && attempt(() => readFileSync(file, "utf8"));
    return text === null ? null : { exit, stdout: text, stderr, version };
  }

  async file(path: string): Promise<RawFile> {
    const unreadable = this.#unreadable.get(path);
    const place = this.#place(path, unreadable?.depth);
    if (place === null)
      return unreadable?.why == null ? { kind: "absent" } : { kind: "unreadable", reason: unreadable.why };
    const stat = attempt(() => lstatSync(place));
    if (!stat?.isFile()) return { kind: "unreadable", reason: "it is no regular file" };
    if (stat.size > MAX_FILE) return { kind: "unreadable", reason: `it has more than ${MAX_FILE} bytes` };
    const bytes = attempt(() => readFileSync(place));
    return bytes ? { kind: "bytes", bytes } : { kind: "unreadable", reason: "it cannot be read" };
  }

  async list(path: string): Promise<readonly string[] | null> {
    const { list } = this.#paths.get(path) ?? {};
    if (list !== undefined) return list;
    const names = this.#roots.flatMap((root) => {
      const place = resolveInside(root, path);
      return (place && attempt(() => readdirSync(place))) ?? [];
    });
    const own = names.filter((name) => path !== "/" || name !== RECORDED);
    return own.length === 0 && this.#place(path) === null ? null : [...new Set(own)].slice(0, MAX_NAMES).sort();
  }

  async stat(path: string): Promise<FileStat | null> {
    const known = this.#stats.get(path);
    if (known !== undefined) return known;
    for (const root of this.#roots) {
      const folder = resolveInside(root, path.slice(0, path.lastIndexOf("/")) || "/");
      const stat = folder && attempt(() => lstatSync(join(folder, path.slice(path.lastIndexOf("/") + 1))));
      if (stat) return fileStatOf(stat);
    }
    return null;
  }

  async head(path: string, length: number): Promise<Uint8Array | null> {
    const { head } = this.#paths.get(path) ?? {};
    if (head !== undefined) return head === null ? null : Buffer.from(head, "base64").subarray(0, length);
    const file = await this.file(path);
    return file.kind === "bytes" ? file.bytes.subarray(0, Math.min(length, MAX_HEAD)) : null;
  }

  async real(path: string): Promise<string | null> {
    const { real } = this.#paths.get(path) ?? {};
    if (real !== undefined) return real;
    for (const root of this.#roots) {
      const place = resolveInside(root, path);
      if (place !== null) return place.slice(root.length) || "/";
    }
    // A tree holds no devices and no images: their stat tells that they are there.
    return this.#stats.get(path) ? path : null;
  }

  /** In the uppermost tree that has it, of the first `trees`. */
  #place(path: string, trees = this.#roots.length): string | null {
    for (const root of this.#roots.slice(0, trees)) {
      const place = resolveInside(root, path);
      if (place !== null) return place;
    }
    return null;
  }
}

/** The file that a path of the tree means, with links followed as if the root were `/`; null: there is none. */
function resolveInside(root: string, path: string): string | null {
  const todo = path.split("/").reverse();
  const done: string[] = [];
  let links = 0;
  while (todo.length > 0) {
    const name = todo.pop()!;
    if (name === "" || name === ".") continue;
    if (name === "..") {
      done.pop();
      continue;
    }
    const at = join(root, ...done, name);
    const stat = attempt(() => lstatSync(at));
    if (!stat) return null;
    if (!stat.isSymbolicLink()) {
      done.push(name);
      continue;
    }
    const target = attempt(() => readlinkSync(at));
    if (target === null || ++links > MAX_LINKS) return null;
    if (target.startsWith("/")) done.length = 0;
    todo.push(...target.split("/").reverse());
  }
  return done.length === 0 ? root : join(root, ...done);
}

function record(root: string, name: string): object | null {
  const path = resolveInside(root, `/${RECORDED}/${name}`);
  if (path === null) return null;
  try {
    if (lstatSync(path).size > MAX_RECORD) throw new Error(`it has more than ${MAX_RECORD} bytes`);
    const value: unknown = JSON.parse(readFileSync(path, "utf8"));
    const right = name === "commands.json" ? isCommands(value) : typeof value === "object" && value !== null;
    if (!right) throw new Error("it has not the expected form");
    return value as object;
  } catch (error) {
    throw new StorageError("usage", `${path} cannot be understood: ${(error as Error).message}`, { cause: error });
  }
}

function isCommands(value: unknown): boolean {
  return (
    Array.isArray(value) &&
    value.every(
      (c: Partial<RecordedCommand> | null) =>
        Array.isArray(c?.argv) &&
        c.argv.every((a) => typeof a === "string") &&
        typeof c.exit === "number" &&
        typeof c.stderr === "string" &&
        (typeof c.stdout === "string" || typeof c.stdout?.file === "string"),
    )
  );
}

function key(argv: readonly string[]): string {
  return argv.join("\0");
}

function isFolder(path: string): boolean {
  return attempt(() => lstatSync(join(path, ".")).isDirectory()) ?? false;
}

function attempt<T>(read: () => T): T | null {
  try {
    return read();
  } catch {
    return null;
  }
}

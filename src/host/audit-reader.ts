import { createHash } from "node:crypto";
import type { CommandResult, EvidenceEntry, FileResult, FileStat, HostReader } from "../audit/model.ts";
import { redact, redactHead } from "../audit/secrets.ts";
import type { HostSource } from "./audit-source.ts";

/** Something that was read, as it is kept: secrets are taken out. */
export interface Evidence extends Omit<EvidenceEntry, "file"> {
  readonly content: Uint8Array;
  /** Of a command. */
  readonly stderr: string;
}

/** All that was asked of the host, for a record of it; commands and files are in the evidence. */
export interface Asked {
  readonly stats: ReadonlyMap<string, FileStat | null>;
  readonly lists: ReadonlyMap<string, readonly string[] | null>;
  readonly reals: ReadonlyMap<string, string | null>;
  readonly heads: ReadonlyMap<string, Uint8Array | null>;
  /** Files that could not be read: why; null: not there. */
  readonly unread: ReadonlyMap<string, string | null>;
}

/** Reads everything once, numbers it, takes secrets out and keeps the rest. */
export class EvidenceReader {
  readonly #source: HostSource;
  readonly #now: () => Date;
  readonly #cache = new Map<string, Promise<{ readonly value: unknown; readonly n: number | null }>>();
  readonly #evidence: (Evidence | null)[] = [];
  readonly #asked = {
    stats: new Map<string, FileStat | null>(),
    lists: new Map<string, readonly string[] | null>(),
    reals: new Map<string, string | null>(),
    heads: new Map<string, Uint8Array | null>(),
    unread: new Map<string, string | null>(),
  };

  constructor(source: HostSource, now: () => Date = () => new Date()) {
    this.#source = source;
    this.#now = now;
  }

  /** In the order of their numbers. */
  get evidence(): readonly Evidence[] {
    return this.#evidence.filter((e) => e !== null);
  }

  get asked(): Asked {
    return this.#asked;
  }

  /** A reader for one check: the numbers of what it used are added to `used`. */
  view(used: Set<number>): HostReader {
    const once = async <T>(key: string, read: () => Promise<{ readonly value: T; readonly n: number | null }>) => {
      let known = this.#cache.get(key);
      if (!known) {
        known = read();
        this.#cache.set(key, known);
      }
      const { value, n } = await known;
      if (n !== null) used.add(n);
      return value as T;
    };
    return {
      recorded: this.#source.recorded,
      run: (argv, options) => once(`run\0${argv.join("\0")}`, () => this.#run(argv, options?.secrets ?? [])),
      file: (path) => once(`file\0${path}`, () => this.#file(path)),
      list: (path) => once(`list\0${path}`, () => this.#list(path)),
      head: (path, length) => once(`head\0${length}\0${path}`, () => this.#head(path, length)),
      stat: (path) =>
        once(`stat\0${path}`, async () => {
          const value = await this.#source.stat(path);
          this.#asked.stats.set(path, value);
          return { value, n: null };
        }),
      real: (path) =>
        once(`real\0${path}`, async () => {
          const value = await this.#source.real(path);
          this.#asked.reals.set(path, value);
          return { value, n: null };
        }),
    };
  }

  /** Numbers go by who asked first, not by who was answered first. */
  #reserve(): number {
    return this.#evidence.push(null);
  }

  #keep(
    n: number,
    kind: Evidence["kind"],
    what: readonly string[],
    raw: Uint8Array,
    kept: Uint8Array | null,
    more: Partial<Evidence> = {},
  ): void {
    this.#evidence[n - 1] = {
      n,
      kind,
      what,
      at: this.#now().toISOString(),
      exit: null,
      version: null,
      sha256: sha256(raw),
      sha256Redacted: kept === null ? null : sha256(kept),
      bytes: (kept ?? raw).length,
      content: kept ?? raw,
      stderr: "",
      ...more,
    };
  }

  async #run(argv: readonly string[], secrets: readonly RegExp[]): Promise<{ value: CommandResult; n: number | null }> {
    const n = this.#reserve();
    const result = await this.#source.run(argv);
    if (result === null) return { value: { kind: "missing", program: argv[0] ?? "" }, n: null };
    const { exit, version } = result;
    const out = redact(result.stdout, secrets);
    const stderr = redact(result.stderr, secrets).text;
    this.#keep(n, "command", argv, Buffer.from(result.stdout), out.changed ? Buffer.from(out.text) : null, {
      exit,
      version,
      stderr,
    });
    return { value: { kind: "ran", exit, stdout: out.text, stderr, evidence: n }, n };
  }

  async #file(path: string): Promise<{ value: FileResult; n: number | null }> {
    const n = this.#reserve();
    const file = await this.#source.file(path);
    if (file.kind !== "bytes") {
      this.#asked.unread.set(path, file.kind === "absent" ? null : file.reason);
      return { value: file, n: null };
    }
    const { text, changed } = redact(Buffer.from(file.bytes).toString("utf8"));
    this.#keep(n, "file", [path], file.bytes, changed ? Buffer.from(text) : null);
    return { value: { kind: "text", text, evidence: n }, n };
  }

  async #list(path: string): Promise<{ value: readonly string[] | null; n: number | null }> {
    const n = this.#reserve();
    const value = await this.#source.list(path);
    this.#asked.lists.set(path, value);
    if (value === null) return { value, n: null };
    this.#keep(n, "folder", [path], Buffer.from(value.map((name) => `${name}\n`).join("")), null);
    return { value, n };
  }

  async #head(path: string, length: number): Promise<{ value: Uint8Array | null; n: number | null }> {
    const n = this.#reserve();
    const value = await this.#source.head(path, length);
    const kept = value && redactHead(value);
    const before = this.#asked.heads.get(path);
    if (!before || (kept && kept.bytes.length > before.length)) this.#asked.heads.set(path, kept?.bytes ?? null);
    if (value === null || kept === null) return { value, n: null };
    this.#keep(n, "bytes", [path], value, kept.changed ? kept.bytes : null);
    return { value: kept.bytes, n };
  }
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

import { closeSync, openSync, readdirSync, readSync } from "node:fs";
import { join } from "node:path";
import { ioError, StorageError } from "../core/errors.ts";
import type { KeyProvider, KeyRequest, Secret } from "../core/layer.ts";
import { printable } from "../report/units.ts";

/** cryptsetup's largest key file (lib/utils_crypt.h: DEFAULT_KEYFILE_SIZE_MAXKB). */
const LARGEST_KEY_FILE = 8192 * 1024;
const PROMPT_ATTEMPTS = 3;
/** systemd credentials that are ours: `unterbau.key`, or `unterbau.<UUID>` for one volume. */
const CREDENTIAL_PREFIX = "unterbau.";
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

export interface KeyOptions {
  /** `FILE`, `-` or `UUID=FILE`. */
  readonly keyFile?: readonly string[] | undefined;
  readonly keyFd?: number | undefined;
  /** False: never ask on the terminal. */
  readonly prompt: boolean;
  /** Ask through systemd's agents and not on the terminal. */
  readonly agent?: boolean | undefined;
  /** Takes a question to the agents back. */
  readonly signal?: AbortSignal | undefined;
}

interface KnownSecret extends Secret {
  readonly uuid: string | null;
}

/** Secrets from the command line's key options, systemd's credentials, then the terminal. Wiped by `[Symbol.dispose]`. */
export class Keys implements KeyProvider, Disposable {
  readonly #known: KnownSecret[] = [];
  readonly #typed: Secret[] = [];
  /** Questions asked so far, by the UUID of the volume. */
  readonly #asked = new Map<string, number>();
  readonly #prompt: boolean;
  readonly #agent: boolean;
  readonly #signal: AbortSignal | undefined;

  constructor(options: KeyOptions) {
    this.#agent = options.agent ?? false;
    this.#signal = options.signal;
    this.#prompt = options.prompt || this.#agent;
    for (const spec of options.keyFile ?? []) {
      const eq = spec.indexOf("=");
      const uuid = eq > 0 && UUID.test(spec.slice(0, eq)) ? spec.slice(0, eq).toLowerCase() : null;
      const path = uuid ? spec.slice(eq + 1) : spec;
      this.#known.push({ bytes: readKey(path === "-" ? 0 : path, path), origin: path === "-" ? "stdin" : path, uuid });
    }
    if (options.keyFd !== undefined) {
      this.#known.push({
        bytes: readKey(options.keyFd, `descriptor ${options.keyFd}`),
        origin: `descriptor ${options.keyFd}`,
        uuid: null,
      });
    }
    const credentials = process.env.CREDENTIALS_DIRECTORY;
    if (credentials) this.#addCredentials(credentials);
  }

  async secretsFor(request: KeyRequest): Promise<readonly Secret[]> {
    const named = this.#known.filter((k) => k.uuid === null || k.uuid === request.uuid.toLowerCase());
    // A passphrase that was typed for one volume often opens the next one as well.
    if (request.attempt === 1 && named.length + this.#typed.length > 0) return [...named, ...this.#typed];
    const asked = this.#asked.get(request.uuid) ?? 0;
    // Whoever gave keys on the command line is told that they do not fit rather than asked for another.
    if (!this.#prompt || named.length > 0 || asked >= PROMPT_ATTEMPTS) return [];
    this.#asked.set(request.uuid, asked + 1);
    if (asked > 0) this.#typed.pop()?.bytes.fill(0);
    const label = request.label ? ` “${printable(request.label)}”` : "";
    const again = asked > 0 ? "No keyslot opens with that. " : "";
    const volume = `${request.layer.toUpperCase()}${label} ${printable(request.uuid)}`;
    const typed = await this.#ask(`${again}Passphrase for ${volume} (empty: leave it locked): `, request.uuid);
    if (typed === null || typed.length === 0) return [];
    const secret = { bytes: typed, origin: this.#agent ? "systemd-ask-password" : "terminal" };
    this.#typed.push(secret);
    return [secret];
  }

  /** Loaded only here: few commands ask. */
  async #ask(question: string, uuid: string): Promise<Uint8Array | null> {
    if (!this.#agent) return (await import("./tty.ts")).askSecret(question);
    return (await import("./ask-agent.ts")).askAgent(question.trimEnd(), uuid, this.#signal);
  }

  [Symbol.dispose](): void {
    for (const k of [...this.#known, ...this.#typed]) k.bytes.fill(0);
  }

  #addCredentials(folder: string): void {
    let names: string[];
    try {
      names = readdirSync(folder);
    } catch {
      return;
    }
    for (const name of names.filter((n) => n.startsWith(CREDENTIAL_PREFIX)).sort()) {
      const rest = name.slice(CREDENTIAL_PREFIX.length).toLowerCase();
      this.#known.push({
        bytes: readKey(join(folder, name), name),
        origin: `credential ${name}`,
        uuid: UUID.test(rest) ? rest : null,
      });
    }
  }
}

/** All bytes of a key file, as cryptsetup takes them: a trailing newline belongs to the key. */
export function readKey(from: string | number, name: string): Uint8Array {
  let buffer = Buffer.alloc(4096);
  let length = 0;
  try {
    const fd = typeof from === "number" ? from : openSync(from, "r");
    try {
      for (;;) {
        const n = readSync(fd, buffer, length, buffer.length - length, null);
        if (n === 0) break;
        length += n;
        if (length > LARGEST_KEY_FILE)
          throw new StorageError("usage", `the key file ${name} is larger than ${LARGEST_KEY_FILE} bytes`);
        if (length === buffer.length) buffer = moved(buffer, 4 * length);
      }
    } finally {
      if (typeof from === "string") closeSync(fd);
    }
    return Uint8Array.from(buffer.subarray(0, length));
  } catch (error) {
    throw ioError(error, `cannot read the key file ${name}`);
  } finally {
    buffer.fill(0);
  }
}

/** The same in more room; nothing of it stays behind. */
function moved(buffer: Uint8Array, size: number): Buffer<ArrayBuffer> {
  const larger = Buffer.alloc(size);
  larger.set(buffer);
  buffer.fill(0);
  return larger;
}

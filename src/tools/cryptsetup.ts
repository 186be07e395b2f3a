import { spawn } from "node:child_process";
import type { Writable } from "node:stream";
import { printable } from "../bytes/text.ts";
import { StorageError } from "../core/errors.ts";
import { findProgram } from "./find.ts";

/** What `cryptsetup luksFormat` is told; all of it is said, so that no default of a version or of its build decides. */
export interface FormatParameters {
  readonly version: 1 | 2;
  /** As dm-crypt spells it: `aes-xts-plain64`. */
  readonly cipher: string;
  readonly keyBits: number;
  /** Of the key's digest and the anti-forensic splitter, and of PBKDF2. */
  readonly hash: string;
  readonly pbkdf: "argon2id" | "argon2i" | "pbkdf2";
  /** How long unlocking shall take on this host; cryptsetup measures. Null: `iterations` are given. */
  readonly iterTimeMs: number | null;
  readonly iterations: number | null;
  /** Argon2 only. */
  readonly memoryKiB: number;
  readonly parallel: number;
  /** Bytes that are encrypted as one; LUKS1 has 512. */
  readonly sectorSize: number;
  /** Bytes from the start to the payload. */
  readonly dataOffset: number;
  /** LUKS2 only. */
  readonly label: string | null;
  readonly uuid: string | null;
}

export interface CryptsetupOptions {
  readonly signal?: AbortSignal | undefined;
}

/** Bytes of a message that are kept. */
const MAX_OUTPUT = 64 * 1024;
/** cryptsetup(8), "RETURN CODES". */
const NO_PERMISSION = 2;
const OUT_OF_MEMORY = 3;
const WRONG_DEVICE = 4;
const BUSY = 5;

/**
 * Two keys for one cryptsetup, which opens a key file by its path: what Node makes for a child are sockets, and those cannot be opened.
 * So the old key goes through a pipe of the shell's. Neither is in argv, the environment or a file.
 */
const TWO_KEYS = 'cat <&3 | { exec 5<&0 0<&4 3<&- 4<&-; exec "$@"; }';

/** Makes a LUKS header on a file or block device. What lies there is lost. `key`: all bytes of it. */
export async function luksFormat(
  path: string,
  parameters: FormatParameters,
  key: Uint8Array,
  options: CryptsetupOptions = {},
): Promise<void> {
  const { version, cipher, keyBits, sectorSize, dataOffset, label, uuid } = parameters;
  const args = [
    "luksFormat",
    `--type=luks${version}`,
    `--cipher=${cipher}`,
    `--key-size=${keyBits}`,
    `--offset=${dataOffset / 512}`,
    ...kdfArguments(parameters),
    ...(version === 2 ? [`--sector-size=${sectorSize}`] : []),
    ...(label === null ? [] : [`--label=${label}`]),
    ...(uuid === null ? [] : [`--uuid=${uuid}`]),
    "--key-file=-",
  ];
  await cryptsetup(args, path, [key], options);
}

/** Adds a keyslot for `added`. Throws `key` when `key` opens none. */
export async function luksAddKey(
  path: string,
  parameters: FormatParameters,
  key: Uint8Array,
  added: Uint8Array,
  options: CryptsetupOptions = {},
): Promise<void> {
  await cryptsetup(["luksAddKey", ...kdfArguments(parameters)], path, [key, added], options);
}

/** Whether this key opens a keyslot; `header`: a file that has the header in place of the device. */
export async function testPassphrase(
  path: string,
  key: Uint8Array,
  { header, ...options }: CryptsetupOptions & { readonly header?: string | undefined } = {},
): Promise<boolean> {
  const where = header === undefined ? [] : [`--header=${header}`];
  const args = ["open", "--test-passphrase", "--disable-external-tokens", "--key-file=-", ...where];
  try {
    await cryptsetup(args, path, [key], options);
    return true;
  } catch (error) {
    if (error instanceof StorageError && error.code === "key") return false;
    throw error;
  }
}

/** The volume key, by way of a pipe; the caller wipes it. Throws `key` when `key` opens no keyslot. */
export async function volumeKey(path: string, key: Uint8Array, options: CryptsetupOptions = {}): Promise<Uint8Array> {
  const text = await cryptsetup(["luksDump", "--dump-volume-key", "--key-file=-"], path, [key], options);
  // Lines of bytes as two digits each, the first behind its title, which older versions call MK dump.
  const [, digits] = /^(?:MK dump|Volume key):((?:\s+(?:[0-9a-f]{2}\b ?)+)+)/m.exec(text) ?? [];
  const bytes = Buffer.from((digits ?? "").replace(/\s/g, ""), "hex");
  if (bytes.length > 0) return bytes;
  throw new StorageError("io", "cryptsetup luksDump told no volume key", { layer: "luks" });
}

/** Writes header and keyslots into a new file. */
export async function luksHeaderBackup(path: string, file: string, options: CryptsetupOptions = {}): Promise<void> {
  await cryptsetup(["luksHeaderBackup", `--header-backup-file=${file}`], path, [], options);
}

/** Puts a backup's header and keyslots in the place of the present ones. */
export async function luksHeaderRestore(path: string, file: string, options: CryptsetupOptions = {}): Promise<void> {
  await cryptsetup(["luksHeaderRestore", `--header-backup-file=${file}`], path, [], options);
}

/** Destroys all keyslots: no key opens it any more. What it printed. */
export function luksErase(path: string, options: CryptsetupOptions = {}): Promise<string> {
  return cryptsetup(["luksErase"], path, [], options);
}

function kdfArguments(parameters: FormatParameters): string[] {
  const { version, hash, pbkdf, iterTimeMs, iterations, memoryKiB, parallel } = parameters;
  return [
    `--hash=${hash}`,
    ...(version === 2 ? [`--pbkdf=${pbkdf}`] : []),
    ...(iterations === null ? [`--iter-time=${iterTimeMs}`] : [`--pbkdf-force-iterations=${iterations}`]),
    ...(pbkdf === "pbkdf2" ? [] : [`--pbkdf-memory=${memoryKiB}`, `--pbkdf-parallel=${parallel}`]),
  ];
}

/** `keys`: none; one for standard input; or the present one and the new one. */
async function cryptsetup(
  args: readonly string[],
  path: string,
  keys: readonly Uint8Array[],
  options: CryptsetupOptions,
): Promise<string> {
  const program = findProgram("cryptsetup");
  if (program === null) {
    throw new StorageError("unsupported", "cryptsetup is not installed", {
      layer: "luks",
      feature: "cryptsetup",
      hint: "install it (Debian: package cryptsetup-bin)",
    });
  }
  options.signal?.throwIfAborted();
  const [action = ""] = args;
  const ended =
    keys.length === 2
      ? await start(
          "/bin/sh",
          ["-c", TWO_KEYS, "sh", program, ...args, "--batch-mode", "--key-file=/dev/fd/5", "--", path, "-"],
          keys,
          options,
        )
      : await start(program, [...args, "--batch-mode", "--", path], keys, options);
  if (ended.code === 0) return ended.stdout;
  if (options.signal?.aborted) throw new StorageError("cancelled", "cancelled");
  throw failure(action, path, ended);
}

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** One key goes to standard input, of two the first to descriptor 3 and the second to 4. */
function start(
  program: string,
  argv: readonly string[],
  keys: readonly Uint8Array[],
  { signal }: CryptsetupOptions,
): Promise<Ended> {
  return new Promise((done, fail) => {
    const input = keys.length === 1 ? "pipe" : "ignore";
    const child = spawn(program, argv, {
      // Its words are read here: always the English ones.
      env: { ...process.env, LC_ALL: "C", LANGUAGE: "C" },
      stdio: [input, "pipe", "pipe", ...(keys.length === 2 ? (["pipe", "pipe"] as const) : [])],
    });
    // Ended by a signal it leaves no lock behind; a half-made header is for the caller to make again or remove.
    const onAbort = () => child.kill("SIGTERM");
    signal?.addEventListener("abort", onAbort, { once: true });
    const texts = [child.stdout!, child.stderr!].map((stream) => {
      let text = "";
      stream.on("data", (chunk: Buffer) => {
        if (text.length < MAX_OUTPUT) text += chunk.toString("utf8");
      });
      return () => text;
    });
    keys.forEach((key, i) => {
      const to = child.stdio[keys.length === 1 ? 0 : 3 + i] as Writable;
      // It ends without reading its key when it dislikes something else, and says so itself.
      to.on("error", () => {});
      // A copy, since the caller may wipe the key before it has been taken.
      const own = Buffer.from(key);
      to.end(own, () => own.fill(0));
    });
    child.on("error", (error) => {
      signal?.removeEventListener("abort", onAbort);
      fail(new StorageError("io", `cryptsetup cannot be started: ${error.message}`, { layer: "luks", cause: error }));
    });
    child.on("close", (code) => {
      signal?.removeEventListener("abort", onAbort);
      done({ code, stdout: texts[0]!(), stderr: texts[1]!() });
    });
  });
}

function failure(action: string, path: string, { code, stderr }: Ended): StorageError {
  const reason =
    stderr
      .split("\n")
      .map((line) => printable(line.trim()))
      .filter((line) => line !== "" && !line.startsWith("WARNING:"))
      .join(" ") || `it ended with ${code ?? "a signal"}`;
  const about = { layer: "luks" };
  switch (code) {
    case NO_PERMISSION:
      return new StorageError("key", `${printable(path)}: no keyslot opens with that key`, {
        ...about,
        hint: "check the passphrase or key file; of a key file every byte counts, a newline at its end too",
      });
    case OUT_OF_MEMORY:
      return new StorageError("io", `cryptsetup ${action}: too little memory: ${reason}`, {
        ...about,
        hint: "a key derivation that wants less: --pbkdf-memory KIBIBYTES",
      });
    case WRONG_DEVICE:
      return new StorageError("io", `cryptsetup ${action} cannot use ${printable(path)}: ${reason}`, about);
    case BUSY:
      return new StorageError("locked", `${printable(path)} is in use: ${reason}`, about);
    default:
      return new StorageError("io", `cryptsetup ${action} failed: ${reason}`, about);
  }
}

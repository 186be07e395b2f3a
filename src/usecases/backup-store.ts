import { StorageError } from "../core/errors.ts";
import type { BackupManifest } from "./backup-documents.ts";

/** Bytes in order; a number is so many zeros. */
export type Piece = Uint8Array | number;

export interface StoreOptions {
  /** File with the password of a repository; its bytes are read by restic or borg, never by us. */
  readonly passwordFile?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly note?: ((text: string) => void) | undefined;
}

/** Where backups are kept. Items are whole or not there; the manifest is the last item of a backup. */
export interface BackupStore {
  /** For a person. */
  readonly name: string;
  /** Whether what is put there comes to rest encrypted; null: that cannot be known. */
  encrypted(): Promise<boolean | null>;
  /** Begins a backup. Throws when the place cannot be used. */
  begin(id: string): Promise<void>;
  put(id: string, item: string, pieces: AsyncIterable<Piece>): Promise<void>;
  /** Puts the manifest: the backup is whole when this returns. */
  finish(id: string, manifest: BackupManifest): Promise<void>;
  /** Takes away what a failed backup has put, as far as the place can. */
  abandon(id: string): Promise<void>;
  list(): Promise<{ readonly whole: readonly BackupManifest[]; readonly unfinished: readonly string[] }>;
  /** The bytes of an item, in order. */
  get(id: string, item: string): AsyncIterable<Uint8Array>;
  /** The item as a file that is there, or null. */
  file(id: string, item: string): string | null;
}

export const MANIFEST = "manifest.json";

/** Reads a manifest that somebody else could have written. Throws `corrupt`. */
export function parseManifest(text: string, where: string): BackupManifest {
  try {
    const value = JSON.parse(text) as BackupManifest;
    const names = value.disks.flatMap((d) => [d.name, ...(d.header === null ? [] : [d.header])]);
    const texts = [value.created, value.guest, value.uuid, value.domain, ...value.disks.map((d) => d.target)];
    const fine =
      value.schema === "unterbau/backup-manifest/1" &&
      texts.every((t) => typeof t === "string") &&
      /^[\w-]{1,64}$/.test(value.id) &&
      names.every((n) => /^[\w.-]{1,100}$/.test(n) && !n.startsWith(".")) &&
      value.disks.every((d) => Number.isSafeInteger(d.size) && d.size >= 0 && /^[0-9a-f]{64}$/.test(d.sha256));
    if (fine) return value;
  } catch {
    // As for one of another kind.
  }
  throw new StorageError("corrupt", `${where} is no manifest of a backup`, { layer: "backup" });
}

export async function* bytesOf(text: string | Uint8Array): AsyncIterable<Piece> {
  yield typeof text === "string" ? new Uint8Array(Buffer.from(text)) : text;
}

/** A manifest holds the guest's XML and little more. */
const MAX_MANIFEST = 16 * 1024 * 1024;

/** A manifest as text. */
export async function textOf(chunks: AsyncIterable<Uint8Array>): Promise<string> {
  const all: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of chunks) {
    bytes += chunk.length;
    if (bytes > MAX_MANIFEST) throw new StorageError("limit", "a manifest is larger than 16 MiB", { layer: "backup" });
    all.push(chunk);
  }
  return Buffer.concat(all).toString("utf8");
}

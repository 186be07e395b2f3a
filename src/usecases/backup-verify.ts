import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { printable } from "../bytes/text.ts";
import { ioError, StorageError } from "../core/errors.ts";
import { makeScratch } from "../host/scratch-place.ts";
import { parseDomain } from "../libvirt/domain.ts";
import { luksHeader } from "../tools/cryptsetup-open.ts";
import type { BackupManifest, BackupVerifyDocument } from "./backup-documents.ts";
import { writeAll } from "./backup-folder.ts";
import { openStore } from "./backup-open.ts";
import type { BackupStore, StoreOptions } from "./backup-store.ts";
import { type CheckOptions, check, exitCodeOf } from "./check.ts";
import { judge } from "./check-live.ts";

export interface VerifyOptions extends StoreOptions, Pick<CheckOptions, "keys" | "on" | "timeoutMs"> {
  readonly from: string;
  /** Name or UUID of a guest. */
  readonly guest: string;
  /** Null: the newest. */
  readonly id: string | null;
  readonly scratch?: string | undefined;
}

/**
 * Proves that a backup can be restored: reads all of it, compares the hashes, and checks its file systems on an overlay. Out of a
 * repository it is restored into a private folder, which goes afterwards. Throws `corrupt` when bytes differ.
 */
export async function verifyBackup(options: VerifyOptions): Promise<BackupVerifyDocument> {
  const store = await openStore(options.from, options);
  const manifest = await choose(store, options);
  const { id, guest, created, disks } = manifest;
  if (parseDomain(manifest.domain).uuid !== manifest.uuid)
    throw new StorageError("corrupt", `the XML in the backup ${id} is of another guest`, { layer: "backup" });
  const folder = store.file(id, "x") === null ? scratchFor(manifest, options) : null;
  try {
    const paths: string[] = [];
    for (const { name, sha256, size } of disks) {
      options.note?.(`reading ${printable(name)} of the backup ${id}`);
      const path = store.file(id, name) ?? join(folder!, name);
      const found = await readItem(store.get(id, name), folder === null ? null : path, options.signal);
      if (found.size !== size || found.sha256 !== sha256) {
        throw new StorageError("corrupt", `${printable(name)} in the backup ${id} is not what was backed up`, {
          layer: "backup",
          hint: "the medium of the backup is failing, or somebody changed it: make another backup elsewhere",
        });
      }
      paths.push(path);
    }
    const headers: { target: string; uuid: string }[] = [];
    for (const { target, header } of disks) {
      if (header === null) continue;
      const path = store.file(id, header) ?? join(folder!, header);
      if (folder !== null) await readItem(store.get(id, header), path, options.signal);
      headers.push({ target, uuid: (await luksHeader(path)).uuid });
    }
    const { keys, on, timeoutMs, signal, note } = options;
    const found = await check({
      sources: paths,
      format: "raw",
      keys,
      on,
      timeoutMs,
      signal,
      note,
      volumes: [],
      repair: false,
      preen: false,
      force: false,
      // Of one instant while the guest wrote: as after a power cut.
      ...(manifest.live ? { revise: async (volume, found) => judge(volume, found, false) } : {}),
    });
    return {
      schema: "unterbau/backup-verify/1",
      from: store.name,
      id,
      guest,
      created,
      disks: disks.map(({ target, size, sha256 }) => ({ target, size, sha256 })),
      headers,
      check: { ...found, exitCode: exitCodeOf(found.volumes) },
      exitCode: exitCodeOf(found.volumes),
    };
  } finally {
    if (folder !== null) rmSync(folder, { recursive: true, force: true });
  }
}

async function choose(store: BackupStore, { guest, id }: VerifyOptions): Promise<BackupManifest> {
  const { whole, unfinished } = await store.list();
  const own = whole
    .filter((m) => m.guest === guest || m.uuid === guest.toLowerCase())
    .sort((a, b) => (a.created < b.created ? 1 : -1));
  const found = id === null ? own[0] : own.find((m) => m.id === id);
  if (found) return found;
  const cut = id !== null && unfinished.includes(id) ? ": it was cut off" : "";
  throw new StorageError(
    "usage",
    `${printable(store.name)} has no whole backup ${id === null ? "" : `${printable(id)} `}of ${printable(guest)}${cut}`,
    {
      layer: "backup",
      hint: "unterbau backup list --from PLACE shows what is there",
    },
  );
}

/** Ciphertext may lie anywhere; what was in the clear only in memory or on encrypted storage. */
function scratchFor({ disks }: BackupManifest, { scratch }: VerifyOptions): string {
  const size = disks.reduce((sum, d) => sum + d.size, 0);
  if (disks.every((d) => d.kind === "ciphertext")) return mkdtempSync(join(scratch ?? tmpdir(), "unterbau-verify-"));
  const owner = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
  return makeScratch({ folder: scratch, size, owner });
}

async function readItem(
  chunks: AsyncIterable<Uint8Array>,
  to: string | null,
  signal: AbortSignal | undefined,
): Promise<{ size: number; sha256: string }> {
  const hash = createHash("sha256");
  const file: FileHandle | null = to === null ? null : await open(to, "wx", 0o600);
  let size = 0;
  try {
    for await (const chunk of chunks) {
      signal?.throwIfAborted();
      hash.update(chunk);
      // Zeros become holes.
      if (file !== null && chunk.some((b) => b !== 0)) await writeAll(file, chunk, size);
      size += chunk.length;
    }
    await file?.truncate(size);
  } catch (error) {
    throw error instanceof StorageError
      ? error
      : ioError(error, `the backup cannot be restored into ${to}`, {
          layer: "backup",
          hint: "--scratch DIR names another place",
        });
  } finally {
    await file?.close();
  }
  return { size, sha256: hash.digest("hex") };
}

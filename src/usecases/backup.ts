import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { printable } from "../bytes/text.ts";
import { Cleanup } from "../core/cleanup.ts";
import { type BlockDevice, readBytes } from "../core/device.ts";
import { StorageError } from "../core/errors.ts";
import { newRunId } from "../host/run-store.ts";
import { luksHeaderBackup } from "../tools/cryptsetup.ts";
import { virsh } from "../tools/virsh.ts";
import { type DiskToBackUp, openDisks, openViewed } from "./backup-disks.ts";
import type { BackedUpDisk, BackupDocument, BackupListDocument, BackupManifest } from "./backup-documents.ts";
import { openStore } from "./backup-open.ts";
import { type BackupStore, bytesOf, type Piece, type StoreOptions } from "./backup-store.ts";
import { findGuest, type Guest, type GuestOptions } from "./guests.ts";
import { openLiveView, recoverLiveViews } from "./live-view.ts";

export interface BackupOptions extends GuestOptions, StoreOptions {
  readonly guest: string;
  /** `DIR`, `restic:REPO`, `borg:REPO` */
  readonly to: string;
  /** What the guest sees, also where the host encrypts it. */
  readonly content: boolean;
  /** A running guest, as it is in one instant. */
  readonly live: boolean;
  readonly scratch?: string | undefined;
  /** Let what is encrypted now come to rest in the clear. */
  readonly plaintext: boolean;
  readonly onProgress?: ((target: string, fraction: number) => void) | undefined;
}

const CHUNK = 1024 * 1024;

/**
 * Backs all disks of a guest up, with LUKS headers, XML and firmware variables. The manifest comes last: a backup that failed or was killed
 * is never taken for one. Throws `locked` when a source changed or a guest runs, `unsupported` when plaintext would come to rest.
 */
export async function backup(options: BackupOptions): Promise<BackupDocument> {
  const { signal, note, live } = options;
  const began = performance.now();
  for (const line of await recoverLiveViews()) note?.(line);
  const guest = await findGuest(options.guest, options);
  refuseState(guest, live);
  if (guest.managedSave)
    note?.("the memory that libvirt has saved of the guest is not backed up; it knows the disks as they are now");
  const store = await openStore(options.to, options);
  const id = newRunId(new Date());
  await using cleanup = new Cleanup();
  const view = live
    ? cleanup.use(await openLiveView(guest, { quiesce: false, scratch: options.scratch, signal, note }))
    : null;
  const created = new Date().toISOString();
  const disks = view
    ? await openViewed(guest, view.sources, options, cleanup)
    : await openDisks(guest, options, cleanup);
  await store.begin(id);
  try {
    await refusePlaintext(disks, store, options.plaintext);
    const done: BackedUpDisk[] = [];
    for (const disk of disks) done.push(await putDisk(disk, id, store, options));
    for (const disk of disks) disk.unchanged();
    const broken = (await view?.broken()) ?? null;
    if (broken !== null)
      throw new StorageError("io", `the view of the guest broke off: ${broken}`, { layer: "libvirt" });
    const manifest: BackupManifest = {
      schema: "unterbau/backup-manifest/1",
      id,
      created,
      guest: guest.name,
      uuid: guest.uuid,
      live,
      disks: done,
      domain: await virsh(["dumpxml", `--domain=${guest.uuid}`, "--inactive"], {
        uri: guest.uri,
        readOnly: true,
        signal,
      }),
      nvram: await putNvram(guest, id, store, note),
    };
    signal?.throwIfAborted();
    await store.finish(id, manifest);
    const { uuid } = guest;
    const seconds = Math.round(performance.now() - began) / 1000;
    return { schema: "unterbau/backup/1", to: store.name, id, guest: guest.name, uuid, live, disks: done, seconds };
  } catch (error) {
    await store.abandon(id).catch(() => undefined);
    throw error;
  }
}

export async function listBackups(to: string, options: StoreOptions): Promise<BackupListDocument> {
  const store = await openStore(to, options);
  const { whole, unfinished } = await store.list();
  const backups = whole
    .map(({ id, created, guest, uuid, live, disks }) => {
      return { id, created, guest, uuid, live, size: disks.reduce((sum, d) => sum + d.size, 0) };
    })
    .sort((a, b) => (a.created < b.created ? -1 : 1));
  return { schema: "unterbau/backup-list/1", to: store.name, backups, unfinished };
}

function refuseState(guest: Guest, live: boolean): void {
  const name = printable(guest.name);
  if (live && guest.state === "shut off")
    throw new StorageError("usage", `the guest ${name} is shut off`, { layer: "libvirt", hint: "leave --live out" });
  if (!live && guest.state !== "shut off") {
    throw new StorageError("locked", `the guest ${name} is ${guest.state}`, {
      layer: "libvirt",
      hint: "--live backs it up as it is in one instant; or shut it down",
    });
  }
}

async function refusePlaintext(disks: readonly DiskToBackUp[], store: BackupStore, allowed: boolean): Promise<void> {
  const bare = disks.filter((d) => d.bares);
  if (bare.length === 0 || allowed || (await store.encrypted()) === true) return;
  const names = bare.map((d) => printable(d.target)).join(", ");
  throw new StorageError(
    "unsupported",
    `${names} is encrypted on this host, and would lie in the clear in ${printable(store.name)}`,
    {
      layer: "backup",
      feature: "plaintext in a backup",
      hint: "a repository of restic, one of borg that is encrypted, or a folder on encrypted storage; --plaintext if you mean it",
    },
  );
}

async function putDisk(
  disk: DiskToBackUp,
  id: string,
  store: BackupStore,
  options: BackupOptions,
): Promise<BackedUpDisk> {
  const { target, kind, source, luks, device, bares } = disk;
  const name = `${target}.raw`;
  options.note?.(`backing up ${printable(target)} (${printable(source)})`);
  if (options.content && kind === "ciphertext")
    options.note?.(`${printable(target)} is kept as it is encrypted: QEMU decrypts it, and only while the guest runs`);
  const hash = createHash("sha256");
  const tell = (fraction: number): void => options.onProgress?.(target, fraction);
  await store.put(id, name, piecesOf(device, hash, tell, options.signal));
  const header = luks === null ? null : `${target}.luks-header`;
  if (luks !== null) await store.put(id, header!, headerOf(luks));
  const { entry = null } = luks ?? {};
  const crypttab =
    entry === null
      ? null
      : [entry.name, entry.device, entry.keyFile ?? "none", entry.options.join(",")].join(" ").trim();
  return {
    target,
    name,
    size: device.size,
    sha256: hash.digest("hex"),
    kind,
    decrypted: bares,
    source,
    header,
    crypttab,
  };
}

/** All bytes in order; what is zero as a number. */
async function* piecesOf(
  device: BlockDevice,
  hash: { update(bytes: Uint8Array): unknown },
  tell: (fraction: number) => void,
  signal: AbortSignal | undefined,
): AsyncIterable<Piece> {
  const zeros = Buffer.alloc(CHUNK);
  for await (const extent of device.extents(0, device.size, { signal })) {
    for (let at = extent.offset; at < extent.offset + extent.length; ) {
      signal?.throwIfAborted();
      const length = Math.min(CHUNK, extent.offset + extent.length - at);
      const bytes =
        extent.kind === "data" ? await readBytes(device, at, length, { signal }) : zeros.subarray(0, length);
      hash.update(bytes);
      const empty = extent.kind !== "data" || zeros.subarray(0, length).equals(bytes);
      yield empty ? length : bytes;
      at += length;
      tell(at / device.size);
    }
  }
}

/** What cryptsetup calls a header: with its keyslots. They are as safe as their passphrases. */
async function* headerOf({ device, entry }: NonNullable<DiskToBackUp["luks"]>): AsyncIterable<Piece> {
  const folder = mkdtempSync(join(tmpdir(), "unterbau-header-"));
  try {
    const file = join(folder, "header");
    const detached = entry?.options.find((o) => o.startsWith("header="))?.slice("header=".length);
    await luksHeaderBackup(detached ?? device, file);
    yield new Uint8Array(readFileSync(file));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function putNvram(
  guest: Guest,
  id: string,
  store: BackupStore,
  note: ((text: string) => void) | undefined,
): Promise<BackupManifest["nvram"]> {
  const path = guest.domain.nvram;
  if (path === null || !existsSync(path)) return null;
  let bytes: Uint8Array;
  try {
    bytes = new Uint8Array(readFileSync(path));
  } catch (error) {
    note?.(`the firmware's variables are not backed up: ${error instanceof Error ? error.message : String(error)}`);
    return null;
  }
  await store.put(id, "nvram.fd", bytesOf(bytes));
  return { name: "nvram.fd", path };
}

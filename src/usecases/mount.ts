import { closeSync, readdirSync, realpathSync, statSync } from "node:fs";
import { lstat } from "node:fs/promises";
import { setTimeout as pause } from "node:timers/promises";
import { printable } from "../bytes/text.ts";
import { Cleanup } from "../core/cleanup.ts";
import type { BlockDevice } from "../core/device.ts";
import { ioError, StorageError } from "../core/errors.ts";
import { Overlay } from "../core/overlay.ts";
import { folderUsers } from "../host/busy.ts";
import { fuseMounts, mountName } from "../host/fuse-mounts.ts";
import { isMountPoint } from "../host/kernel-state.ts";
import { markedProcesses } from "../host/marked-processes.ts";
import { takeDescriptor } from "../host/pidfd.ts";
import type { Volume } from "../stack/tree.ts";
import { lastLine } from "../tools/checker.ts";
import { e2fsck, journalOnly } from "../tools/e2fsck.ts";
import {
  FUSE2FS_DEVICES,
  fuse2fsArgv,
  fuse2fsCage,
  libfuseOf,
  MOUNT_MARK,
  requireFuse2fs,
  socketIn,
  standIn,
} from "../tools/fuse2fs.ts";
import { fusermount, requireFusermount, SOCKET_VARIABLE, unmountFuse } from "../tools/fusermount.ts";
import { isExt, refuseFiles } from "./inside.ts";
import { openForInspection } from "./open-for-reading.ts";
import { readableVolume } from "./readable-volume.ts";
import { PROGRESS_FD, type RunResult, runOnFile } from "./run-on-file.ts";
import type { SourceOptions } from "./source-options.ts";
import { clearStaleMounts } from "./umount.ts";

export interface MountOptions extends SourceOptions {
  readonly volume: string;
  readonly folder: string;
  /** It can be looked into now; the folder's full name. */
  readonly onReady: (folder: string, volume: string) => void;
}

/** How long the kernel's table is looked at in between; nothing tells of a change of it but a look. */
const LOOK_MS = 10;
const DAMAGED = "unterbau check tells whether it is sound; ls, cat and cp read it with a reader of their own";
/** What a caged program says is kept up to this many bytes. */
const MESSAGES = 16 * 1024;

/**
 * Shows the files of an ext volume in a folder of this host, read-only, for this user, until `signal` fires or it is unmounted from outside.
 * fuse2fs parses the guest's bytes, in the cage of the checkers; the host's kernel sees its answers only.
 */
export async function mount(options: MountOptions): Promise<void> {
  requireFusermount();
  const program = requireFuse2fs();
  for (const line of clearStaleMounts()) options.note?.(line);
  const folder = emptyFolder(options.folder);
  await using opened = await openForInspection(options);
  const volume = readableVolume(opened.stack, options.volume);
  if (!isExt(volume)) throw refuseFiles(volume, "mounted");
  await using cleanup = new Cleanup();
  const device = await withoutJournal(volume, volume.device, options, cleanup);
  await serve(device, program, folder, volume.selector, options);
}

/** A journal that waits is replayed by e2fsck, into memory: fuse2fs would show the files without it. */
async function withoutJournal(
  volume: Volume,
  device: BlockDevice,
  options: MountOptions,
  cleanup: Cleanup,
): Promise<BlockDevice> {
  if (volume.node.details.needsRecovery !== true) return device;
  const path = e2fsck.find();
  if (path === null) {
    throw new StorageError("unsupported", `${volume.selector} has a journal that waits for its replay`, {
      layer: "ext",
      feature: "e2fsck",
      hint: `install the package ${e2fsck.packageName}, which replays it into memory`,
    });
  }
  const overlay = cleanup.use(new Overlay(device));
  const said = new Messages();
  const result = await runOnFile({
    device: overlay,
    writable: true,
    argv: journalOnly(path, "{}"),
    cage: "checker",
    configFiles: e2fsck.configFiles,
    stdout: (chunk) => said.add(chunk),
    stderr: "stdout",
    signal: options.signal,
  });
  options.signal?.throwIfAborted();
  if (result.deviceError) throw result.deviceError;
  if (result.exitCode === null || result.exitCode > 1) {
    throw new StorageError("corrupt", `e2fsck cannot replay the journal of ${volume.selector}: ${said.last()}`, {
      layer: "ext",
      hint: "unterbau check shows what is wrong",
    });
  }
  options.note?.(`${volume.selector}: its journal was replayed into memory; the disk is as it was`);
  return overlay;
}

async function serve(
  device: BlockDevice,
  program: string,
  folder: string,
  selector: string,
  options: MountOptions,
): Promise<void> {
  const name = mountName();
  const end = new AbortController();
  const said = new Messages();
  const visible = new VisibleFolder(folder, name, (error) => {
    failure ??= error;
    end.abort();
  });
  let failure: unknown = null;
  const cancel = () => visible.leave(options.note).then(() => end.abort());
  options.signal?.addEventListener("abort", cancel, { once: true });
  let result: RunResult;
  try {
    options.signal?.throwIfAborted();
    result = await runOnFile({
      device,
      writable: false,
      argv: fuse2fsArgv(program, libfuseOf(program)),
      cage: "checker",
      server: { supply: standIn(PROGRESS_FD), more: (fd) => fuse2fsCage(name, fd), devices: FUSE2FS_DEVICES },
      stdout: (chunk) => said.add(chunk),
      stderr: "stdout",
      progress: (text) => void visible.mount(text, () => options.onReady(folder, selector)),
      signal: end.signal,
    });
  } finally {
    options.signal?.removeEventListener("abort", cancel);
    visible.clear();
  }
  if (failure !== null) throw failure;
  if (options.signal?.aborted) {
    // Ctrl-C is how it is meant to end, once it is there.
    if (visible.ready) return;
    options.signal.throwIfAborted();
  }
  if (result.deviceError) throw result.deviceError;
  if (visible.ready && result.exitCode === 0) return;
  const how = result.signal === null ? `ended with ${result.exitCode}` : `was ended by ${result.signal}`;
  throw new StorageError("io", `fuse2fs ${how}: ${said.last()}`, {
    layer: "ext",
    hint: DAMAGED,
  });
}

/** The side of a mount that all of this host sees. */
class VisibleFolder {
  ready = false;
  readonly #folder: string;
  readonly #name: string;
  readonly #fail: (error: unknown) => void;
  #asked = false;
  #over = false;

  constructor(folder: string, name: string, fail: (error: unknown) => void) {
    this.#folder = folder;
    this.#name = name;
    this.#fail = fail;
  }

  /** The stand-in has spoken: the real fusermount gets the socket on which libfuse waits in the cage. */
  async mount(text: string, onReady: () => void): Promise<void> {
    const number = socketIn(text);
    if (number === null || this.#asked) return;
    this.#asked = true;
    try {
      const helper = await this.#standIn(number);
      if (helper === null) return;
      const socket = takeDescriptor(helper, number);
      const ended = this.#give(socket);
      closeSync(socket);
      const refused = await Promise.race([ended, this.#appears()]);
      if (refused !== null) throw cannotMount(this.#folder, refused);
      // Answered when fuse2fs has agreed with the kernel and can be asked.
      await lstat(this.#folder).catch((error: unknown) => {
        throw ioError(error, "fuse2fs cannot read the volume's root folder", { layer: "ext", hint: DAMAGED });
      });
      this.ready = true;
      onReady();
    } catch (error) {
      if (!this.#over) this.#fail(error);
    }
  }

  /** Resolves with what fusermount says when it ends, which it does only when it cannot mount, or when all is over. */
  #give(socket: number): Promise<string> {
    const said = new Messages();
    const child = fusermount(this.#folder, this.#name, socket);
    child.stderr?.on("data", (chunk: Buffer) => said.add(chunk));
    return new Promise((done) => {
      child.once("error", (error) => done(error.message));
      child.once("close", () => done(said.last()));
    });
  }

  /** The stand-in's process on this side; null: all is over. While it becomes another program its environment cannot be read. */
  async #standIn(socket: number): Promise<number | null> {
    while (!this.#over) {
      const named = markedProcesses(SOCKET_VARIABLE, String(socket)).map(({ pid }) => pid);
      const found = markedProcesses(MOUNT_MARK, this.#name).find(({ pid }) => named.includes(pid));
      if (found !== undefined) return found.pid;
      await pause(LOOK_MS);
    }
    return null;
  }

  async #appears(): Promise<null> {
    while (!this.#isThere() && !this.#over) await pause(LOOK_MS);
    return null;
  }

  #isThere(): boolean {
    return fuseMounts().some((m) => m.folder === this.#folder && m.owner.pid === process.pid);
  }

  /** Takes it away, also from under those who use it; they are named. */
  async leave(note: ((text: string) => void) | undefined): Promise<void> {
    if (!this.#isThere()) return;
    if (unmountFuse(this.#folder, { lazy: false }) === null) return;
    const users = folderUsers(this.#folder);
    unmountFuse(this.#folder, { lazy: true });
    const who = users.length > 0 ? users.join(", ") : "another program";
    note?.(`${printable(this.#folder)} was still in use by ${printable(who)}, which now gets errors there`);
  }

  /** Nothing stays in the table, whoever was killed: fusermount too may have been. */
  clear(): void {
    this.#over = true;
    if (this.#isThere()) unmountFuse(this.#folder, { lazy: true });
  }
}

function cannotMount(folder: string, reason: string): StorageError {
  const hint = /\/dev\/fuse|device not found|modprobe/.test(reason)
    ? "load the module (modprobe fuse) and see that /dev/fuse is readable and writable for everyone; in a container, pass the device in"
    : /operation not permitted/i.test(reason)
      ? "fusermount3 has to be setuid root, and a container needs the right to mount; unterbau doctor tells more"
      : undefined;
  return new StorageError("io", `cannot mount on ${folder}: ${reason}`, { layer: "fuse", hint });
}

/** The folder's full name. Throws `usage` when it is not there, no folder, not empty or a mount already. */
function emptyFolder(given: string): string {
  const refuse = (what: string, hint: string) =>
    new StorageError("usage", `cannot mount on ${given}: ${what}`, { layer: "fuse", hint });
  const found = statSync(given, { throwIfNoEntry: false });
  if (found === undefined) throw refuse("it is not there", `make it: mkdir ${given}`);
  if (!found.isDirectory()) throw refuse("it is no folder", "name an empty folder");
  const folder = realpathSync(given);
  if (isMountPoint(folder))
    throw refuse("something is mounted there already", `unterbau umount ${given}, or name another folder`);
  if (readdirSync(folder).length > 0)
    throw refuse("it is not empty", "what is in it would be hidden: name an empty folder");
  return folder;
}

/** The end of what a program says. */
class Messages {
  #text = "";

  add(chunk: Uint8Array): void {
    this.#text = (this.#text + Buffer.from(chunk).toString("utf8")).slice(-MESSAGES);
  }

  last(): string {
    return lastLine(this.#text);
  }
}

import type { ChildProcess } from "node:child_process";
import { existsSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { printable } from "../bytes/text.ts";
import { describeError, StorageError } from "../core/errors.ts";
import { abandonedViews, forgetLive, noteLive, type StoredLive } from "../host/live-store.ts";
import { type QemuProcess, qemuProcess } from "../host/qemu-process.ts";
import { makeScratch, roomIn } from "../host/scratch-place.ts";
import { backupXml } from "../libvirt/backup-xml.ts";
import { nbdUri } from "../libvirt/place.ts";
import { guardLiveView } from "../tools/live-guardian.ts";
import { removeSnapshot } from "../tools/lvm.ts";
import { virsh } from "../tools/virsh.ts";
import type { Guest } from "./guests.ts";
import { FROZEN, inOneInstant } from "./live-freeze.ts";

export interface LiveOptions {
  /** Freeze the guest's file systems, by its agent, for the instant in which the view begins. */
  readonly quiesce: boolean;
  /** Where the guest's overwritten bytes go; default: memory. */
  readonly scratch?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly note?: ((text: string) => void) | undefined;
}

/** A guest's disks as they were in one instant, while it goes on. Disposal ends it. */
export interface LiveView extends AsyncDisposable {
  /** NBD URIs, in the guest's order. */
  readonly sources: readonly string[];
  /** Null while it is whole; else why it is not. */
  broken(): Promise<string | null>;
}

const WATCH_MS = 200;

/** Begins a pull backup of all disks of a running guest. Throws when libvirt refuses, when there is no safe place, when the agent is silent. */
export async function openLiveView(guest: Guest, options: LiveOptions): Promise<LiveView> {
  const { signal } = options;
  const uri = (await virsh(["uri"], { uri: guest.uri, readOnly: true, signal })).trim();
  const targets = guest.domain.disks
    .filter((d) => (d.device === "disk" || d.device === "lun") && d.place.kind !== "empty")
    .map((d) => d.target);
  if (targets.length === 0) {
    throw new StorageError("unsupported", `the guest ${printable(guest.name)} has no disks`, {
      layer: "libvirt",
      feature: "a guest without disks",
    });
  }
  let size = 0;
  for (const target of targets) {
    size += await capacity(guest, target, signal).catch((error: unknown) => {
      throw notPossible(error, guest);
    });
  }
  const qemu = qemuProcess(guest.uuid);
  const folder = makeScratch({ folder: options.scratch, size, owner: qemu });
  let stored: StoredLive;
  try {
    stored = noteLive({ guest: guest.name, uuid: guest.uuid, uri, folder });
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
  const guardian = guardLiveView(uri, guest.uuid, folder, stored.path);
  const view = new OpenView(guest, stored, guardian, targets, qemu);
  try {
    await view.begin(options);
    return view;
  } catch (error) {
    await view[Symbol.asyncDispose]();
    throw error;
  }
}

/** Bytes of a disk as the guest sees it. */
async function capacity(guest: Guest, target: string, signal: AbortSignal | undefined): Promise<number> {
  const args = ["domblkinfo", `--domain=${guest.uuid}`, `--device=${target}`];
  const text = await virsh(args, { uri: guest.uri, readOnly: true, signal });
  const bytes = Number(/^Capacity: *(\d+)/m.exec(text)?.[1]);
  return Number.isSafeInteger(bytes) ? bytes : Number.MAX_SAFE_INTEGER;
}

class OpenView implements LiveView {
  readonly #guest: Guest;
  readonly #stored: StoredLive;
  readonly #guardian: ChildProcess;
  readonly #targets: readonly string[];
  readonly #qemu: QemuProcess;
  #watch: NodeJS.Timeout | null = null;
  #full = false;

  constructor(guest: Guest, stored: StoredLive, guardian: ChildProcess, targets: readonly string[], qemu: QemuProcess) {
    this.#guest = guest;
    this.#stored = stored;
    this.#guardian = guardian;
    this.#targets = targets;
    this.#qemu = qemu;
  }

  get sources(): readonly string[] {
    return this.#targets.map((target) => nbdUri(target, this.#socket));
  }

  async begin({ quiesce, signal }: LiveOptions): Promise<void> {
    const { folder } = this.#stored.record;
    const xml = join(folder, "backup.xml");
    const disks = this.#targets.map((target) => ({ target, scratch: join(folder, `${target}.scratch`) }));
    writeFileSync(xml, backupXml(this.#socket, disks), { mode: 0o600 });
    signal?.throwIfAborted();
    await inOneInstant(this.#guest, this.#stored.record, quiesce, this.#guardian.stdin, async (ask) => {
      await ask("backup-begin", `--backupxml=${xml}`).catch((error: unknown) => {
        throw notPossible(confined(error, this.#guest, this.#qemu, folder), this.#guest);
      });
    });
    this.#watch = setInterval(() => void this.#look(), WATCH_MS);
    this.#watch.unref();
  }

  async broken(): Promise<string | null> {
    if (this.#full) return "the guest overwrote more than there is room for";
    return (await isOurs(this.#stored))
      ? null
      : "libvirt's backup has ended: the guest was shut down, or somebody aborted it";
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#watch) clearInterval(this.#watch);
    await endView(this.#stored);
    this.#guardian.kill();
  }

  /**
   * QEMU makes it itself. What it reads and writes as a disk libvirt adds to its AppArmor profile, and so the scratch files; a socket it does not,
   * so this has to lie where the profile lets QEMU make some.
   */
  get #socket(): string {
    const { folder } = this.#stored.record;
    const { profile, folder: own } = this.#qemu;
    return profile !== null && own !== null ? join(own, `${basename(folder)}.sock`) : join(folder, "nbd.sock");
  }

  /** When the scratch file can grow no more QEMU fails the *guest's* write: the view is given up before that. */
  async #look(): Promise<void> {
    let room = -1;
    try {
      room = roomIn(this.#stored.record.folder);
    } catch {
      // Somebody removed it: the view cannot go on.
    }
    if (room >= 0 || this.#full) return;
    this.#full = true;
    await abort(this.#stored).catch(() => undefined);
  }
}

/** Names the profile that keeps QEMU from a file or socket, and what may be added to it. */
function confined(error: unknown, guest: Guest, { profile, folder: own }: QemuProcess, folder: string): unknown {
  if (!(error instanceof StorageError) || profile === null || !/permission denied|not permitted/i.test(error.message))
    return error;
  const rules = [`${folder}/** rwk,`, ...(own === null ? [] : [`${own}/* rw,`])].join(" ");
  return new StorageError(
    "io",
    `AppArmor (profile ${printable(profile)}) or a folder's mode keeps QEMU from what a view of ${printable(guest.name)} needs: ${error.message}`,
    {
      layer: "libvirt",
      hint: `journalctl -k -g apparmor names what it denied; with ${rules} in /etc/apparmor.d/local/abstractions/libvirt-qemu it may, from the guest's next start on`,
      cause: error,
    },
  );
}

/** What libvirt says when a driver, a QEMU or a kind of disk has no backups. */
const NO_BACKUPS = /not supported|unsupported|does not support|not implemented/i;
/** `feature` of the error when another way may be taken. */
export const BACKUPS = "backups of running guests";

function notPossible(error: unknown, guest: Guest): unknown {
  if (!(error instanceof StorageError) || error.code !== "io" || !NO_BACKUPS.test(error.message)) return error;
  return new StorageError("unsupported", `libvirt cannot make a view of ${printable(guest.name)}: ${error.message}`, {
    layer: "libvirt",
    feature: BACKUPS,
    hint: "shut it down for the check (--shutdown); a guest on raw logical volumes of this host can be looked at with --via lvm-snapshot, as root",
    cause: error,
  });
}

/** The guest's backup is the one of this view. */
async function isOurs({ record }: StoredLive): Promise<boolean> {
  try {
    const xml = await virsh(["backup-dumpxml", `--domain=${record.uuid}`], { uri: record.uri, readOnly: true });
    return xml.includes(`${record.folder}/`);
  } catch (error) {
    if (error instanceof StorageError && error.code === "io") return false;
    throw error;
  }
}

async function abort({ record }: StoredLive): Promise<void> {
  await virsh(["domjobabort", `--domain=${record.uuid}`], { uri: record.uri });
}

/** Ends a view, ours or an abandoned one. Its note stays when libvirt does not do so: the next command tries again. */
async function endView(stored: StoredLive): Promise<void> {
  const { snapshots } = stored.record;
  if (snapshots !== undefined) for (const { group, name } of snapshots) await removeSnapshot(group, name);
  else if (await isOurs(stored)) await abort(stored);
  forgetLive(stored);
}

/** Ends what commands that were killed left behind; one line for each. Called by every command that has to do with guests. */
export async function recoverLiveViews(): Promise<string[]> {
  const lines: string[] = [];
  for (const stored of abandonedViews()) {
    const { guest, uuid, uri, folder } = stored.record;
    try {
      if (existsSync(join(folder, FROZEN))) await virsh(["domfsthaw", `--domain=${uuid}`], { uri });
      await endView(stored);
      lines.push(`a view of the guest ${printable(guest)} that was cut off is ended now`);
    } catch (error) {
      lines.push(`a view of the guest ${printable(guest)} that was cut off cannot be ended: ${describeError(error)}`);
    }
  }
  return lines;
}

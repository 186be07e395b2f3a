import type { FileResult, GuestFiles, HostReader } from "../audit/model.ts";
import { Cleanup } from "../core/cleanup.ts";
import { readBytes } from "../core/device.ts";
import { describeError, StorageError } from "../core/errors.ts";
import type { KeyProvider } from "../core/layer.ts";
import { DEFAULT_LIMITS } from "../core/limits.ts";
import { findPath, nameText } from "../extfs/path.ts";
import type { ExtVolume } from "../extfs/volume.ts";
import type { HostSource, RawFile } from "../host/audit-source.ts";
import { parseFstab } from "../host/mount-table.ts";
import { findVolume } from "../stack/selectors.ts";
import type { Tree, TreeNode, Volume } from "../stack/tree.ts";
import { findGuest } from "./guests.ts";
import { isExt, openFiles } from "./inside.ts";
import { openForInspection } from "./open-for-reading.ts";
import { volumeOf } from "./trim-inside.ts";

export interface InsideOptions {
  readonly keys: KeyProvider;
  readonly connect?: string | undefined;
  /** Running guests are read as they are in one instant, by a backup of libvirt's. */
  readonly live?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly note?: ((text: string) => void) | undefined;
}

/** Configuration is pages of text. */
const MAX_FILE = 1 << 20;
/** Which disk each volume of the guest's fstab is on; read by our own stack, and kept as evidence under this name. */
const VOLUMES = "/.volumes.json";
const PREFIX = /^vm:([^/]*):(\/.*)$/;

/** A path inside a guest, as evidence and records name it. */
function pathIn(guest: string, path: string): string {
  return `vm:${guest}:${path}`;
}

/** A host, and the files of guests of it that somebody asked for: paths as `vm:NAME:/etc/fstab`. Disposal closes the guests' disks. */
export class HostWithGuests implements HostSource, AsyncDisposable {
  readonly recorded = false;
  readonly #host: HostSource;
  readonly #options: InsideOptions;
  /** Guests by name, with the selector of the volume that has their /etc. */
  readonly #asked: ReadonlyMap<string, string | null>;
  readonly #opened = new Map<string, Promise<Opened | string>>();
  readonly #cleanup = new Cleanup();

  constructor(host: HostSource, asked: ReadonlyMap<string, string | null>, options: InsideOptions) {
    this.#host = host;
    this.#asked = asked;
    this.#options = options;
  }

  run(argv: readonly string[]) {
    return this.#host.run(argv);
  }

  stat(path: string) {
    return this.#host.stat(path);
  }

  head(path: string, length: number) {
    return this.#host.head(path, length);
  }

  real(path: string) {
    return this.#host.real(path);
  }

  async file(path: string): Promise<RawFile> {
    const [, guest, within = ""] = PREFIX.exec(path) ?? [];
    if (guest === undefined) return this.#host.file(path);
    const opened = await this.#open(guest);
    if (typeof opened === "string") return { kind: "unreadable", reason: opened };
    if (within === VOLUMES)
      return { kind: "bytes", bytes: Buffer.from(`${JSON.stringify(opened.volumes, null, 1)}\n`) };
    try {
      const inode = await findPath(opened.files, within, { followLast: true });
      if (inode.type !== "file") return { kind: "unreadable", reason: `it is a ${inode.type}` };
      const content = opened.files.content(inode);
      if (content.size > MAX_FILE) return { kind: "unreadable", reason: `it has more than ${MAX_FILE} bytes` };
      return { kind: "bytes", bytes: await readBytes(content, 0, content.size, { signal: this.#options.signal }) };
    } catch (error) {
      return notThere(error) ? { kind: "absent" } : { kind: "unreadable", reason: reasonOf(error) };
    }
  }

  async list(path: string): Promise<readonly string[] | null> {
    const [, guest, within = ""] = PREFIX.exec(path) ?? [];
    if (guest === undefined) return this.#host.list(path);
    const opened = await this.#open(guest);
    if (typeof opened === "string") return null;
    try {
      const inode = await findPath(opened.files, within, { followLast: true });
      if (inode.type !== "directory") return null;
      const names: string[] = [];
      for await (const entry of opened.files.entries(inode)) {
        const name = nameText(entry.name);
        if (name !== "." && name !== "..") names.push(name);
      }
      return names.sort();
    } catch (error) {
      reasonOf(error);
      return null;
    }
  }

  /** The opened guest, or why it cannot be read. */
  #open(guest: string): Promise<Opened | string> {
    const known = this.#opened.get(guest);
    if (known !== undefined) return known;
    const opening = this.#asked.has(guest)
      ? open(guest, this.#asked.get(guest) ?? null, this.#options, this.#cleanup).catch(reasonOf)
      : Promise.resolve("nobody asked for it");
    this.#opened.set(guest, opening);
    return opening;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled(this.#opened.values());
    await this.#cleanup[Symbol.asyncDispose]();
  }
}

interface Opened {
  readonly files: ExtVolume;
  readonly volumes: Readonly<Record<string, string | null>>;
}

async function open(name: string, selector: string | null, options: InsideOptions, cleanup: Cleanup): Promise<Opened> {
  const { keys, connect, signal, note } = options;
  const guest = await findGuest(name, { connect, signal });
  let sources = [`vm:${guest.uuid}`];
  if (guest.state !== "shut off") {
    if (!options.live)
      return Promise.reject(new StorageError("locked", `it is ${guest.state}; --live looks into it all the same`));
    // Loaded only here: most guests are off.
    const { openLiveView, recoverLiveViews } = await import("./live-view.ts");
    for (const line of await recoverLiveViews()) note?.(line);
    sources = [...cleanup.use(await openLiveView(guest, { quiesce: false, signal, note })).sources];
  }
  const { stack } = cleanup.use(await openForInspection({ sources, keys, connect, signal, note }));
  const disks = guest.domain.disks.filter(
    (d) => (d.device === "disk" || d.device === "lun") && d.place.kind !== "empty",
  );
  const target = (index: number) => {
    const said = stack.tree.roots[index]?.details.target;
    return typeof said === "string" ? said : (disks[index]?.target ?? null);
  };
  const { volume, files } = await rootOf(stack.tree, selector, { signal, note }, cleanup);
  const fstab = await readAll(files, "/etc/fstab");
  const volumes: Record<string, string | null> = { "/": diskUnder(stack.tree, volume, target) };
  for (const line of fstab.split("\n")) {
    const [entry] = parseFstab(line);
    if (entry === undefined) continue;
    const found = volumeOf(entry.what, stack.tree);
    // As it is written there: what is parsed has another form.
    volumes[line.trim().split(/\s/)[0] ?? ""] = found === null ? null : diskUnder(stack.tree, found, target);
  }
  return { files, volumes };
}

/** The named volume, else the first with an /etc/fstab. */
async function rootOf(
  tree: Tree,
  selector: string | null,
  options: Pick<InsideOptions, "signal" | "note">,
  cleanup: Cleanup,
): Promise<{ volume: Volume; files: ExtVolume }> {
  const open = (volume: Volume) => openFiles(volume, { limits: DEFAULT_LIMITS, ...options });
  if (selector !== null) {
    const volume = findVolume(tree, selector);
    return { volume, files: cleanup.use(await open(volume)) };
  }
  for (const volume of tree.volumes) {
    if (!isExt(volume) || !volume.readable) continue;
    const files = cleanup.use(await open(volume));
    if ((await readAll(files, "/etc/fstab")) !== "") return { volume, files };
  }
  const locked = tree.volumes.some((v) => v.kind === "locked");
  throw new StorageError(
    locked ? "key" : "unsupported",
    locked ? "it is encrypted, and no key was given" : "no /etc/fstab in an ext file system",
  );
}

/** The disk under a volume; null: it spans several. */
function diskUnder(tree: Tree, volume: Volume, target: (index: number) => string | null): string | null {
  const holds = (node: TreeNode): boolean => node.id === volume.node.id || node.children.some(holds);
  const group = tree.groups.find(holds);
  const members = group?.details.members;
  if (group === undefined || !Array.isArray(members)) return target(volume.node.source);
  const nodes: TreeNode[] = [];
  const collect = (node: TreeNode) => {
    if (members.includes(node.id)) nodes.push(node);
    node.children.forEach(collect);
  };
  tree.roots.forEach(collect);
  const targets = new Set(nodes.map((n) => target(n.source)));
  return targets.size === 1 ? ([...targets][0] ?? null) : null;
}

async function readAll(files: ExtVolume, path: string): Promise<string> {
  try {
    const inode = await findPath(files, path, { followLast: true });
    if (inode.type !== "file") return "";
    const content = files.content(inode);
    return Buffer.from(await readBytes(content, 0, Math.min(content.size, MAX_FILE))).toString("utf8");
  } catch (error) {
    if (notThere(error)) return "";
    throw error;
  }
}

function notThere(error: unknown): boolean {
  return error instanceof StorageError && error.code === "usage";
}

function reasonOf(error: unknown): string {
  if (!(error instanceof StorageError) || error.code === "cancelled") throw error;
  return describeError(error);
}

/** What a check reads inside a guest, through `host`: of a live host or of a record of one. */
export async function guestFiles(host: HostReader, guest: string): Promise<GuestFiles> {
  const volumes = await host.file(pathIn(guest, VOLUMES));
  const problem =
    volumes.kind === "unreadable" ? volumes.reason : volumes.kind === "absent" ? "it was not recorded" : null;
  const disks = volumes.kind === "text" ? disksOf(volumes.text) : new Map<string, string>();
  return {
    problem,
    file: (path): Promise<FileResult> => host.file(pathIn(guest, path)),
    list: (path) => host.list(pathIn(guest, path)),
    diskOf: (volume) => disks.get(volume) ?? null,
  };
}

function disksOf(text: string): ReadonlyMap<string, string> {
  try {
    const said: unknown = JSON.parse(text);
    return new Map(Object.entries(said as object).filter((e): e is [string, string] => typeof e[1] === "string"));
  } catch {
    return new Map();
  }
}

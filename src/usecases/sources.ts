import { borrowed } from "../core/borrowed.ts";
import { Cleanup } from "../core/cleanup.ts";
import type { BlockDevice } from "../core/device.ts";
import { StorageError } from "../core/errors.ts";
import type { FileDevice } from "../core/file-device.ts";
import type { ImageFormat, KeyProvider } from "../core/layer.ts";
import { DEFAULT_LIMITS, type Limits } from "../core/limits.ts";
import { refuseBlockDeviceInUse } from "../host/block-device.ts";
import { type OpenedSource, openSource } from "../host/open-source.ts";
import type { Run } from "../host/run.ts";
import { sourceIdentity } from "../host/source-identity.ts";
import { dataFileOf } from "../stack/data-files.ts";
import { PathGate } from "../stack/gate.ts";
import { openStack, type Stack, type StackOptions, type StackSource } from "../stack/resolver.ts";
import { findVolume } from "../stack/selectors.ts";
import type { Volume } from "../stack/tree.ts";
import { recoverSource } from "./recover.ts";
import { isNbd, refuseForeignNames } from "./source-names.ts";

/** What libvirt says of a source that is a guest's disk. */
export interface Declared {
  readonly guest: string;
  /** `vda` */
  readonly target: string;
  readonly format: "raw" | ImageFormat;
  /** The guest itself cannot write to it. */
  readonly readOnly: boolean;
  /** Images below it, topmost first, as far as libvirt names them; with `chainEnds` nothing else is there. */
  readonly backing: readonly { readonly path: string; readonly format: "raw" | ImageFormat }[];
  readonly chainEnds: boolean;
}

/** How the user named and qualified the sources. */
export interface SourceOptions {
  /** Paths, `nbd+unix:` URIs, and `vm:NAME` for the disks of a guest. */
  readonly sources: readonly string[];
  readonly keys: KeyProvider;
  readonly format?: "raw" | ImageFormat | undefined;
  readonly allowPath?: readonly string[] | undefined;
  readonly limits?: Limits | undefined;
  /** An internal snapshot, by name or id, to be read in place of the disk as it is now; all sources must have it, or the last image inside. */
  readonly snapshot?: string | undefined;
  /**
   * Images inside: `[SELECTOR:]/path` in a volume of the sources, which then is the source in their place; the next one lies in that.
   * For reading only.
   */
  readonly inside?: readonly string[] | undefined;
  /** The format of the last image inside, in place of looking at it. */
  readonly insideFormat?: "raw" | ImageFormat | undefined;
  /** Path of a detached LUKS header for the first source. */
  readonly header?: string | undefined;
  /** Of `vm:` only these disks (`vda`); default: all. */
  readonly guestDisks?: readonly string[] | undefined;
  /** libvirt's connection URI for `vm:`. */
  readonly connect?: string | undefined;
  /** The user says that nobody writes to what cannot be locked. */
  readonly iKnow?: boolean | undefined;
  /** By name of the source; made from `vm:`. */
  readonly declared?: ReadonlyMap<string, Declared> | undefined;
  /** Much will be read in order: large requests then go to the thread pool, so that one chunk is fetched while another is worked on. */
  readonly streaming?: boolean | undefined;
  /** Nothing is locked, so that a guest can be started meanwhile; `ReadStack.confirm` tells whether one was. */
  readonly look?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Messages for a person: a crashed run that was rolled back. */
  readonly note?: ((text: string) => void) | undefined;
}

/** Opened sources and the stack over them; disposal closes all, in reverse. */
export interface OpenedStack extends AsyncDisposable {
  readonly stack: Stack;
  /** The sources that are files and block devices, by their paths. */
  readonly files: readonly string[];
}

export interface ReadStack extends OpenedStack {
  /** Files that the images name and that were opened with them: backing and data files, extents. */
  readonly named: readonly string[];
  /** After a look: throws `locked` when something has written to a source since it was opened. */
  confirm(): void;
}

export interface WritableStack extends OpenedStack {
  readonly run: Run;
}

/** One disk under two names would show every volume of it twice, as a clone does. */
function refuseTwice(sources: readonly string[]): void {
  const local = sources.map((name) => (isNbd(name) ? { realpath: name } : sourceIdentity(name)));
  const again = local.findIndex((a, i) => local.findIndex((b) => b.realpath === a.realpath) !== i);
  if (again >= 0) throw new StorageError("usage", `${sources[again]} is named twice`, { layer: "file" });
}

/** A run that crashed while it changed one of the sources is rolled back before anything reads it. */
async function recover(options: SourceOptions): Promise<void> {
  const report = await recoverSource(options.sources.filter((s) => !isNbd(s)));
  if (!report) return;
  for (const finding of report.findings) options.note?.(`${finding.severity}: ${finding.message}`);
  for (const run of report.runs) {
    const about = `run ${run.run} (${run.verb} of ${run.sources.join(", ")}, ${run.started})`;
    if (run.outcome === "rolled-back")
      options.note?.(
        `${about} had been cut off in the middle of its commit; it was taken back: the disk is as before that`,
      );
    else if (run.outcome === "undo-completed")
      options.note?.(`the undo of ${about} had been cut off; it is complete now`);
    else if (run.outcome === "refused" || run.outcome === "blocked") {
      throw new StorageError(
        "locked",
        `${about} was cut off in the middle of its commit and cannot be taken back now: ${run.reason ?? "unknown"}`,
        {
          layer: "undo-log",
          hint: run.hint ?? `see: unterbau undo ${run.run}`,
        },
      );
    }
  }
}

/** A source for reading: locked in the shared form, refused while somebody writes to it. */
async function openForReading(
  name: string,
  options: SourceOptions & LocalOptions,
  cleanup: Cleanup,
): Promise<StackSource> {
  const format = formatOf(name, options);
  if (isNbd(name)) {
    // Loaded only here: most sources are files.
    const { openNbd, parseNbdUri } = await import("../nbd/client.ts");
    const { socketPath, exportName } = parseNbdUri(name);
    const device = cleanup.use(await openNbd({ socketPath, exportName }));
    return {
      name,
      kind: "nbd",
      path: null,
      device,
      format,
      details: { export: exportName, ...guestOf(name, options) },
    };
  }
  return localSource(name, cleanup.use(await openLocal(name, options)), format, guestOf(name, options));
}

interface LocalOptions extends Pick<SourceOptions, "streaming" | "look"> {
  /** Collects what was opened. */
  readonly looks?: OpenedSource[] | undefined;
}

async function openLocal(path: string, { streaming, look, looks }: LocalOptions): Promise<FileDevice> {
  const identity = sourceIdentity(path);
  if (identity.kind === "blockdev") refuseBlockDeviceInUse(identity.realpath);
  const opened = await openSource(identity, look ? "look" : "read", { background: streaming });
  looks?.push(opened);
  return opened.file;
}

/** The format that was said, by the user or by libvirt. */
function formatOf(name: string, { format, declared }: SourceOptions): "raw" | ImageFormat | null {
  return format ?? declared?.get(name)?.format ?? null;
}

function guestOf(name: string, { declared }: SourceOptions): { readonly guest?: string; readonly target?: string } {
  const disk = declared?.get(name);
  return disk ? { guest: disk.guest, target: disk.target } : {};
}

/** Images that libvirt itself names below a disk are the administrator's choice, not the image's. */
function gateFor({ allowPath = [], declared }: SourceOptions): PathGate {
  const images = [...(declared?.values() ?? [])].flatMap((d) => d.backing.map((b) => b.path));
  return new PathGate([...allowPath, ...images]);
}

/** `vm:NAME` becomes the guest's disks. */
export async function withDisks<T extends SourceOptions>(options: T, purpose: "read" | "write"): Promise<T> {
  if (!options.sources.some((s) => s.startsWith("vm:"))) return options;
  // Loaded only here: most sources are files.
  const { withGuests } = await import("./guest-sources.ts");
  return { ...options, ...(await withGuests(options, purpose)) };
}

/** Throws when images name other files below them than libvirt says: the guest would see other bytes than we do. */
async function confirmChains(options: SourceOptions, named: readonly string[]): Promise<void> {
  if (options.declared === undefined) return;
  const { refuseOtherChains } = await import("./guest-sources.ts");
  refuseOtherChains(options.declared, named);
}

function localSource(
  name: string,
  device: FileDevice,
  format: "raw" | ImageFormat | null,
  about: { readonly guest?: string; readonly target?: string },
): StackSource {
  const file = device.stat.isFile();
  return {
    name,
    kind: file ? "file" : "blockdev",
    path: name,
    device,
    format,
    details: { ...(file ? { allocatedBytes: device.stat.blocks * 512 } : {}), ...about },
  };
}

/** Opens sources for reading and the stack over them. A run that crashed on one of them is rolled back first. */
export async function openForInspection(given: SourceOptions): Promise<ReadStack> {
  const looks: OpenedSource[] = [];
  const options = { ...(await withDisks(given, "read")), looks };
  refuseForeignNames(options.sources);
  refuseTwice(options.sources);
  await recover(options);
  await using cleanup = new Cleanup();
  const sources: StackSource[] = [];
  for (const name of options.sources) sources.push(await openForReading(name, options, cleanup));
  const named: string[] = [];
  const way = { writable: false, gate: gateFor(options), named };
  const inside = options.inside ?? [];
  // A snapshot is one of the image that is looked at in the end.
  const snapshotOf = (image: number) => (image === inside.length ? options.snapshot : undefined);
  let stack = await stackOver(sources, way, { ...options, snapshot: snapshotOf(0) }, cleanup);
  await confirmChains(options, named);
  for (const [i, spec] of inside.entries()) {
    const { limits = DEFAULT_LIMITS, signal, note } = options;
    const format = i + 1 === inside.length ? (options.insideFormat ?? null) : null;
    // Loaded only here: most sources are files of the host.
    const { sourceInside } = await import("./inside.ts");
    const source = await sourceInside(stack, spec, { limits, format, signal, note }, cleanup);
    stack = await stackOver([source], way, { ...options, header: undefined, snapshot: snapshotOf(i + 1) }, cleanup);
  }
  const confirm = () => {
    for (const look of looks) look.confirm();
  };
  const files = options.sources.filter((name) => !isNbd(name));
  return { stack, files, named, confirm, ...owning(cleanup) };
}

/**
 * Opens sources for writing: exclusively locked, every change buffered until the run commits it through its undo log.
 * Disposal ends the run; what was not committed is forgotten.
 */
export async function openForWriting(
  given: SourceOptions,
  verb: string,
  tools?: { readonly [name: string]: string },
): Promise<WritableStack> {
  const options = await withDisks(given, "write");
  refuseForeignNames(options.sources);
  refuseInside(options);
  const nbd = options.sources.find(isNbd);
  if (nbd !== undefined) {
    throw new StorageError("unsupported", `${nbd}: an NBD source can be read only`, {
      layer: "nbd",
      feature: "writing to an NBD source",
      hint: "an undo log needs a source that can be locked: name the image file or block device itself",
    });
  }
  if (options.snapshot !== undefined) {
    throw new StorageError("unsupported", "an internal snapshot can be read only", {
      layer: "qcow2",
      feature: "writing to an internal snapshot",
      hint: "copy it out first: qemu-img convert -l SNAPSHOT -O qcow2 IMAGE NEW",
    });
  }
  await recover(options);
  await using cleanup = new Cleanup();
  const gate = gateFor(options);
  const dataFiles = await dataFilesOf(options, gate);
  // What holds the data of an image is a source of the run like the image itself: locked, logged and undone with it.
  const named = [...options.sources, ...dataFiles];
  await refuseOverlaysOn(named, options);
  // Loaded only here, as is all that writes.
  const { openRun } = await import("../host/run.ts");
  const run = cleanup.use(await openRun({ verb, sources: named.map((path) => ({ path })), tools }));
  const sources = options.sources.map((name, i): StackSource => {
    const { kind } = sourceIdentity(name);
    const format = formatOf(name, options);
    return { name, kind, path: name, device: run.device(i), format, details: guestOf(name, options) };
  });
  const openDataFile = async (path: string): Promise<BlockDevice> => {
    const index = dataFiles.indexOf(path);
    if (index >= 0) return borrowed(run.device(options.sources.length + index));
    throw new StorageError("io", `an image names ${path} as its data file since a moment ago`, {
      layer: "qcow2",
      hint: "something else writes to the image: end that, then repeat",
    });
  };
  const below: string[] = [];
  const stack = await stackOver(sources, { writable: true, gate, named: below, openDataFile }, options, cleanup);
  await confirmChains(options, [...below, ...dataFiles]);
  return { stack, files: options.sources, run, ...owning(cleanup) };
}

/** What an image shows that was made on top of one of these would not fit together any more. */
async function refuseOverlaysOn(paths: readonly string[], options: SourceOptions): Promise<void> {
  const { overlaysOn, refuseOverlays } = await import("./overlays.ts");
  const below = paths.map((path) => sourceIdentity(path));
  if (options.iKnow) {
    const { found } = await overlaysOn(below, options);
    for (const { path, below } of found)
      options.note?.(`the image ${path} lies on ${below}: what it shows does not fit together any more after a change`);
    return;
  }
  const hint = "name that image itself, so that changes go into it; or --i-know, when it may be lost";
  await refuseOverlays(below, ": a change below would break what it shows", hint, options);
}

/** Real paths of the data files of the sources. */
async function dataFilesOf(options: SourceOptions, gate: PathGate): Promise<string[]> {
  const found: string[] = [];
  for (const name of options.sources) {
    await using cleanup = new Cleanup();
    const source = await openForReading(name, options, cleanup);
    const path = await dataFileOf(source, gate, options.limits ?? DEFAULT_LIMITS);
    if (path !== null) found.push(path);
  }
  return found;
}

interface Way {
  readonly writable: boolean;
  readonly gate: PathGate;
  /** Collects what images name. */
  readonly named?: string[] | undefined;
  readonly openDataFile?: ((path: string) => Promise<BlockDevice>) | undefined;
}

/** Writing through a file system that is not mounted would need its allocator, its journal and its locks. */
function refuseInside(options: SourceOptions): void {
  if (options.inside === undefined || options.inside.length === 0) return;
  throw new StorageError("unsupported", "an image inside a volume is only read", {
    layer: "ext",
    feature: "writing with --inside",
    hint: "copy the image out (unterbau cp), work on the copy, and put it back where the volume is mounted; or run it on the machine that mounts the volume, on the image file itself",
  });
}

/** The stack over opened sources, with everything that must be closed after it in `cleanup`. */
async function stackOver(
  sources: readonly StackSource[],
  way: Way,
  options: SourceOptions & LocalOptions,
  cleanup: Cleanup,
): Promise<Stack> {
  const detachedHeader: BlockDevice | undefined =
    options.header === undefined ? undefined : cleanup.use(await openLocal(options.header, options));
  const stack = await openStack(sources, {
    ...way,
    keys: options.keys,
    limits: options.limits ?? DEFAULT_LIMITS,
    openFile: (path) => {
      way.named?.push(path);
      return openLocal(path, options);
    },
    formatOf: declaredFormats(options),
    snapshot: options.snapshot,
    detachedHeader,
    signal: options.signal,
  });
  return cleanup.use(stack);
}

function declaredFormats({ declared }: SourceOptions): StackOptions["formatOf"] {
  if (declared === undefined) return undefined;
  const images = [...declared.values()].flatMap((d) => d.backing);
  return (path) => images.find((image) => sourceIdentity(image.path).realpath === path)?.format ?? null;
}

function owning(cleanup: Cleanup): AsyncDisposable {
  const owned = cleanup.move();
  return { [Symbol.asyncDispose]: () => owned[Symbol.asyncDispose]() };
}

/** A volume whose bytes can be read. Throws `usage` for an unknown name, `key` for a locked one, `unsupported` for one that cannot be opened. */
export function readableVolume(stack: Stack, selector: string): Volume & { readonly device: BlockDevice } {
  const volume = findVolume(stack.tree, selector);
  if (volume.device === null || !volume.readable) {
    // What is refused by name is "locked" as well, but no key opens it.
    const locked = volume.kind === "locked" && volume.node.details.lockCode !== "unsupported";
    throw new StorageError(
      locked ? "key" : "unsupported",
      `${volume.selector} cannot be read: ${volume.reason ?? "it has no content"}`,
      {
        layer: volume.node.kind,
        hint: locked ? "give a key with --key-file, or run it in a terminal and type the passphrase" : undefined,
      },
    );
  }
  return { ...volume, device: volume.device };
}

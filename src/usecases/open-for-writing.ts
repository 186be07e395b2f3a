import { borrowed } from "../core/borrowed.ts";
import { Cleanup } from "../core/cleanup.ts";
import type { BlockDevice } from "../core/device.ts";
import { StorageError } from "../core/errors.ts";
import { DEFAULT_LIMITS } from "../core/limits.ts";
import type { Run } from "../host/run.ts";
import { sourceIdentity } from "../host/source-identity.ts";
import { dataFileOf } from "../stack/data-files.ts";
import type { PathGate } from "../stack/gate.ts";
import type { StackSource } from "../stack/source.ts";
import { confirmChains, withDisks } from "./guest-disks.ts";
import { recoverFirst } from "./recover-first.ts";
import { isNbd, refuseForeignNames } from "./source-names.ts";
import { formatOf, gateFor, guestOf, type SourceOptions } from "./source-options.ts";
import { type OpenedStack, openSourceForReading, owning, stackOver } from "./source-stack.ts";

export interface WritableStack extends OpenedStack {
  readonly run: Run;
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
  await recoverFirst(options);
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

/** Writing through a file system that is not mounted would need its allocator, its journal and its locks. */
function refuseInside(options: SourceOptions): void {
  if (options.inside === undefined || options.inside.length === 0) return;
  throw new StorageError("unsupported", "an image inside a volume is only read", {
    layer: "ext",
    feature: "writing with --inside",
    hint: "copy the image out (unterbau cp), work on the copy, and put it back where the volume is mounted; or run it on the machine that mounts the volume, on the image file itself",
  });
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
    const source = await openSourceForReading(name, options, cleanup);
    const path = await dataFileOf(source, gate, options.limits ?? DEFAULT_LIMITS);
    if (path !== null) found.push(path);
  }
  return found;
}

import type { Cleanup } from "../core/cleanup.ts";
import type { BlockDevice } from "../core/device.ts";
import type { FileDevice } from "../core/file-device.ts";
import type { ImageFormat } from "../core/layer.ts";
import { DEFAULT_LIMITS } from "../core/limits.ts";
import { refuseBlockDeviceInUse } from "../host/block-device.ts";
import { type OpenedSource, openSource } from "../host/open-source.ts";
import { sourceIdentity } from "../host/source-identity.ts";
import type { PathGate } from "../stack/gate.ts";
import { openStack, type Stack } from "../stack/resolver.ts";
import type { StackSource } from "../stack/source.ts";
import { isNbd } from "./source-names.ts";
import { declaredFormats, formatOf, guestOf, type SourceOptions } from "./source-options.ts";

/** Opened sources and the stack over them; disposal closes all, in reverse. */
export interface OpenedStack extends AsyncDisposable {
  readonly stack: Stack;
  /** The sources that are files and block devices, by their paths. */
  readonly files: readonly string[];
}

/** A source for reading: locked in the shared form, refused while somebody writes to it. */
export async function openSourceForReading(
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

/** How files and block devices are opened for reading. */
export interface LocalOptions extends Pick<SourceOptions, "streaming" | "look"> {
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

/** What may be opened besides the sources, and how. */
export interface Way {
  readonly writable: boolean;
  readonly gate: PathGate;
  /** Collects what images name. */
  readonly named?: string[] | undefined;
  readonly openDataFile?: ((path: string) => Promise<BlockDevice>) | undefined;
}

/** The stack over opened sources, with everything that must be closed after it in `cleanup`. */
export async function stackOver(
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

/** Takes all of `cleanup` over, for something that is disposed of later. */
export function owning(cleanup: Cleanup): AsyncDisposable {
  const owned = cleanup.move();
  return { [Symbol.asyncDispose]: () => owned[Symbol.asyncDispose]() };
}

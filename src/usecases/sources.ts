import { statSync } from "node:fs";
import { Cleanup } from "../core/cleanup.ts";
import type { BlockDevice } from "../core/device.ts";
import { ioError, StorageError } from "../core/errors.ts";
import { openFileDevice } from "../core/file-device.ts";
import type { KeyProvider } from "../core/layer.ts";
import { DEFAULT_LIMITS, type Limits } from "../core/limits.ts";
import { blockDeviceInUse, blockDeviceSize, blockSectorSize } from "../host/block-devices.ts";
import { systemHoles } from "../host/holes.ts";
import { lockSource } from "../host/locks.ts";
import { openNbd, parseNbdUri } from "../nbd/client.ts";
import { PathGate } from "../stack/gate.ts";
import { openStack, type Stack, type StackSource } from "../stack/resolver.ts";
import { findVolume } from "../stack/selectors.ts";
import type { Volume } from "../stack/tree.ts";
import { recoverSources } from "./recover.ts";

/** How the user named and qualified the sources. */
export interface SourceOptions {
  readonly sources: readonly string[];
  readonly keys: KeyProvider;
  readonly format?: "raw" | "qcow2" | undefined;
  readonly allowPath?: readonly string[] | undefined;
  readonly limits?: Limits | undefined;
  /** Path of a detached LUKS header for the first source. */
  readonly header?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Messages for a person: a crashed run that was rolled back. */
  readonly note?: ((text: string) => void) | undefined;
}

/** Opened sources and the stack over them; disposal closes all, in reverse. */
export interface OpenedStack extends AsyncDisposable {
  readonly stack: Stack;
}

export function isNbd(source: string): boolean {
  return source.startsWith("nbd+unix:");
}

/** What a bottom device is, before anything opens it. */
export function sourceKind(path: string): "file" | "blockdev" {
  try {
    const stat = statSync(path);
    if (stat.isBlockDevice()) return "blockdev";
    if (stat.isFile()) return "file";
  } catch (error) {
    throw ioError(error, `cannot open ${path}`, { layer: "file", hint: "check the path" });
  }
  throw new StorageError("usage", `${path} is neither a regular file nor a block device`, { layer: "file" });
}

/** A source for reading: locked in the shared form, refused while somebody writes to it. */
async function openForReading(name: string, options: SourceOptions, cleanup: Cleanup): Promise<StackSource> {
  const format = options.format ?? null;
  if (name.startsWith("vm:")) {
    throw new StorageError("unsupported", "guests by name (vm:) are not supported yet", {
      layer: "libvirt",
      feature: "vm:",
      hint: "name the guest's image files or block devices (virsh domblklist shows them)",
    });
  }
  if (isNbd(name)) {
    const { socketPath, exportName } = parseNbdUri(name);
    const device = cleanup.use(await openNbd({ socketPath, exportName }));
    return { name, kind: "nbd", path: null, device, format, details: { export: exportName } };
  }
  const kind = sourceKind(name);
  if (kind === "blockdev") {
    const used = blockDeviceInUse(name);
    if (used) throw new StorageError("locked", `${name} is in use on this host: ${used}`, { layer: "blockdev", hint: "shut the guest off, or unmount it, and repeat" });
  }
  const size = kind === "blockdev" ? { size: blockDeviceSize(name), sectorSize: blockSectorSize(name) } : {};
  const device = openFileDevice(name, { ...size, holes: systemHoles() });
  cleanup.use(device);
  cleanup.use(lockSource(device.fd, name, "read"));
  return { name, kind, path: name, device, format, details: detailsOf(kind, device.stat.blocks * 512) };
}

export function detailsOf(kind: "file" | "blockdev", allocatedBytes: number): StackSource["details"] {
  return kind === "file" ? { allocatedBytes } : {};
}

/** Opens sources for reading and the stack over them. A run that crashed on one of them is rolled back first. */
export async function openForInspection(options: SourceOptions): Promise<OpenedStack> {
  const files = options.sources.filter((s) => !isNbd(s) && !s.startsWith("vm:"));
  for (const report of await recoverSources(files)) options.note?.(report);
  await using cleanup = new Cleanup();
  const sources: StackSource[] = [];
  for (const name of options.sources) sources.push(await openForReading(name, options, cleanup));
  return adopt(await stackOver(sources, false, options, cleanup), cleanup);
}

/** The stack over opened sources, with everything that must be closed after it in `cleanup`. */
export async function stackOver(sources: readonly StackSource[], writable: boolean, options: SourceOptions, cleanup: Cleanup): Promise<Stack> {
  const detachedHeader: BlockDevice | undefined = options.header === undefined ? undefined : cleanup.use(openFileDevice(options.header));
  const stack = await openStack(sources, {
    writable,
    keys: options.keys,
    limits: options.limits ?? DEFAULT_LIMITS,
    gate: new PathGate(options.allowPath),
    detachedHeader,
    signal: options.signal,
  });
  return cleanup.use(stack);
}

function adopt(stack: Stack, cleanup: Cleanup): OpenedStack {
  const owned = cleanup.move();
  return { stack, [Symbol.asyncDispose]: () => owned[Symbol.asyncDispose]() };
}

/** A volume whose bytes can be read. Throws `usage` for an unknown name, `key` for a locked one, `unsupported` for one that cannot be opened. */
export function readableVolume(stack: Stack, selector: string): Volume & { readonly device: BlockDevice } {
  const volume = findVolume(stack.tree, selector);
  if (volume.device === null || !volume.readable) {
    const locked = volume.kind === "locked";
    throw new StorageError(locked ? "key" : "unsupported", `${volume.selector} cannot be read: ${volume.reason ?? "it has no content"}`, {
      layer: volume.node.kind,
      hint: locked ? "give a key with --key-file, or run it in a terminal and type the passphrase" : undefined,
    });
  }
  return { ...volume, device: volume.device };
}

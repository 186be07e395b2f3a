import type { Cleanup } from "../core/cleanup.ts";
import { StorageError } from "../core/errors.ts";
import type { ImageFormat } from "../core/layer.ts";
import type { Limits } from "../core/limits.ts";
import { findPath, nameText } from "../extfs/path.ts";
import { type ExtVolume, openExt } from "../extfs/volume.ts";
import { detectImage } from "../stack/images.ts";
import type { Stack } from "../stack/resolver.ts";
import { findVolume } from "../stack/selectors.ts";
import type { StackSource } from "../stack/source.ts";
import type { Volume } from "../stack/tree.ts";

/** What `--inside` is opened with. */
export interface InsideOptions {
  readonly limits: Limits;
  /** Null: look at the file, which is done because the user named it as an image. */
  readonly format: "raw" | ImageFormat | null;
  readonly signal?: AbortSignal | undefined;
  readonly note?: ((text: string) => void) | undefined;
}

const EXT = ["ext2", "ext3", "ext4"];

/**
 * The file that `spec` (`[SELECTOR:]/path`) names in a volume of the stack, as a source for the next stack. What was opened for it is in
 * `cleanup`. Throws `usage` when it is not there or no regular file.
 */
export async function sourceInside(
  stack: Stack,
  spec: string,
  options: InsideOptions,
  cleanup: Cleanup,
): Promise<StackSource> {
  const { volume, path } = placeOf(stack, spec);
  const files = cleanup.use(await openFiles(volume, options));
  const inode = await findPath(files, path, { followLast: true });
  if (inode.type !== "file") {
    throw new StorageError("usage", `${path} in ${volume.selector} is a ${inode.type}, and no image`, { layer: "ext" });
  }
  const device = cleanup.use(files.content(inode));
  const format = options.format ?? (await detectImage(device))?.name ?? "raw";
  if (options.format === null) {
    options.note?.(`${path} in ${volume.selector} is taken as ${format}; --inside-format says it otherwise`);
  }
  return {
    name: path,
    kind: "file",
    // It may name no other file: neither one of the host nor, so far, one beside it.
    path: null,
    device,
    format: format as StackSource["format"],
    details: { allocatedBytes: inode.allocatedBytes, inside: volume.selector },
  };
}

/** Opens the files of a volume, for reading. Throws `key`, `unsupported` or `usage` for a volume that is no readable ext file system. */
export async function openFiles(
  volume: Volume,
  options: Pick<InsideOptions, "limits" | "signal" | "note">,
): Promise<ExtVolume> {
  if (volume.device === null || !volume.readable) {
    const locked = volume.kind === "locked";
    throw new StorageError(
      locked ? "key" : "unsupported",
      `${volume.selector} cannot be read: ${volume.reason ?? "it has no content"}`,
      {
        layer: volume.node.kind,
        hint: locked ? "give a key with --key-file, or run it in a terminal and type the passphrase" : undefined,
      },
    );
  }
  if (!isExt(volume)) throw refuseFiles(volume, "read");
  const files = await openExt(volume.device, options);
  for (const note of files.notes) options.note?.(`${volume.selector}: ${note}`);
  return files;
}

export function isExt({ type }: Volume): boolean {
  return type !== null && EXT.includes(type);
}

/** What is said of a volume whose files are not `done` here, by the name of its file system. */
export function refuseFiles({ type, node, selector }: Volume, done: "read" | "mounted"): StorageError {
  const what = type ?? "no file system that is known";
  const message = `files are ${done} from ext2, ext3 and ext4; ${selector} holds ${what}`;
  return new StorageError("unsupported", message, {
    layer: node.kind,
    feature: `files in ${type ?? "an unknown file system"}`,
    hint: "unterbau export --nbd hands the volume to guestfish or another program that reads it",
  });
}

/** Splits at the first `:/`, unless what stands before it is no volume and all of it is a path. Without a selector: the only ext volume. */
function placeOf(stack: Stack, spec: string): { volume: Volume; path: string } {
  const colon = spec.indexOf(":/");
  if (colon > 0) {
    try {
      return { volume: findVolume(stack.tree, spec.slice(0, colon)), path: spec.slice(colon + 1) };
    } catch (error) {
      if (!spec.startsWith("/") || !(error instanceof StorageError) || error.code !== "usage") throw error;
    }
  }
  if (!spec.startsWith("/")) {
    throw new StorageError("usage", `--inside ${spec} is not understood`, {
      hint: "it is written [SELECTOR:]/path/of/image, for example lvg1/lvroot:/var/lib/images/os43.qcow2",
    });
  }
  const candidates = stack.tree.volumes.filter((v) => v.type !== null && EXT.includes(v.type));
  if (candidates.length === 1) return { volume: candidates[0]!, path: spec };
  const locked = stack.tree.volumes.find((v) => v.kind === "locked");
  if (candidates.length === 0 && locked) return { volume: locked, path: spec };
  throw new StorageError("usage", `${nameText(Buffer.from(spec))} could lie in ${candidates.length} volumes`, {
    hint:
      candidates.length === 0
        ? "there is no ext file system in it; see: unterbau inspect"
        : `say in which: ${candidates.map((v) => `${v.selector}:${spec}`).join(", ")}`,
  });
}

import { realpathSync } from "node:fs";
import type { BlockDevice } from "../core/device.ts";
import { StorageError } from "../core/errors.ts";
import type { ImageFormat, KeyProvider, LayerDriver, LayerName, OpenContext } from "../core/layer.ts";
import type { Limits } from "../core/limits.ts";
import { owningDevice } from "./backing.ts";
import type { PathGate } from "./gate.ts";
import { IMAGE_DRIVERS } from "./registry.ts";
import { probeWindow } from "./window.ts";

/** What layers get from the user of the stack. */
export interface ContextOptions {
  readonly writable: boolean;
  readonly keys: KeyProvider;
  readonly limits: Limits;
  readonly gate: PathGate;
  /** Opens a file that an image names and the gate allowed, for reading, with whatever locks the host wants. */
  readonly openFile: (path: string) => Promise<BlockDevice>;
  /** The format of a backing image, by its real path, where somebody else than the image above it says it; null: nobody does. */
  readonly formatOf?: ((path: string) => "raw" | ImageFormat | null) | undefined;
  /** Opens the data file of an image that is written to, by its real path, for writing. Absent: data files are opened for reading. */
  readonly openDataFile?: ((path: string) => Promise<BlockDevice>) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** An image whose references to other files are to be opened. */
export interface ImagePlace {
  /** Relative names start at this file's folder. Null: it came over the network or lies in another layer, and may name nothing. */
  readonly path: string | null;
  readonly layer: LayerName;
  /** Images that were opened because one named the next. */
  readonly depth: number;
  /**
   * That this is an image was concluded from its first bytes alone, which a guest may have written: it may name only what the user
   * named as well (`--allow-path`). Else a guest could read a neighbour's disk, which lies in the same folder.
   */
  readonly guessed?: boolean | undefined;
  /** Real paths of those images and of this one. */
  readonly chain?: readonly string[] | undefined;
}

/** Names that other programs write for a format, as in qcow2's header extension "backing file format". */
const ALIASES: Readonly<Record<string, string>> = { vpc: "vhd" };

/** The driver of an image format by its name. Throws `unsupported` with the formats that there are. */
export function imageDriver(format: string, layer?: LayerName): LayerDriver {
  const name = Object.hasOwn(ALIASES, format) ? ALIASES[format] : format;
  const driver = IMAGE_DRIVERS.find((d) => d.name === name);
  if (driver) return driver;
  throw new StorageError("unsupported", `images of format ${format} are not supported`, {
    layer,
    feature: `image format ${format}`,
    hint: `these are: raw, ${IMAGE_DRIVERS.map((d) => d.name).join(", ")}`,
  });
}

/** The driver whose format the file has, or null for raw. Whoever calls this must be sure that no guest chose the file's first bytes. */
export async function detectImage(file: BlockDevice): Promise<LayerDriver | null> {
  const window = probeWindow(file);
  for (const driver of IMAGE_DRIVERS) if (await driver.probe(window)) return driver;
  return null;
}

/** Endings by which the host's administrator says that a file is an image. `.img` and none at all say nothing: raw disks have them. */
const ENDINGS: Readonly<Record<string, RegExp>> = {
  qcow2: /\.qcow2?$/i,
  vmdk: /\.vmdk$/i,
  vdi: /\.vdi$/i,
  vhd: /\.(vhd|vpc)$/i,
  vhdx: /\.vhdx$/i,
};

/** Whether a file's own name says that it is an image of this driver's format. */
export function namedAsImage(name: string, driver: LayerDriver): boolean {
  return ENDINGS[driver.name]?.test(name) ?? false;
}

/** The context for a layer that lies in no image file, or whose references are not to be followed. */
export function layerContext(options: ContextOptions, layer: LayerName, detachedHeader?: BlockDevice): OpenContext {
  return { ...imageContext(options, { path: null, layer, depth: 0 }), ...(detachedHeader ? { detachedHeader } : {}) };
}

/** The context for an image: what it names is opened through the path gate, for reading, and so on down the chain. */
export function imageContext(options: ContextOptions, place: ImagePlace): OpenContext {
  const { writable, keys, limits, signal, gate, openFile, openDataFile } = options;
  const { layer, depth } = place;
  const chain = place.chain ?? (place.path === null ? [] : [realPath(place.path)]);
  const locate = (reference: string): { readonly real: string; readonly named: string } => {
    if (place.path === null) {
      throw new StorageError("gate", `an image that is not a file itself names the file ${reference}`, { layer });
    }
    const found = gate.locate(reference, place.path, layer);
    if (place.guessed && !gate.trusts(found.real)) {
      throw new StorageError(
        "gate",
        `the file ${reference} is named by what looks like a ${layer} image, but a guest may have written that`,
        {
          layer,
          hint: `if it is an image and no raw disk of a guest, say so: --format ${layer}`,
        },
      );
    }
    if (!chain.includes(found.real)) return found;
    throw new StorageError("corrupt", `the image needs ${reference}, which is the image itself or needs it in turn`, {
      layer,
      hint: "`qemu-img rebase -u -F FORMAT -b FILE IMAGE` names another backing file",
    });
  };
  return {
    writable,
    keys,
    limits,
    signal,
    async unlockHeader(header) {
      const { unlockEmbedded } = await import("../layers/luks/embedded.ts");
      return unlockEmbedded(header, { keys, limits, signal });
    },
    openDataFile: async (reference) => (writable && openDataFile ? openDataFile : openFile)(locate(reference).real),
    async openImage(reference, said) {
      if (depth >= limits.backingDepth) {
        throw new StorageError("limit", `the backing chain is longer than ${limits.backingDepth} images`, {
          layer,
          hint: "raise it with --limit backingDepth=N",
        });
      }
      const path = locate(reference);
      const format = options.formatOf?.(path.real) ?? said;
      const named = format === null || format === "raw" ? null : imageDriver(format, layer);
      const file = await openFile(path.real);
      try {
        const driver = format === null ? await detectImage(file) : named;
        if (driver === null) return file;
        const below = imageContext(
          { ...options, writable: false },
          { path: path.named, layer: driver.name, depth: depth + 1, chain: [...chain, path.real] },
        );
        return await owningDevice(await driver.open([file], below), file);
      } catch (error) {
        await file[Symbol.asyncDispose]();
        throw error;
      }
    },
  };
}

function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

import { checked } from "../core/checked.ts";
import type { BlockDevice } from "../core/device.ts";
import { StorageError } from "../core/errors.ts";
import type { Layer } from "../core/layer.ts";

/** The content of an image that owns the layer and the file it lies in. */
export async function owningDevice(layer: Layer, file: BlockDevice): Promise<BlockDevice> {
  const child = layer.children[0];
  if (!child || layer.locked) {
    throw new StorageError("unsupported", layer.locked?.reason ?? "the image has no content", {
      layer: layer.info.kind,
    });
  }
  const inner = await child.open();
  const outer: BlockDevice = {
    size: inner.size,
    caps: inner.caps,
    read: (into, offset, options) => inner.read(into, offset, options),
    write: (from, offset, options) => inner.write(from, offset, options),
    zero: (offset, length, options) => inner.zero(offset, length, options),
    discard: (offset, length) => inner.discard(offset, length),
    extents: (offset, length, options) => inner.extents(offset, length, options),
    flush: () => inner.flush(),
    async [Symbol.asyncDispose]() {
      await inner[Symbol.asyncDispose]();
      await layer[Symbol.asyncDispose]();
      await file[Symbol.asyncDispose]();
    },
  };
  return checked(outer, layer.info.kind);
}

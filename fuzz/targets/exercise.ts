import { type BlockDevice, readBytes } from "../../src/core/device.ts";
import { StorageError } from "../../src/core/errors.ts";
import type { Layer } from "../../src/core/layer.ts";

const HEAD = 8 * 1024;
const MAX_EXTENTS = 2000;
const MAX_CHILDREN = 8;
/** Parts of the size at which a device is looked at as well. */
const PLACES = [0.25, 0.5, 0.51, 0.99];

/** Everything that a reader of a layer does; errors of one child do not keep the others from being tried. */
export async function exerciseLayer(layer: Layer, write: boolean): Promise<void> {
  JSON.stringify(layer.info);
  for (const child of layer.children.slice(0, MAX_CHILDREN)) {
    JSON.stringify(child.info);
    if (child.unavailable !== null || !child.hasContent) continue;
    await tolerant(async () => {
      const device = await child.open();
      try {
        await exerciseDevice(device, write);
      } finally {
        await device[Symbol.asyncDispose]();
      }
    });
  }
}

/** Reads here and there, walks the extents, and perhaps writes. */
export async function exerciseDevice(device: BlockDevice, write: boolean): Promise<void> {
  const { size } = device;
  const at = (part: number, length: number): number => Math.max(0, Math.min(Math.floor(size * part), size - length));
  await tolerant(() => readBytes(device, 0, Math.min(HEAD, size)));
  for (const place of [...PLACES, 1]) await tolerant(() => readBytes(device, at(place, 512), Math.min(512, size)));
  await tolerant(() => walkExtents(device));
  if (!write || !device.caps.writable || size < 8192) return;
  const some = new Uint8Array(4097).fill(0x5a);
  for (const place of PLACES) await tolerant(() => device.write(some, at(place, some.length)));
  await tolerant(() => device.zero(at(0.5, 8192), 8192));
  await tolerant(() => device.discard(at(0.25, 8192), 8192));
  await tolerant(() => device.flush());
  await tolerant(() => readBytes(device, 0, Math.min(HEAD, size)));
}

/** Extents must tile what was asked for: half-open, ascending, without a gap. */
async function walkExtents(device: BlockDevice): Promise<void> {
  let next = 0;
  let count = 0;
  for await (const extent of device.extents(0, device.size)) {
    if (extent.offset !== next || extent.length <= 0) {
      throw new Error(`an extent at ${extent.offset} of ${extent.length} bytes, where ${next} is due`);
    }
    next = extent.offset + extent.length;
    if (++count >= MAX_EXTENTS) return;
  }
  if (next !== device.size) throw new Error(`the extents end at ${next} of ${device.size}`);
}

export async function tolerant(work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof StorageError)) throw error;
  }
}

import type { BlockDevice } from "../../src/core/device.ts";

/** `device` with some of its methods replaced: for devices that fail or never answer. */
export function altered(
  device: BlockDevice,
  replaced: Partial<Pick<BlockDevice, "read" | "write" | "extents" | "flush">>,
): BlockDevice {
  return {
    size: device.size,
    caps: device.caps,
    read: (into, offset, options) => device.read(into, offset, options),
    write: (from, offset, options) => device.write(from, offset, options),
    zero: (offset, length, options) => device.zero(offset, length, options),
    discard: (offset, length) => device.discard(offset, length),
    extents: (offset, length, options) => device.extents(offset, length, options),
    flush: () => device.flush(),
    [Symbol.asyncDispose]: () => device[Symbol.asyncDispose](),
    ...replaced,
  };
}

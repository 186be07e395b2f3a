import type { BlockDevice } from "./device.ts";

/** The same device for somebody who disposes of what he opens, but did not open this one: disposal flushes and leaves it open. */
export function borrowed(device: BlockDevice): BlockDevice {
  const view: BlockDevice = {
    get size() {
      return device.size;
    },
    caps: device.caps,
    read: (into, offset, options) => device.read(into, offset, options),
    write: (from, offset, options) => device.write(from, offset, options),
    zero: (offset, length, options) => device.zero(offset, length, options),
    discard: (offset, length) => device.discard(offset, length),
    extents: (offset, length, options) => device.extents(offset, length, options),
    flush: () => device.flush(),
    async [Symbol.asyncDispose]() {
      if (device.caps.writable) await device.flush();
    },
  };
  if (device.prefetch) view.prefetch = (offset, length) => device.prefetch!(offset, length);
  if (device.resize) view.resize = (size) => device.resize!(size);
  return view;
}

import { checked } from "./checked.ts";
import type { BlockDevice, Capabilities } from "./device.ts";
import { fromMapping } from "./mapping.ts";

/**
 * `length` bytes of `device` from `offset`, as a device of its own. Disposing of the slice leaves `device` open.
 * Alignment stays the parent's only when the slice itself lies on it; otherwise the parent's own wrapper does the bouncing.
 * `caps` narrows what it can do (`writable: false`).
 */
export function slice(
  device: BlockDevice,
  offset: number,
  length: number,
  layer: string,
  caps: Partial<Capabilities> = {},
): BlockDevice {
  return checked(
    fromMapping({
      size: length,
      caps: { ...device.caps, ...caps, alignment: 1 },
      layer,
      map: () => [{ offset: 0, length, kind: "data", device, at: offset }],
      below: [device],
    }),
    layer,
  );
}

import { type BlockDevice, readBytes } from "../core/device.ts";
import { StorageError } from "../core/errors.ts";
import type { ProbeWindow } from "../core/layer.ts";

/** Bytes that all probes of one device may read together; libblkid needs about 1 MiB for its furthest magic. */
const BUDGET = 4 * 1024 * 1024;
/** Read granularity: probes ask for a few bytes here and there, mostly in the first and last KiB. */
const PAGE = 4096;
/** The first pages are read in one request: nearly every probe looks there. */
const HEAD = 5 * PAGE;

/** A bounded, caching sight of a device: every page is read once however many probes look at it. */
export function probeWindow(device: BlockDevice): ProbeWindow {
  const pages = new Map<number, Uint8Array>();
  let spent = 0;

  async function load(first: number, last: number): Promise<void> {
    const offset = first * PAGE;
    const length = Math.min((last + 1) * PAGE, device.size) - offset;
    spent += length;
    if (spent > BUDGET) {
      throw new StorageError("limit", `recognising this content would read more than ${BUDGET} bytes`, {
        layer: "probe",
        offset,
      });
    }
    const bytes = await readBytes(device, offset, length);
    for (let p = first; p <= last; p++) pages.set(p, bytes.subarray((p - first) * PAGE, (p - first + 1) * PAGE));
  }

  return {
    size: device.size,
    sectorSize: device.caps.sectorSize,
    async read(offset, length) {
      const end = Math.min(offset + length, device.size);
      if (!(offset >= 0 && offset < end)) return new Uint8Array(0);
      if (pages.size === 0 && end <= HEAD) await load(0, Math.ceil(Math.min(HEAD, device.size) / PAGE) - 1);
      const first = Math.floor(offset / PAGE);
      const last = Math.floor((end - 1) / PAGE);
      for (let p = first; p <= last; p++) {
        if (pages.has(p)) continue;
        let to = p;
        while (to < last && !pages.has(to + 1)) to++;
        await load(p, to);
      }
      const out = new Uint8Array(end - offset);
      for (let p = first; p <= last; p++) {
        const at = p * PAGE;
        const from = Math.max(offset, at);
        const to = Math.min(end, at + PAGE);
        out.set(pages.get(p)!.subarray(from - at, to - at), from - offset);
      }
      return out;
    },
  };
}

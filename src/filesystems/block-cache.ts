import { alignDown } from "../bytes/integers.ts";
import type { ProbeWindow } from "../core/layer.ts";

/** Below most devices a read costs a cluster, an encrypted sector or a page, so that smaller pieces would save nothing. */
const BLOCK = 4096;

/** A window that reads each 4 KiB of the device at most once, since most recognisers look at the same first blocks. */
export function cached(window: ProbeWindow): ProbeWindow {
  const blocks = new Map<number, Uint8Array>();
  return {
    size: window.size,
    sectorSize: window.sectorSize,
    async read(offset, length) {
      const end = Math.min(offset + length, window.size);
      if (end <= offset) return new Uint8Array(0);
      await fill(window, blocks, alignDown(offset, BLOCK), end);
      const out = new Uint8Array(end - offset);
      for (let at = alignDown(offset, BLOCK); at < end; at += BLOCK) {
        const block = blocks.get(at)!;
        const from = Math.max(offset, at);
        const part = block.subarray(from - at, Math.min(end - at, block.length));
        out.set(part, from - offset);
        if (from - at + part.length < Math.min(BLOCK, end - at)) return out.subarray(0, from - offset + part.length);
      }
      return out;
    },
  };
}

/** Reads each run of missing blocks in one request. */
async function fill(window: ProbeWindow, blocks: Map<number, Uint8Array>, start: number, end: number): Promise<void> {
  for (let at = start; at < end; ) {
    if (blocks.has(at)) {
      at += BLOCK;
      continue;
    }
    let stop = at;
    while (stop < end && !blocks.has(stop)) stop += BLOCK;
    const bytes = await window.read(at, Math.min(stop, window.size) - at);
    for (let i = at; i < stop; i += BLOCK) blocks.set(i, bytes.slice(i - at, i - at + BLOCK));
    at = stop;
  }
}

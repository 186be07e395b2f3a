import { checked } from "../../core/checked.ts";
import type { BlockDevice } from "../../core/device.ts";
import { fromMapping, type Segment } from "../../core/mapping.ts";
import { memoryDevice } from "../../core/memory-device.ts";

/** Bytes that stand in for those of the file; null: zeros. */
export interface Patch {
  readonly offset: number;
  readonly length: number;
  readonly bytes: Uint8Array | null;
}

/**
 * `file` read through patches, the later ones over the earlier ones; what lies behind its end up to `size` reads as zeros. What patches say
 * about bytes beyond `size` is dropped: nothing can point there.
 */
export function patched(file: BlockDevice, patches: readonly Patch[], size: number): BlockDevice {
  const segments = tile(file, patches, size);
  const caps = { ...file.caps, alignment: 1, writable: false, zero: false, discard: false };
  function* map(offset: number, length: number): Iterable<Segment> {
    for (let i = firstAt(segments, offset); i < segments.length && segments[i]!.offset < offset + length; i++)
      yield segments[i]!;
  }
  return checked(fromMapping({ size, caps, layer: "vhdx", map, below: [] }), "vhdx");
}

/** Index of the segment that holds `offset`. */
function firstAt(segments: readonly Segment[], offset: number): number {
  let low = 0;
  for (let high = segments.length - 1; low < high; ) {
    const middle = Math.ceil((low + high) / 2);
    if (segments[middle]!.offset <= offset) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** Segments that tile `[0, size)`. Between two edges of patches or of the file everything comes from one of them. */
function tile(file: BlockDevice, patches: readonly Patch[], size: number): Segment[] {
  const clipped = patches
    .map((p) => ({ ...p, end: Math.min(p.offset + p.length, size) }))
    .filter((p) => p.offset < p.end);
  const edges = [...new Set([0, file.size, size, ...clipped.flatMap((p) => [p.offset, p.end])])]
    .filter((e) => e <= size)
    .sort((a, b) => a - b);
  // For each piece between two edges the last patch over it; `next` skips pieces that a later one has taken already.
  const owner = new Int32Array(edges.length).fill(-1);
  const next = Int32Array.from(edges, (_, i) => i);
  const free = (i: number): number => {
    let at = i;
    while (next[at] !== at) {
      next[at] = next[next[at]!]!;
      at = next[at]!;
    }
    return at;
  };
  const index = new Map(edges.map((e, i) => [e, i]));
  for (let p = clipped.length - 1; p >= 0; p--) {
    const to = index.get(clipped[p]!.end)!;
    for (let i = free(index.get(clipped[p]!.offset)!); i < to; i = free(i)) {
      owner[i] = p;
      next[i] = i + 1;
    }
  }
  const devices = clipped.map((p) => (p.bytes ? memoryDevice(p.bytes) : null));
  return edges.slice(0, -1).map((offset, i): Segment => {
    const length = edges[i + 1]! - offset;
    const by = owner[i]!;
    if (by < 0) {
      return offset < file.size
        ? { offset, length, kind: "data", device: file, at: offset }
        : { offset, length, kind: "hole" };
    }
    const device = devices[by];
    return device
      ? { offset, length, kind: "data", device, at: offset - clipped[by]!.offset }
      : { offset, length, kind: "zero" };
  });
}

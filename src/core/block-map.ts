import { checked } from "./checked.ts";
import type { BlockDevice } from "./device.ts";
import { StorageError } from "./errors.ts";
import { fromMapping, type Segment } from "./mapping.ts";

/** Where one block's bytes start in the file, or what it reads as without any. */
export type BlockPlace = number | "zero" | "hole";

export interface BlockMap {
  /** Name of the layer, for errors. */
  readonly layer: string;
  /** Bytes of the disk; the last block may be longer than what is left. */
  readonly size: number;
  /** Bytes of a block. */
  readonly blockSize: number;
  readonly sectorSize: number;
  readonly file: BlockDevice;
  /** Looks up block `index`. A plain value where no table has to be read for it: a walk over millions of blocks then costs no promises. */
  place(index: number): BlockPlace | Promise<BlockPlace>;
}

/** Blocks that are looked up before a run is handed on, so that a long walk can be stopped in between. */
const MOST = 65536;

/**
 * A disk in blocks of one size, each somewhere in the file or nowhere (VDI, VHD, VHDX, VMDK's grains), for reading. A block that reaches
 * beyond the end of the file is `corrupt`: it is not read as zeros.
 */
export function blockMapped(map: BlockMap): BlockDevice {
  const caps = {
    writable: false,
    alignment: 1,
    sectorSize: map.sectorSize,
    optimalIo: map.blockSize,
    extents: true,
    zero: false,
    discard: false,
  };
  const device = fromMapping({
    size: map.size,
    caps,
    layer: map.layer,
    map: (offset, length) => segments(map, offset, length),
    below: [],
  });
  return checked(device, map.layer);
}

/** Neighbours that lie one after another in the file, or nowhere in the same way, are joined. */
async function* segments(map: BlockMap, offset: number, length: number): AsyncIterable<Segment> {
  const { blockSize, size } = map;
  const end = offset + length;
  for (let index = Math.floor(offset / blockSize); index * blockSize < end; ) {
    const start = index * blockSize;
    const first = await lookUp(map, index);
    let count = 1;
    while (count < MOST && (index + count) * blockSize < end) {
      const next = lookUp(map, index + count);
      const place = typeof next === "object" ? await next : next;
      if (typeof first === "number" ? place !== first + count * blockSize : place !== first) break;
      count++;
    }
    const run = { offset: start, length: Math.min(count * blockSize, size - start) };
    if (typeof first === "number") yield { ...run, kind: "data", device: map.file, at: first };
    else yield { ...run, kind: first };
    index += count;
  }
}

function lookUp(map: BlockMap, index: number): BlockPlace | Promise<BlockPlace> {
  const place = map.place(index);
  return typeof place === "object" ? place.then((p) => inside(map, index, p)) : inside(map, index, place);
}

function inside(map: BlockMap, index: number, place: BlockPlace): BlockPlace {
  if (typeof place !== "number") return place;
  const needed = Math.min(map.blockSize, map.size - index * map.blockSize);
  if (place + needed <= map.file.size) return place;
  throw new StorageError(
    "corrupt",
    `block ${index} of the disk lies beyond the end of the file (${map.file.size} bytes)`,
    {
      layer: map.layer,
      offset: place,
      hint: "the image is truncated or damaged: compare its size with that of a backup",
    },
  );
}

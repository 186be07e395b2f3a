import { checked } from "../../core/checked.ts";
import type { BlockDevice, Capabilities } from "../../core/device.ts";
import { fromMapping, type Segment } from "../../core/mapping.ts";

interface Place {
  readonly device: BlockDevice;
  /** Byte offset of the stripe's first byte there. */
  readonly at: number;
}

/** A segment of an LV and where its bytes are. */
export interface Run {
  /** Bytes of the LV. */
  readonly offset: number;
  readonly length: number;
  /** Bytes; with one place the whole run. */
  readonly stripeSize: number;
  /** Empty: zeros. */
  readonly places: readonly Place[];
}

/**
 * Runs, which tile the LV in order, as one device. Stripes are interleaved: chunk n of `stripeSize` bytes is on place n mod N, at chunk
 * n div N (Linux drivers/md/dm-stripe.c). The devices below stay open when it is disposed of.
 */
export function runsDevice(runs: readonly Run[], writable: boolean): BlockDevice {
  const devices = [...new Set(runs.flatMap((r) => r.places.map((p) => p.device)))];
  const last = runs.at(-1);
  return checked(
    fromMapping({
      size: last ? last.offset + last.length : 0,
      caps: capabilities(devices, runs, writable),
      layer: "lvm",
      map: (offset, length) => mapRuns(runs, offset, length),
      below: devices,
    }),
    "lvm",
  );
}

function capabilities(devices: readonly BlockDevice[], runs: readonly Run[], writable: boolean): Capabilities {
  const stripes = runs.filter((r) => r.places.length > 1).map((r) => r.stripeSize);
  const all = (key: "writable" | "extents" | "zero" | "discard") => devices.every((d) => d.caps[key]);
  return {
    writable: writable && all("writable"),
    alignment: 1,
    sectorSize: Math.max(512, ...devices.map((d) => d.caps.sectorSize)),
    optimalIo: Math.max(4096, ...(stripes.length > 0 ? [Math.max(...stripes)] : devices.map((d) => d.caps.optimalIo))),
    extents: all("extents"),
    zero: all("zero"),
    discard: all("discard"),
  };
}

function* mapRuns(runs: readonly Run[], offset: number, length: number): Iterable<Segment> {
  const end = offset + length;
  let at = offset;
  for (let i = findRun(runs, offset); at < end; i++) {
    const run = runs[i]!;
    const stop = Math.min(end, run.offset + run.length);
    while (at < stop) {
      const segment = piece(run, at, stop);
      yield segment;
      at += segment.length;
    }
  }
}

/** From `at` to the end of the chunk it lies in, at most to `stop`. */
function piece(run: Run, at: number, stop: number): Segment {
  if (run.places.length === 0) return { offset: at, length: stop - at, kind: "zero" };
  const inRun = at - run.offset;
  const chunk = Math.floor(inRun / run.stripeSize);
  const inChunk = inRun - chunk * run.stripeSize;
  const place = run.places[chunk % run.places.length]!;
  const row = Math.floor(chunk / run.places.length);
  return {
    offset: at,
    length: Math.min(stop - at, run.stripeSize - inChunk),
    kind: "data",
    device: place.device,
    at: place.at + row * run.stripeSize + inChunk,
  };
}

/** Index of the run that holds `offset`. */
function findRun(runs: readonly Run[], offset: number): number {
  let low = 0;
  let high = runs.length - 1;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (runs[middle]!.offset <= offset) low = middle;
    else high = middle - 1;
  }
  return low;
}

import { checked } from "../../core/checked.ts";
import type { BlockDevice, Capabilities } from "../../core/device.ts";
import { fromMapping, type Segment } from "../../core/mapping.ts";
import type { LogicalVolume, LvSegment, VolumeGroup } from "./model.ts";

/** Device that holds a PV, by the PV's name in the metadata. */
export type PvDevices = ReadonlyMap<string, BlockDevice>;

interface Place {
  readonly device: BlockDevice;
  /** Byte offset of the stripe's first byte there. */
  readonly at: number;
}

interface Run {
  /** Bytes of the LV. */
  readonly offset: number;
  readonly length: number;
  /** Bytes; with one place the whole run. */
  readonly stripeSize: number;
  /** Empty: zeros. */
  readonly places: readonly Place[];
}

/**
 * An LV of linear and striped segments. Stripes are interleaved: chunk n of `stripeSize` bytes is on place n mod N, at chunk n div N
 * (Linux drivers/md/dm-stripe.c). The caller has checked the LV (planVolumes) and owns the PVs' devices.
 */
export function openVolume(vg: VolumeGroup, lv: LogicalVolume, pvs: PvDevices, writable: boolean): BlockDevice {
  return build({ vg, pvs, nested: new Map() }, lv, writable);
}

interface Build {
  readonly vg: VolumeGroup;
  readonly pvs: PvDevices;
  /** LVs below others, each opened once however often hostile metadata names it. */
  readonly nested: Map<string, BlockDevice>;
}

function build(b: Build, lv: LogicalVolume, writable: boolean): BlockDevice {
  const { vg } = b;
  const below = new Set<BlockDevice>();
  const runs = lv.segments.map((segment) => toRun(b, segment, below));
  const devices = [...below];
  return checked(
    fromMapping({
      size: lv.extents * vg.extentSize,
      caps: capabilities(devices, runs, writable),
      layer: "lvm",
      map: (offset, length) => mapRuns(runs, offset, length),
      below: devices,
    }),
    "lvm",
  );
}

function toRun(b: Build, segment: LvSegment, below: Set<BlockDevice>): Run {
  const { vg } = b;
  const places = segment.areas.map(({ name, extent }): Place => {
    const pv = vg.pvs.get(name);
    const device = pv ? b.pvs.get(name)! : nested(b, name);
    below.add(device);
    return { device, at: (pv?.peStart ?? 0) + extent * vg.extentSize };
  });
  const length = segment.count * vg.extentSize;
  return {
    offset: segment.start * vg.extentSize,
    length,
    stripeSize: places.length > 1 ? segment.stripeSize : length,
    places,
  };
}

function nested(b: Build, name: string): BlockDevice {
  const device = b.nested.get(name) ?? build(b, b.vg.lvs.get(name)!, false);
  b.nested.set(name, device);
  return device;
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

/** Index of the run that holds `offset`: they tile the LV in order. */
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

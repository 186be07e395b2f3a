import { checked } from "../core/checked.ts";
import type { BlockDevice, Capabilities } from "../core/device.ts";
import { StorageError } from "../core/errors.ts";
import { fromMapping, type Segment } from "../core/mapping.ts";
import { dataLegs, geometryProblem, type RaidGeometry, raidSize } from "./geometry.ts";
import type { LegErrorReport, RaidLegs } from "./legs.ts";
import { MirrorDevice } from "./mirror-device.ts";
import { raid10Copies } from "./mirror-layout.ts";
import { ParityDevice } from "./parity-device.ts";
import { parityRows } from "./parity-layout.ts";
import { linearPlaces, type Place, raid0Places } from "./stripe-layout.ts";

export interface RaidOptions {
  /** For errors. */
  readonly layer: string;
  readonly geometry: RaidGeometry;
  /** In the order of the roles; null: missing. The caller owns the devices. */
  readonly legs: RaidLegs;
  /**
   * Bytes that each leg gives to the array, one per role (also of missing ones). Levels other than linear and raid0 use the smallest of all.
   */
  readonly legSizes: readonly number[];
  readonly writable: boolean;
  /** For mirrors: roles to read from last (write-mostly members, ones of which less is known). */
  readonly readLast?: ReadonlySet<number> | undefined;
  /**
   * False: parity may not fit the data (an array that was not stopped in order), so that a leg that fails on reading is an error and is not
   * calculated from it. Mirrors do not care: each copy is one that the interrupted write left.
   */
  readonly trustParity?: boolean | undefined;
  readonly onLegError?: LegErrorReport | undefined;
  /** Awaited once before the first change of any leg. If it throws, nothing is written, and the next write asks again. */
  readonly beforeFirstWrite?: (() => Promise<void>) | undefined;
}

/**
 * The array as one device of `raidSize` bytes. Throws `corrupt` for numbers that describe no array and `io` when too many legs are missing
 * (see `missingProblem`). Reads go on as long as the redundancy allows; writes keep every leg that is there, and the parity, right.
 */
export function openRaid(options: RaidOptions): BlockDevice {
  const { layer, geometry, legs, legSizes } = options;
  const strange =
    geometryProblem(geometry, legs.length) ?? (legSizes.length === legs.length ? null : "sizes that do not match");
  if (strange) throw new StorageError("corrupt", `the metadata describes an array with ${strange}`, { layer });
  const missing = missingProblem(
    geometry,
    legs.map((leg) => leg !== null),
  );
  if (missing) throw new StorageError("io", missing, { layer });
  const size = raidSize(geometry, legSizes);
  const common = {
    layer,
    size,
    legs,
    onLegError: options.onLegError ?? (() => {}),
    beforeWrite: once(options.beforeFirstWrite),
  };
  const caps = capabilities(options);
  switch (geometry.kind) {
    case "linear":
      return checked(striped(options, caps, size, linearPlaces(geometry.chunk, legSizes), common.beforeWrite), layer);
    case "raid0": {
      const place = raid0Places(geometry.chunk, geometry.zones, legSizes);
      return checked(striped(options, caps, size, place, common.beforeWrite), layer);
    }
    case "raid1": {
      const order = preferred(
        legs.map((_, leg) => ({ leg })),
        options.readLast,
      );
      const place = (offset: number) => ({
        copies: order.map(({ leg }) => ({ leg, at: offset })),
        length: size - offset,
      });
      return checked(new MirrorDevice({ ...common, caps, place }), layer);
    }
    case "raid10": {
      const copiesOf = raid10Copies(geometry, legs.length, Math.min(...legSizes));
      const place = (offset: number) => {
        const inChunk = offset % geometry.chunk;
        const copies = copiesOf((offset - inChunk) / geometry.chunk).map((c) => ({ leg: c.leg, at: c.at + inChunk }));
        return { copies: preferred(copies, options.readLast), length: geometry.chunk - inChunk };
      };
      return checked(new MirrorDevice({ ...common, caps, place }), layer);
    }
    default: {
      const level = geometry.kind === "raid4" ? 4 : geometry.kind === "raid5" ? 5 : 6;
      const rows = parityRows(level, geometry.kind === "raid4" ? 5 : geometry.algorithm, legs.length);
      return checked(
        new ParityDevice({ ...common, caps, chunk: geometry.chunk, rows, trustParity: options.trustParity ?? true }),
        layer,
      );
    }
  }
}

/** Why an array cannot be read in full with these legs, or null. `there`: one per role. */
export function missingProblem(geometry: RaidGeometry, there: readonly boolean[]): string | null {
  const missing = there.flatMap((is, role) => (is ? [] : [role]));
  if (missing.length === 0) return null;
  const which = `device${missing.length > 1 ? "s" : ""} ${missing.join(", ")} of ${there.length}`;
  const problem = `${which} missing: ${geometry.kind} cannot be read without`;
  switch (geometry.kind) {
    case "linear":
    case "raid0":
      return problem;
    case "raid1":
      return missing.length === there.length ? problem : null;
    case "raid10": {
      // The pattern of legs repeats after as many chunks as there are legs; the positions do not matter here.
      const copiesOf = raid10Copies(geometry, there.length, geometry.chunk * geometry.far);
      const lost = there.some((_, chunk) => copiesOf(chunk).every((copy) => !there[copy.leg]));
      return lost ? problem : null;
    }
    default:
      return missing.length > there.length - dataLegs(geometry, there.length) ? problem : null;
  }
}

function capabilities({ geometry, legs, writable }: RaidOptions): Capabilities {
  const devices = legs.flatMap((leg) => (leg ? [leg.device] : []));
  const row =
    geometry.kind === "raid1" || geometry.kind === "linear" ? 0 : geometry.chunk * dataLegs(geometry, legs.length);
  return {
    writable: writable && devices.every((d) => d.caps.writable),
    alignment: 1,
    sectorSize: Math.max(512, ...devices.map((d) => d.caps.sectorSize)),
    optimalIo: Math.max(4096, Math.min(row, 4 * 1024 * 1024)),
    extents: devices.every((d) => d.caps.extents),
    zero: false,
    discard: false,
  };
}

function striped(
  { layer, legs }: RaidOptions,
  caps: Capabilities,
  size: number,
  place: (offset: number) => Place,
  beforeWrite: () => Promise<void>,
): BlockDevice {
  const below = legs.flatMap((leg) => (leg ? [leg.device] : []));
  function* map(offset: number, length: number): Iterable<Segment> {
    const end = offset + length;
    for (let at = offset; at < end; ) {
      const p = place(at);
      const part = Math.min(p.length, end - at);
      yield { offset: at, length: part, kind: "data", device: legs[p.leg]!.device, at: p.at };
      at += part;
    }
  }
  const device = fromMapping({ size, caps, layer, map, below });
  return {
    size,
    caps,
    read: (into, offset, options) => device.read(into, offset, options),
    extents: (offset, length, options) => device.extents(offset, length, options),
    flush: () => device.flush(),
    async write(from, offset, options) {
      await beforeWrite();
      await device.write(from, offset, options);
    },
    async zero(offset, length, options) {
      await beforeWrite();
      await device.zero(offset, length, options);
    },
    async discard() {},
    [Symbol.asyncDispose]: () => device[Symbol.asyncDispose](),
  };
}

/** Stable: those to be read last keep their order behind the others. */
function preferred<T extends { readonly leg: number }>(
  copies: readonly T[],
  last: ReadonlySet<number> | undefined,
): readonly T[] {
  if (!last || last.size === 0) return copies;
  return [...copies.filter((c) => !last.has(c.leg)), ...copies.filter((c) => last.has(c.leg))];
}

function once(work: (() => Promise<void>) | undefined): () => Promise<void> {
  if (!work) return async () => {};
  let running: Promise<void> | null = null;
  return () => {
    running ??= work().catch((error: unknown) => {
      running = null;
      throw error;
    });
    return running;
  };
}

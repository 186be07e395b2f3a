import { wholeChunks } from "./geometry.ts";

/** Where a run of a linear or raid0 array lies. */
export interface Place {
  readonly leg: number;
  /** Bytes from the leg's start. */
  readonly at: number;
  readonly length: number;
}

export function linearPlaces(chunk: number, legSizes: readonly number[]): (offset: number) => Place {
  const sizes = legSizes.map((size) => wholeChunks(chunk, size));
  return (offset) => {
    let start = 0;
    let leg = 0;
    while (offset >= start + sizes[leg]!) {
      start += sizes[leg]!;
      leg++;
    }
    return { leg, at: offset - start, length: start + sizes[leg]! - offset };
  };
}

interface Zone {
  /** Bytes of the array. */
  readonly start: number;
  readonly end: number;
  /** Bytes from each leg's start. */
  readonly legStart: number;
  readonly legs: readonly number[];
}

/** Each zone is as long as the shortest leg that is left (create_strip_zones in drivers/md/raid0.c). */
function zonesOf(chunk: number, legSizes: readonly number[]): Zone[] {
  const sizes = legSizes.map((size) => wholeChunks(chunk, size));
  const ends = [...new Set(sizes)].filter((size) => size > 0).sort((a, b) => a - b);
  const zones: Zone[] = [];
  let start = 0;
  let legStart = 0;
  for (const legEnd of ends) {
    const legs = sizes.flatMap((size, leg) => (size > legStart ? [leg] : []));
    const end = start + (legEnd - legStart) * legs.length;
    zones.push({ start, end, legStart, legs });
    start = end;
    legStart = legEnd;
  }
  return zones;
}

/** map_sector in drivers/md/raid0.c: the original layout counts chunks from the array's start also in later zones, the other one from the zone's. */
export function raid0Places(
  chunk: number,
  zoneLayout: "original" | "alternate",
  legSizes: readonly number[],
): (offset: number) => Place {
  const zones = zonesOf(chunk, legSizes);
  return (offset) => {
    const zone = zones.find((z) => offset < z.end)!;
    const inChunk = offset % chunk;
    const inZone = offset - zone.start;
    const count = zone.legs.length;
    const counted = ((zoneLayout === "original" ? offset : inZone) - inChunk) / chunk;
    const row = Math.floor((inZone - inChunk) / chunk / count);
    const leg = zone.legs[counted % count]!;
    return { leg, at: zone.legStart + row * chunk + inChunk, length: chunk - inChunk };
  };
}

/** True when all legs give the same: then there is one zone, and both layouts are the same. */
export function oneZone(chunk: number, legSizes: readonly number[]): boolean {
  return zonesOf(chunk, legSizes).length <= 1;
}

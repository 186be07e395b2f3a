import type { Raid10Geometry } from "./geometry.ts";

/** One copy of a run of the array's bytes. */
export interface Copy {
  /** Role of the leg, from 0. */
  readonly leg: number;
  /** Bytes from the leg's start. */
  readonly at: number;
}

/** Chunks that an array of `legs` legs of `legSize` bytes holds (raid10_size in drivers/md/raid10.c). */
export function raid10Chunks(g: Raid10Geometry, legs: number, legSize: number): number {
  const perLeg = Math.floor(Math.floor(legSize / g.chunk) / g.far);
  return Math.floor((perLeg * legs) / g.near);
}

/** Bytes from one far copy to the next (calc_sectors in drivers/md/raid10.c). */
function stride(g: Raid10Geometry, legs: number, legSize: number): number {
  if (g.offset) return g.chunk;
  const used = Math.ceil((raid10Chunks(g, legs, legSize) * g.near * g.far) / legs);
  return Math.floor(used / g.far) * g.chunk;
}

/** Gives the places of chunk number n, the preferred one first (__raid10_find_phys in drivers/md/raid10.c). */
export function raid10Copies(g: Raid10Geometry, legs: number, legSize: number): (chunk: number) => Copy[] {
  const step = stride(g, legs, legSize);
  // Where the legs are no multiple of a far set, the last set takes the rest in.
  const lastSet = (Math.floor(legs / g.farSet) - 1) * g.farSet;
  const lastSetSize = g.farSet + (legs % g.farSet);
  const next = (leg: number): number => {
    const moved = leg + g.near;
    if (legs % g.farSet !== 0 && moved > lastSet) return ((moved - lastSet) % lastSetSize) + lastSet;
    return (moved % g.farSet) + g.farSet * Math.floor(leg / g.farSet);
  };
  return (chunk) => {
    const first = chunk * g.near;
    let leg = first % legs;
    let at = ((first - leg) / legs) * (g.offset ? g.far : 1) * g.chunk;
    const out: Copy[] = [];
    for (let n = 0; n < g.near; n++) {
      let farLeg = leg;
      out.push({ leg, at });
      for (let f = 1; f < g.far; f++) {
        farLeg = next(farLeg);
        out.push({ leg: farLeg, at: at + f * step });
      }
      leg++;
      if (leg === legs) {
        leg = 0;
        at += g.chunk;
      }
    }
    return out;
  };
}

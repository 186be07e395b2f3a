import type { BlockDevice, IoOptions } from "../core/device.ts";
import { StorageError } from "../core/errors.ts";
import type { RangeSet } from "../core/range-set.ts";

/** One member of an array: its data area only, from byte 0. */
export interface RaidLeg {
  readonly device: BlockDevice;
  /** Bytes of the leg that hold nothing valid (a log of bad blocks, what is not rebuilt yet): never read; writes go there all the same. */
  readonly stale?: RangeSet | undefined;
}

/** In the order of the roles; null: missing. */
export type RaidLegs = readonly (RaidLeg | null)[];

/** Told each time a leg fails on reading and the others make up for it. */
export type LegErrorReport = (leg: number, error: StorageError) => void;

/** After a failure a range is tried again in pieces of this size, so that one bad sector costs the redundancy of its own page only. */
export const RETRY_BYTES = 4096;

/** How many bytes from `at` on, at most `length`, are all valid or all stale on this leg, and which. A missing leg is all stale. */
export function validRun(
  leg: RaidLeg | null,
  at: number,
  length: number,
): { readonly valid: boolean; readonly length: number } {
  if (!leg) return { valid: false, length };
  if (!leg.stale) return { valid: true, length };
  const first = leg.stale.gaps(at, length).next();
  if (first.done) return { valid: false, length };
  const gap = first.value;
  return gap.offset > at ? { valid: false, length: gap.offset - at } : { valid: true, length: gap.length };
}

/** Reads from a leg. Null: done; else why the leg does not count here. Errors that are not the medium's pass. */
export async function readLeg(
  leg: RaidLeg,
  into: Uint8Array,
  at: number,
  options: IoOptions | undefined,
): Promise<StorageError | null> {
  try {
    await leg.device.read(into, at, options);
    return null;
  } catch (error) {
    if (error instanceof StorageError && error.code === "io") return error;
    throw error;
  }
}

export function unreadable(
  legs: readonly number[],
  layer: string,
  at: number,
  cause: StorageError | null,
): StorageError {
  const which = legs.length === 0 ? "its devices" : `device${legs.length > 1 ? "s" : ""} ${legs.join(" and ")}`;
  const message = `${which} of the array cannot be read here, and the others do not make up for that`;
  return new StorageError("io", cause ? `${message}: ${cause.message}` : message, { layer, offset: at, cause });
}

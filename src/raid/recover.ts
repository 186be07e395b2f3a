import type { IoOptions } from "../core/device.ts";
import { StorageError } from "../core/errors.ts";
import { parityP, recoverFromQ, recoverTwo } from "./galois.ts";
import { type LegErrorReport, type RaidLegs, RETRY_BYTES, readLeg, unreadable, validRun } from "./legs.ts";
import type { ParityRow } from "./parity-layout.ts";

/** The same bytes of one row on every leg; no leg changes between valid and stale in it. */
export interface Strip {
  readonly row: ParityRow;
  /** Bytes from each leg's start. */
  readonly at: number;
  readonly length: number;
}

export interface RecoverOptions {
  readonly layer: string;
  readonly legs: RaidLegs;
  readonly trustParity: boolean;
  readonly onLegError: LegErrorReport;
}

/** The wanted data columns of a strip: read, or calculated from the others and the parity. Throws `io` when that is not enough. */
export async function loadColumns(
  o: RecoverOptions,
  strip: Strip,
  wanted: readonly number[],
  options: IoOptions | undefined,
): Promise<Map<number, Uint8Array>> {
  const { row, at, length } = strip;
  const got = new Map<number, Uint8Array>();
  const lost: number[] = [];
  let cause: StorageError | null = null;

  const fetch = async (number: number): Promise<Uint8Array | null> => {
    const leg = o.legs[number]!;
    if (!validRun(leg, at, length).valid) return null;
    const bytes = new Uint8Array(length);
    const error = await readLeg(leg, bytes, at, options);
    if (!error) return bytes;
    cause ??= error;
    // A larger range is tried again in small pieces below; what fails then is what counts.
    if (length <= RETRY_BYTES) o.onLegError(number, error);
    return null;
  };
  const fetchColumns = async (columns: readonly number[]) => {
    for (const column of columns) {
      const bytes = await fetch(row.data[column]!);
      if (bytes) got.set(column, bytes);
      else lost.push(column);
    }
  };

  await fetchColumns(wanted);
  if (lost.length === 0) return got;
  if (cause !== null && length > RETRY_BYTES) return inPieces(o, strip, wanted, options);
  if (!o.trustParity)
    throw untrusted(
      lost.map((column) => row.data[column]!),
      o.layer,
      at,
      cause,
    );
  const others = row.data.map((_, column) => column).filter((column) => !wanted.includes(column));
  await fetchColumns(others);
  const p = await fetch(row.p);
  const q = row.q !== null && (lost.length > 1 || !p) ? await fetch(row.q) : null;
  if (cause !== null && length > RETRY_BYTES) return inPieces(o, strip, wanted, options);

  const known = [...got.keys()];
  const columns = known.map((column) => got.get(column)!);
  const exponents = known.map((column) => row.exponents[column]!);
  const [x, y] = lost as [number, number?];
  if (y === undefined && p) {
    got.set(x, parityP([p, ...columns]));
  } else if (y === undefined && q) {
    got.set(x, recoverFromQ(q, columns, exponents, row.exponents[x]!));
  } else if (y !== undefined && lost.length === 2 && p && q) {
    const [dx, dy] = recoverTwo(p, q, columns, exponents, row.exponents[x]!, row.exponents[y]!);
    got.set(x, dx);
    got.set(y, dy);
  } else {
    const missing = lost.map((column) => row.data[column]!);
    throw unreadable(missing, o.layer, at, cause);
  }
  return got;
}

function untrusted(legs: readonly number[], layer: string, at: number, cause: StorageError | null): StorageError {
  const message = `device ${legs.join(" and ")} of the array cannot be read here, and its parity is not in sync`;
  return new StorageError("io", message, { layer, offset: at, cause });
}

async function inPieces(
  o: RecoverOptions,
  strip: Strip,
  wanted: readonly number[],
  options: IoOptions | undefined,
): Promise<Map<number, Uint8Array>> {
  const out = new Map(wanted.map((column) => [column, new Uint8Array(strip.length)]));
  for (let done = 0; done < strip.length; done += RETRY_BYTES) {
    const length = Math.min(RETRY_BYTES, strip.length - done);
    const part = await loadColumns(o, { ...strip, at: strip.at + done, length }, wanted, options);
    for (const [column, bytes] of out) bytes.set(part.get(column)!, done);
  }
  return out;
}

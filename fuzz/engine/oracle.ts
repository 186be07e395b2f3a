import { firstError, StorageError } from "../../src/core/errors.ts";
import type { Input } from "./sparse.ts";
import type { Target } from "./target.ts";
import { BOUNDS, Meter } from "./watched.ts";

/** What the oracle holds against a run. */
export interface Verdict {
  /** `error`: something else than a StorageError. `cost`: too many reads, or too much memory. */
  readonly kind: "error" | "cost" | "hang" | "crash";
  readonly message: string;
  /** Equal for what is probably the same defect. */
  readonly key: string;
  readonly stack: string;
}

export interface RunOutcome {
  readonly verdict: Verdict | null;
  /** The refusal without its numbers, or "": a new one is as good as a new block. */
  readonly refusal: string;
  readonly meter: Meter;
}

/** Runs a target once. A hang cannot be seen from here: whoever calls watches the clock. */
export async function runOnce(target: Target, input: Input): Promise<RunOutcome> {
  const meter = new Meter(target.bounds ?? BOUNDS);
  const before = allocated;
  let thrown: unknown = null;
  try {
    await target.run(input, meter);
  } catch (error) {
    thrown = firstError(error);
  }
  const cost = allocated - before;
  if (!meter.exceeded && cost > meter.bounds.bytesAllocated) {
    return { verdict: verdict("cost", new Error(`${cost} bytes allocated`)), refusal: "", meter };
  }
  if (meter.exceeded) return { verdict: verdict("cost", meter.exceeded), refusal: "", meter };
  if (thrown === null) return { verdict: null, refusal: "", meter };
  if (!(thrown instanceof StorageError)) return { verdict: verdict("error", thrown), refusal: "", meter };
  const refusal = `${thrown.layer} ${thrown.code} ${thrown.message.replaceAll(/\d+|"[^"]*"/g, "N").slice(0, 60)}`;
  return { verdict: null, refusal, meter };
}

function verdict(kind: Verdict["kind"], thrown: unknown): Verdict {
  const error = thrown instanceof Error ? thrown : new Error(String(thrown));
  const frames = (error.stack ?? "").split("\n").filter((line) => /^\s+at /.test(line));
  const own = frames.filter((line) => !/node:|\/fuzz\/|node_modules/.test(line));
  const where = own[0]?.replace(/^.*?(?=src\/)/, "").replace(/[()]/g, "") ?? frames[0]?.trim() ?? "";
  return {
    kind,
    message: `${error.name}: ${error.message}`.slice(0, 300),
    key: `${kind} ${error.name} ${where}`,
    stack: (error.stack ?? "").slice(0, 3000),
  };
}

let allocated = 0;

/** Counts the bytes of every buffer that is made on this thread from now on; a single one above `most` throws. */
export function countAllocations(most: number): void {
  const count = (size: unknown, width: number): void => {
    if (typeof size !== "number") return;
    allocated += size * width;
    if (size * width > most) throw new TypeError(`a buffer of ${size * width} bytes was asked for at once`);
  };
  for (const name of [
    "Uint8Array",
    "Uint32Array",
    "Uint16Array",
    "Float64Array",
    "BigUint64Array",
    "ArrayBuffer",
  ] as const) {
    const plain = globalThis[name] as unknown as { new (...args: unknown[]): object; BYTES_PER_ELEMENT?: number };
    const width = plain.BYTES_PER_ELEMENT ?? 1;
    const counting: typeof plain = new Proxy(plain, {
      construct(target, args, newTarget): object {
        count(args[0], width);
        return Reflect.construct(target, args, newTarget === counting ? target : newTarget) as object;
      },
    });
    Object.assign(globalThis, { [name]: counting });
  }
  for (const name of ["alloc", "allocUnsafe"] as const) {
    const plain = Buffer[name].bind(Buffer);
    Buffer[name] = ((size: number, ...rest: never[]) => {
      count(size, 1);
      return plain(size, ...rest);
    }) as never;
  }
}

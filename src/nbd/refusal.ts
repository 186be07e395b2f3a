import { describeError, StorageError } from "../core/errors.ts";
import { NbdError } from "./protocol.ts";

/** A request that is answered with one of the protocol's error values instead of success. */
export class Refusal extends Error {
  readonly value: number;

  constructor(value: number, message: string) {
    super(message);
    this.value = value;
  }
}

/** Runs `work` on the device; whatever it throws becomes a Refusal. */
export async function refusing<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw new Refusal(errorValue(error), describeError(error));
  }
}

/** "Error values": the nearest of the few that the protocol knows. */
function errorValue(error: unknown): number {
  if (!(error instanceof StorageError)) return NbdError.EIO;
  if (isFull(error)) return NbdError.ENOSPC;
  switch (error.code) {
    case "read-only":
    case "key":
    case "gate":
      return NbdError.EPERM;
    case "range":
    case "usage":
    // "ENOTSUP ... SHOULD NOT [be used] except in response to NBD_CMD_WRITE_ZEROES with NBD_CMD_FLAG_FAST_ZERO".
    case "unsupported":
      return NbdError.EINVAL;
    case "cancelled":
      return NbdError.ESHUTDOWN;
    default:
      return NbdError.EIO;
  }
}

/** A full file system below, however many layers have wrapped the system's error. */
function isFull(error: unknown): boolean {
  for (let e: unknown = error; e instanceof Error; e = e.cause) {
    const code = (e as NodeJS.ErrnoException).code;
    if (code === "ENOSPC" || code === "EDQUOT" || code === "EFBIG") return true;
  }
  return false;
}

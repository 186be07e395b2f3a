import { exactNumber } from "../bytes/integers.ts";
import { StorageError } from "./errors.ts";

/** A u64 read from an image as an exact number; `corrupt` when it is beyond 2^53-1. `field` names it in the message. */
export function safeNumber(value: bigint, field: string, layer: string, offset?: number): number {
  const n = exactNumber(value);
  if (n === null)
    throw new StorageError("corrupt", `${field} is ${value}, beyond what can be addressed`, { layer, offset });
  return n;
}

/** Throws `limit` when an image asks for more than `limit` of something; `name` is the key in Limits. */
export function withinLimit(
  value: number,
  limit: number,
  name: string,
  what: string,
  layer: string,
  offset?: number,
): void {
  if (value <= limit) return;
  throw new StorageError("limit", `${what}: ${value} is above the limit of ${limit}`, {
    layer,
    offset,
    hint: `if this disk is really meant to be so, raise it with --limit ${name}=${value}`,
  });
}

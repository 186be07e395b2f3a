/** What went wrong, in the few ways a caller can act on. */
export type StorageErrorCode =
  /** The bytes contradict the format's specification. */
  | "corrupt"
  /** A feature that this program does not handle; `feature` names it. */
  | "unsupported"
  /** Another program has the source open in a way that excludes ours. */
  | "locked"
  /** A write to something that was opened for reading or cannot be written. */
  | "read-only"
  /** A request outside the device, or not on its alignment. */
  | "range"
  /** The operating system or the peer failed. */
  | "io"
  /** No key, or no key that opens a keyslot. */
  | "key"
  /** A selector, path or option that names nothing or too much. */
  | "usage"
  /** A path found inside an image was not opened because no `--allow-path` permits it. */
  | "gate"
  /** A cost that an image dictates is above the named limit. */
  | "limit"
  /** The user interrupted. */
  | "cancelled";

export interface StorageErrorOptions {
  /** The layer's name as in the tree (`qcow2`, `luks2`, `lvm`, `file`). */
  readonly layer?: string | undefined;
  /** Byte offset in that layer's own container where it was seen. */
  readonly offset?: number | undefined;
  /** What the user can do. */
  readonly hint?: string | undefined;
  /** For `unsupported`: the feature's name as the specification writes it. */
  readonly feature?: string | undefined;
  readonly cause?: unknown;
}

/** The one error type that layers, sources and use cases throw on purpose. */
export class StorageError extends Error {
  readonly code: StorageErrorCode;
  readonly layer: string | undefined;
  readonly offset: number | undefined;
  readonly hint: string | undefined;
  readonly feature: string | undefined;

  constructor(code: StorageErrorCode, message: string, options: StorageErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "StorageError";
    this.code = code;
    this.layer = options.layer;
    this.offset = options.offset;
    this.hint = options.hint;
    this.feature = options.feature;
  }
}

/**
 * The error that came first. When a block with `await using` fails and then its disposal fails too, the language wraps both, the later one
 * outside (SuppressedError); what a person has to know is what began it.
 */
export function firstError(error: unknown): unknown {
  let first = error;
  while (first instanceof Error && first.name === "SuppressedError" && "suppressed" in first) first = first.suppressed;
  return first;
}

/** `<what> (<layer> at <offset>)`, the one line that users see. */
export function describeError(thrown: unknown): string {
  const error = firstError(thrown);
  if (!(error instanceof StorageError)) return error instanceof Error ? error.message : String(error);
  if (error.layer === undefined || error.code === "cancelled") return error.message;
  return `${error.message} (${error.layer}${error.offset === undefined ? "" : ` at ${error.offset}`})`;
}

/** The same with what the user can do, where there is something: for places that have no line of their own for the hint. */
export function describeWithHint(error: StorageError): string {
  return error.hint === undefined ? describeError(error) : `${describeError(error)}; ${error.hint}`;
}

/** Wraps an operating-system error; a StorageError passes unchanged. */
export function ioError(error: unknown, what: string, options: StorageErrorOptions = {}): StorageError {
  if (error instanceof StorageError) return error;
  const detail = error instanceof Error ? error.message.replace(/^([A-Z]+): /, "$1: ") : String(error);
  return new StorageError("io", `${what}: ${detail}`, { ...options, cause: error });
}

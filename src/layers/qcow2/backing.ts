import { StorageError } from "../../core/errors.ts";

export interface BackingReference {
  /** A path as the image gives it, absolute or relative to the image. */
  readonly path: string;
  /** As QEMU names it; null: not said. */
  readonly format: string | null;
}

function refuse(feature: string, message: string): StorageError {
  return new StorageError("unsupported", message, {
    layer: "qcow2",
    feature,
    hint: "point the image to a local file with `qemu-img rebase -u -F FORMAT -b FILE`",
  });
}

/**
 * Understands the backing file string and format of a header: plain paths, `file:`, and `json:` with a local file below one format.
 * Everything else is refused by name (`unsupported`). Whether the format is one that can be read is not judged here.
 */
export function backingReference(name: string, format: string | null): BackingReference {
  if (name.startsWith("json:")) return fromJson(name.slice(5), format);
  // QEMU takes what stands before the first colon for a protocol unless a slash comes first (block.c, path_has_protocol).
  const colon = name.indexOf(":");
  const slash = name.indexOf("/");
  const protocol = colon > 0 && (slash < 0 || colon < slash) ? name.slice(0, colon) : null;
  if (protocol !== null && protocol !== "file") {
    throw refuse(`backing protocol ${protocol}`, `a backing file over ${protocol}: is not supported`);
  }
  return { path: protocol === null ? name : name.slice(5), format: format === "" ? null : format };
}

/** QEMU's drivers for local files and block devices; every other name of a node's driver is a format or another protocol. */
const LOCAL: readonly string[] = ["file", "host_device"];
/** Options that say how QEMU reads a file, and nothing about what is in it. */
const HARMLESS =
  /^(auto-read-only|read-only|discard|detect-zeroes|force-share|node-name|aio|aio-max-batch|locking|pr-manager|drop-cache|x-check-cache-dropped|cache\.(direct|no-flush)|lazy-refcounts|pass-discard-(request|snapshot|other)|overlap-check|overlap-check\..*|cache-size|l2-cache-size|l2-cache-entry-size|refcount-cache-size|cache-clean-interval)$/;

type Options = ReadonlyMap<string, unknown>;

/** QEMU's nested options as dotted keys: `{"file":{"filename":"x"}}` and `{"file.filename":"x"}` are the same. */
function flatten(value: object, prefix: string, into: Map<string, unknown>, depth = 0): Options {
  if (depth > MAX_DEPTH) throw refuse("json: backing", "the backing file's json: reference is nested too deep");
  for (const [key, item] of Object.entries(value)) {
    if (typeof item === "object" && item !== null) flatten(item, `${prefix}${key}.`, into, depth + 1);
    else into.set(prefix + key, item);
  }
  return into;
}

const MAX_DEPTH = 16;

function fromJson(text: string, format: string | null): BackingReference {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (cause) {
    throw new StorageError("corrupt", "the backing file's json: reference is not JSON", { layer: "qcow2", cause });
  }
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) {
    throw new StorageError("corrupt", "the backing file's json: reference is not an object", { layer: "qcow2" });
  }
  return fromOptions(flatten(parsed, "", new Map()), format === "" ? null : format);
}

/**
 * The nodes from the top down to the file. The format that the image's header gives replaces the top one's driver, as in QEMU; `raw` above
 * another format adds nothing, and two formats in each other are refused.
 */
function fromOptions(all: Options, format: string | null): BackingReference {
  const formats: (string | null)[] = [];
  let prefix = "";
  while (!all.has(`${prefix}filename`)) {
    const driver = driverOf(all, prefix);
    formats.push(driver);
    const here = prefix;
    prefix += "file.";
    if (![...all.keys()].some((key) => key.startsWith(prefix))) {
      const last = driver ?? "raw";
      if (last !== "raw" && last !== "qcow2") throw notLocal(last);
      throw refuse("json: backing", "the backing file's json: reference names no file");
    }
    checkOptions(all, here);
  }
  checkOptions(all, prefix);
  const protocol = driverOf(all, prefix) ?? "file";
  if (!LOCAL.includes(protocol)) throw notLocal(protocol);
  const path = all.get(`${prefix}filename`);
  if (typeof path !== "string") throw refuse("json: backing", "the backing file's json: reference names no file");
  // The file itself, without a format above it, is taken as it is.
  if (formats.length === 0) return { path, format: format ?? "raw" };
  if (format !== null) formats[0] = format;
  const real = formats.filter((f) => f !== "raw");
  if (real.length > 1) {
    throw refuse(`backing format ${real.join(" in ")}`, "a backing file of one format in another is not supported");
  }
  return { path, format: real.length === 0 ? "raw" : real[0]! };
}

function driverOf(all: Options, prefix: string): string | null {
  const driver = all.get(`${prefix}driver`);
  if (driver === undefined) return null;
  if (typeof driver === "string") return driver;
  throw refuse("json: backing", "a driver in the backing file's json: reference is no name");
}

/** Refuses options of this node that change what is read. */
function checkOptions(all: Options, prefix: string): void {
  for (const key of all.keys()) {
    if (!key.startsWith(prefix)) continue;
    const own = key.slice(prefix.length);
    if (own === "driver" || own === "filename" || own.startsWith("file.") || HARMLESS.test(own)) continue;
    throw refuse(`backing option ${own}`, `the backing file's option ${own} is not supported`);
  }
}

function notLocal(driver: string): StorageError {
  return refuse(`backing protocol ${driver}`, `a backing file over ${driver} is not supported`);
}

import { StorageError } from "../../core/errors.ts";

export interface BackingReference {
  /** A path as the image gives it, absolute or relative to the image. */
  readonly path: string;
  readonly format: "raw" | "qcow2" | null;
}

function refuse(feature: string, message: string): StorageError {
  return new StorageError("unsupported", message, {
    layer: "qcow2",
    feature,
    hint: "point the image to a local file with `qemu-img rebase -u -F FORMAT -b FILE`",
  });
}

/**
 * Understands the backing file string and format of a header: plain paths, `file:` and the simple forms of `json:`.
 * Everything else is refused by name (`unsupported`).
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
  return { path: protocol === null ? name : name.slice(5), format: known(format) };
}

function known(format: string | null): "raw" | "qcow2" | null {
  if (format === null || format === "") return null;
  if (format === "raw" || format === "qcow2") return format;
  throw refuse(`backing format ${format}`, `a backing file of format ${format} is not supported`);
}

type Flat = Map<string, unknown>;

/** QEMU's nested options as dotted keys: `{"file":{"filename":"x"}}` and `{"file.filename":"x"}` are the same. */
function flatten(value: object, prefix: string, into: Flat): Flat {
  for (const [key, item] of Object.entries(value)) {
    if (typeof item === "object" && item !== null) flatten(item, `${prefix}${key}.`, into);
    else into.set(prefix + key, item);
  }
  return into;
}

function fromJson(text: string, format: string | null): BackingReference {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (cause) {
    throw new StorageError("corrupt", "the backing file's json: reference is not JSON", { layer: "qcow2", cause });
  }
  if (typeof parsed !== "object" || parsed === null) {
    throw new StorageError("corrupt", "the backing file's json: reference is not an object", { layer: "qcow2" });
  }
  const options = flatten(parsed, "", new Map());
  const driver = options.get("driver");
  const direct = driver === "file";
  const path = options.get(direct ? "filename" : "file.filename");
  const below = direct ? "file" : (options.get("file.driver") ?? "file");
  for (const key of ["driver", direct ? "filename" : "file.filename", "file.driver"]) options.delete(key);
  const left = [...options.keys()][0];
  if (below !== "file")
    throw refuse(`backing protocol ${String(below)}`, `a backing file over ${String(below)} is not supported`);
  if (left !== undefined) throw refuse(`backing option ${left}`, `the backing file's option ${left} is not supported`);
  if (typeof path !== "string") throw refuse("json: backing", "the backing file's json: reference names no file");
  return { path, format: direct ? known(format) : known(typeof driver === "string" ? driver : format) };
}

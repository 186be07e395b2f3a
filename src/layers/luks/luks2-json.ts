import { isZero } from "../../bytes/integers.ts";
import { shortPrintable } from "../../bytes/text.ts";
import { StorageError } from "../../core/errors.ts";
import { safeNumber } from "../../core/numbers.ts";

/** A JSON object of the header with its path, for messages. Fields are taken by name and type, or it is corrupt. */
export class JsonRecord {
  readonly path: string;
  readonly #object: Readonly<Record<string, unknown>>;

  constructor(value: unknown, path: string) {
    if (typeof value !== "object" || value === null || Array.isArray(value)) throw bad(path, "is not an object");
    this.#object = value as Record<string, unknown>;
    this.path = path;
  }

  has(key: string): boolean {
    return Object.hasOwn(this.#object, key);
  }

  record(key: string): JsonRecord {
    return new JsonRecord(this.#get(key), this.#at(key));
  }

  string(key: string): string {
    const value = this.#get(key);
    if (typeof value !== "string") throw bad(this.#at(key), "is not a string");
    return value;
  }

  strings(key: string): readonly string[] {
    const value = this.#get(key);
    if (!Array.isArray(value) || !value.every((v) => typeof v === "string")) {
      throw bad(this.#at(key), "is not an array of strings");
    }
    return value;
  }

  /** A JSON number that fits a u32, as cryptsetup demands of all of them. */
  uint32(key: string, min = 0): number {
    const value = this.#get(key);
    if (typeof value !== "number" || !Number.isInteger(value) || value < min || value >= 2 ** 32) {
      throw bad(this.#at(key), `is not a whole number from ${min} to 2^32-1`);
    }
    return value;
  }

  /** A u64 as a decimal string (LUKS2, JSON Metadata: 64-bit integers are strings). */
  uint64(key: string): number {
    const value = this.string(key);
    if (!/^\d{1,20}$/.test(value)) throw bad(this.#at(key), "is not a decimal number");
    return safeNumber(BigInt(value), shortPrintable(this.#at(key)), "luks2");
  }

  /** Standard base64 of at most `max` bytes, at least one. */
  base64(key: string, max: number): Uint8Array {
    const value = this.string(key);
    const bytes = Buffer.from(value, "base64");
    if (bytes.toString("base64") !== value || bytes.length === 0 || bytes.length > max) {
      throw bad(this.#at(key), `is not base64 of 1 to ${max} bytes`);
    }
    return new Uint8Array(bytes);
  }

  /** Members whose names are numbers (`"0"`, `"1"`, …), ascending; at most `max` of them, each below it. */
  numbered(max: number): { readonly id: number; readonly record: JsonRecord }[] {
    return Object.entries(this.#object)
      .map(([key, value]) => {
        if (!/^(0|[1-9]\d{0,4})$/.test(key) || Number(key) >= max) throw bad(this.#at(key), "is not a valid number");
        return { id: Number(key), record: new JsonRecord(value, this.#at(key)) };
      })
      .sort((a, b) => a.id - b.id);
  }

  #get(key: string): unknown {
    if (!this.has(key)) throw bad(this.#at(key), "is missing");
    return this.#object[key];
  }

  #at(key: string): string {
    return this.path === "" ? key : `${this.path}.${key}`;
  }
}

/** The error of a field that is not as it must be; `path` names it (`keyslots.0.area.offset`). */
export function bad(path: string, what: string): StorageError {
  return new StorageError("corrupt", `JSON metadata: ${path === "" ? "it" : shortPrintable(path)} ${what}`, {
    layer: "luks2",
  });
}

/** The depth that json-c, with which cryptsetup reads it, allows (JSON_TOKENER_DEFAULT_DEPTH); the specification's objects need 5. */
const MAX_NESTING = 32;

/**
 * How deep arrays and objects lie in each other. Asked before JSON.parse, which spends seconds and hundreds of megabytes on a few
 * megabytes of brackets.
 */
function nesting(text: Uint8Array): number {
  let depth = 0;
  let deepest = 0;
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    const c = text[i]!;
    if (c === 0x22) quoted = !quoted;
    else if (quoted) i += c === 0x5c ? 1 : 0;
    else if (c === 0x5b || c === 0x7b) deepest = Math.max(deepest, ++depth);
    else if (c === 0x5d || c === 0x7d) depth--;
  }
  return deepest;
}

/**
 * The JSON text of an area: it starts at once with an object, and only zeros follow it (LUKS2, JSON Area: the unused rest is
 * set to zeros). `offset`: of the area on the device, for the error.
 */
export function parseJsonArea(area: Uint8Array, offset: number): { readonly text: string; readonly value: JsonRecord } {
  const fail = (what: string) => new StorageError("corrupt", `the JSON area ${what}`, { layer: "luks2", offset });
  const end = area.indexOf(0);
  if (end < 0) throw fail("is not terminated");
  if (!isZero(area.slice(end))) throw fail("holds bytes after its end");
  if (area[0] !== 0x7b) throw fail("does not start with an object");
  if (nesting(area.subarray(0, end)) > MAX_NESTING) throw fail(`is nested more than ${MAX_NESTING} deep`);
  let text: string;
  let value: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(area.subarray(0, end));
    value = JSON.parse(text);
  } catch {
    throw fail("is not valid JSON");
  }
  return { text, value: new JsonRecord(value, "") };
}

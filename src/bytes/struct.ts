/**
 * Binary structures declared as tables. From one table come the type, decode, encode and the printable layout.
 * Decoding is total: it never judges values, it only needs enough bytes. Validation is the caller's next step.
 */

export type Endian = "big" | "little";
type Scalar = "u8" | "u16" | "u32" | "u64" | "i32";

/** One field: byte offset from the structure's start, its type, and where the specification names it. */
export type Field =
  | { readonly at: number; readonly type: Scalar; readonly ref?: string }
  | { readonly at: number; readonly type: "bytes" | "ascii"; readonly length: number; readonly ref?: string };

type ValueOf<F extends Field> = F["type"] extends "u64"
  ? bigint
  : F["type"] extends "bytes"
    ? Uint8Array
    : F["type"] extends "ascii"
      ? string
      : number;
export type Decoded<T extends Record<string, Field>> = { -readonly [K in keyof T]: ValueOf<T[K]> };

export interface Struct<T extends Record<string, Field>> {
  readonly name: string;
  /** Bytes from the start to the end of the last field. */
  readonly size: number;
  readonly fields: T;
  /** Decodes at `offset` of `bytes`; RangeError when the bytes are too short. `bytes` fields are copies. */
  decode(bytes: Uint8Array, offset?: number): Decoded<T>;
  /** Writes the given fields only; all other bytes of `into` survive. `ascii` fields are padded with NUL. */
  encode(values: Partial<Decoded<T>>, into: Uint8Array, offset?: number): void;
  /** One line per field: offset, type, name, reference. */
  layout(): string;
}

const WIDTH: Record<Scalar, number> = { u8: 1, u16: 2, u32: 4, u64: 8, i32: 4 };

function widthOf(field: Field): number {
  return "length" in field ? field.length : WIDTH[field.type];
}

/** NUL-terminated text; bytes beyond ASCII are kept as Latin-1 so that decoding is total. */
export function cString(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return Buffer.from(end < 0 ? bytes : bytes.subarray(0, end)).toString("latin1");
}

export function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function readField(dv: DataView, bytes: Uint8Array, at: number, field: Field, little: boolean): unknown {
  switch (field.type) {
    case "u8":
      return dv.getUint8(at);
    case "u16":
      return dv.getUint16(at, little);
    case "u32":
      return dv.getUint32(at, little);
    case "i32":
      return dv.getInt32(at, little);
    case "u64":
      return dv.getBigUint64(at, little);
    case "bytes":
      return bytes.slice(at, at + field.length);
    case "ascii":
      return cString(bytes.subarray(at, at + field.length));
  }
}

function writeField(dv: DataView, bytes: Uint8Array, at: number, field: Field, value: unknown, little: boolean): void {
  switch (field.type) {
    case "u8":
      dv.setUint8(at, value as number);
      break;
    case "u16":
      dv.setUint16(at, value as number, little);
      break;
    case "u32":
      dv.setUint32(at, value as number, little);
      break;
    case "i32":
      dv.setInt32(at, value as number, little);
      break;
    case "u64":
      dv.setBigUint64(at, value as bigint, little);
      break;
    case "bytes": {
      const source = value as Uint8Array;
      if (source.length !== field.length) throw new RangeError(`${source.length} bytes for a field of ${field.length}`);
      bytes.set(source, at);
      return;
    }
    case "ascii": {
      const source = Buffer.from(value as string, "latin1");
      if (source.length > field.length) throw new RangeError(`${source.length} bytes for a field of ${field.length}`);
      bytes.fill(0, at, at + field.length);
      bytes.set(source, at);
    }
  }
}

/** Declares a structure. `endian` holds for all its fields. */
export function struct<const T extends Record<string, Field>>(name: string, endian: Endian, fields: T): Struct<T> {
  const little = endian === "little";
  const entries = Object.entries(fields);
  const size = Math.max(...entries.map(([, f]) => f.at + widthOf(f)));
  return {
    name,
    size,
    fields,
    decode(bytes, offset = 0) {
      if (offset + size > bytes.length)
        throw new RangeError(`${name} needs ${size} bytes, ${bytes.length - offset} there`);
      const dv = view(bytes);
      const out: Record<string, unknown> = {};
      for (const [key, field] of entries) out[key] = readField(dv, bytes, offset + field.at, field, little);
      return out as Decoded<T>;
    },
    encode(values, into, offset = 0) {
      const dv = view(into);
      for (const [key, field] of entries) {
        if (values[key] !== undefined) writeField(dv, into, offset + field.at, field, values[key], little);
      }
    },
    layout() {
      return entries
        .map(
          ([key, f]) =>
            `${String(f.at).padStart(5)} ${("length" in f ? `${f.type}[${f.length}]` : f.type).padEnd(10)} ${key}${f.ref ? `  (${f.ref})` : ""}`,
        )
        .join("\n");
    },
  };
}

import { cString } from "../../bytes/struct.ts";
import { StorageError } from "../../core/errors.ts";
import { safeNumber } from "../../core/numbers.ts";

/** Incompatible feature bits (specification, "Header", bytes 72-79). */
export const DIRTY = 1n << 0n;
export const CORRUPT = 1n << 1n;
export const DATA_FILE = 1n << 2n;
export const COMPRESSION_TYPE = 1n << 3n;
export const EXTENDED_L2 = 1n << 4n;
/** Compatible feature bits (bytes 80-87). */
export const LAZY_REFCOUNTS = 1n << 0n;
/** Autoclear feature bits (bytes 88-95). */
export const BITMAPS = 1n << 0n;
export const RAW_DATA_FILE = 1n << 1n;

/** Names as QEMU writes them into the feature name table (block/qcow2.c, qcow2_update_header). */
const KNOWN: { readonly [type: number]: readonly string[] } = {
  0: ["dirty bit", "corrupt bit", "external data file", "compression type", "extended L2 entries"],
  1: ["lazy refcounts"],
  2: ["bitmaps", "raw external data"],
};
const INCOMPATIBLE_WE_OPEN = DIRTY | CORRUPT | DATA_FILE | COMPRESSION_TYPE | EXTENDED_L2;

/** Types in the feature name table. */
export type FeatureType = 0 | 1 | 2;

/** Header extension types ("Header extensions"). */
const END = 0;
const BACKING_FORMAT = 0xe2792aca;
const FEATURE_NAMES = 0x6803f857;
const DATA_FILE_NAME = 0x44415441;
const BITMAPS_EXTENSION = 0x23852875;
const ENCRYPTION_HEADER = 0x0537be77;
/** Bytes of one entry of the feature name table. */
const FEATURE_ENTRY = 48;

export interface Extensions {
  readonly backingFormat: string | null;
  readonly dataFile: string | null;
  readonly hasBitmaps: boolean;
  /** Where the LUKS header of an encrypted image lies; bytes. */
  readonly encryption: { readonly offset: number; readonly length: number } | null;
  /** Names from the image's own table, by `type:bit`. */
  readonly featureNames: ReadonlyMap<string, string>;
}

/** The result, or how many bytes from the image's start are needed to go on. */
export type ExtensionsResult = Extensions | { readonly need: number };

/** Parses the header extensions between `start` and `end` of the first cluster, of which `bytes` is the beginning. */
export function parseExtensions(bytes: Uint8Array, start: number, end: number): ExtensionsResult {
  let backingFormat: string | null = null;
  let dataFile: string | null = null;
  let hasBitmaps = false;
  let encryption: Extensions["encryption"] = null;
  const featureNames = new Map<string, string>();
  const dv = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = start; at + 8 <= end; ) {
    if (at + 8 > bytes.length) return { need: at + 8 };
    const type = dv.getUint32(at);
    if (type === END) break;
    const length = dv.getUint32(at + 4);
    const body = at + 8;
    if (body + length > end) {
      throw new StorageError("corrupt", `a header extension of ${length} bytes reaches beyond the header's area`, {
        layer: "qcow2",
        offset: at,
      });
    }
    if (body + length > bytes.length) return { need: body + length };
    const data = bytes.subarray(body, body + length);
    if (type === BACKING_FORMAT) backingFormat = cString(data);
    else if (type === DATA_FILE_NAME) dataFile = cString(data);
    else if (type === BITMAPS_EXTENSION) hasBitmaps = true;
    else if (type === ENCRYPTION_HEADER) encryption = encryptionHeader(data, at);
    else if (type === FEATURE_NAMES) {
      for (let e = 0; e + FEATURE_ENTRY <= data.length; e += FEATURE_ENTRY) {
        featureNames.set(`${data[e]}:${data[e + 1]}`, cString(data.subarray(e + 2, e + FEATURE_ENTRY)));
      }
    }
    at = body + Math.ceil(length / 8) * 8;
  }
  return { backingFormat, dataFile, hasBitmaps, encryption, featureNames };
}

/** "Full disk encryption header pointer". */
function encryptionHeader(data: Uint8Array, at: number): NonNullable<Extensions["encryption"]> {
  if (data.length !== 16) {
    throw new StorageError("corrupt", `an encryption header pointer of ${data.length} bytes`, {
      layer: "qcow2",
      offset: at,
    });
  }
  const dv = new DataView(data.buffer, data.byteOffset, data.byteLength);
  return {
    offset: safeNumber(dv.getBigUint64(0), "the encryption header's offset", "qcow2", at),
    length: safeNumber(dv.getBigUint64(8), "the encryption header's length", "qcow2", at),
  };
}

/** Names of the set bits: the specification's, else the image's own, else the bit number. */
export function featureNames(mask: bigint, type: FeatureType, own: ReadonlyMap<string, string>): string[] {
  const out: string[] = [];
  for (let bit = 0; bit < 64; bit++) {
    if ((mask & (1n << BigInt(bit))) === 0n) continue;
    out.push(KNOWN[type]?.[bit] ?? own.get(`${type}:${bit}`) ?? `bit ${bit}`);
  }
  return out;
}

/** Incompatible features that stop an image from being opened, by name. */
export function refusedFeatures(incompatible: bigint, own: ReadonlyMap<string, string>): string[] {
  return featureNames(incompatible & ~INCOMPATIBLE_WE_OPEN, 0, own);
}

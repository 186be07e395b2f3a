import { StorageError } from "../../core/errors.ts";
import type { Limits } from "../../core/limits.ts";
import { withinLimit } from "../../core/numbers.ts";

/** The comment that every descriptor begins with ("The Descriptor File" in VMware's Virtual Disk Format 5.0). */
const TITLE = /^#\s*disk descriptorfile/i;
/** `parentCID` of an image without a parent. */
export const NO_PARENT = "ffffffff";

export interface ExtentLine {
  readonly access: "RW" | "RDONLY" | "NOACCESS";
  /** Sectors of 512 bytes. */
  readonly sectors: number;
  /** FLAT, SPARSE, ZERO, VMFS, VMFSSPARSE, SESPARSE … */
  readonly type: string;
  /** As it is written; null for ZERO. */
  readonly file: string | null;
  /** Sectors from the file's start (FLAT). */
  readonly offset: number;
}

export interface Descriptor {
  readonly createType: string;
  readonly cid: string;
  readonly parentCid: string;
  readonly extents: readonly ExtentLine[];
}

/** Whether the first bytes of a file are those of a descriptor: its title, then nothing but comments before `version=`. */
export function looksLikeDescriptor(start: Uint8Array): boolean {
  const lines = textOf(start).split(/\r?\n/);
  if (!TITLE.test(lines[0] ?? "")) return false;
  const first = lines.find((line) => line.trim() !== "" && !line.startsWith("#"));
  return /^version\s*=\s*[123]\s*$/i.test(first ?? "");
}

/** Text up to the first NUL: an embedded descriptor is padded with them. Bytes that are no UTF-8 become U+FFFD. */
function textOf(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
}

/** Parses a descriptor; `at` is its place in the file, for errors. */
export function parseDescriptor(bytes: Uint8Array, at: number, limits: Limits): Descriptor {
  const values = new Map<string, string>();
  const extents: ExtentLine[] = [];
  for (const line of textOf(bytes).split(/\r?\n/)) {
    if (line.trimStart().startsWith("#")) continue;
    const pair = /^\s*([\w.]+)\s*=\s*(?:"([^"]*)"|(.*?))\s*$/.exec(line);
    if (pair) {
      const key = pair[1]!.toLowerCase();
      if (!values.has(key)) values.set(key, pair[2] ?? pair[3] ?? "");
    } else if (line.trim() !== "") extents.push(extentLine(line.trim(), at));
    withinLimit(extents.length, limits.vmdkExtents, "vmdkExtents", "extents of the image", "vmdk", at);
  }
  const createType = values.get("createtype");
  if (createType === undefined) throw corrupt("the descriptor does not say what kind of image it is (createType)", at);
  return { createType, cid: idOf(values, "cid", at), parentCid: idOf(values, "parentcid", at), extents };
}

function idOf(values: ReadonlyMap<string, string>, key: string, at: number): string {
  const value = values.get(key) ?? "";
  if (!/^[0-9a-f]{1,8}$/i.test(value))
    throw corrupt(`the descriptor has no ${key === "cid" ? "CID" : "parentCID"}`, at);
  return value.toLowerCase().padStart(8, "0");
}

const EXTENT = /^(RW|RDONLY|NOACCESS)\s+(\d{1,15})\s+([A-Z]+)(?:\s+"([^"]*)"(?:\s+(\d{1,15}))?(?:\s.*)?)?$/;

function extentLine(line: string, at: number): ExtentLine {
  const m = EXTENT.exec(line);
  const [, access, sectors, type, file = null, offset] = m ?? [];
  if (!m || Number(sectors) === 0 || (file === null) !== (type === "ZERO"))
    throw corrupt(`the descriptor has a line that is not understood: ${line.slice(0, 80)}`, at);
  return {
    access: access as ExtentLine["access"],
    sectors: Number(sectors),
    type: type!,
    file,
    offset: offset === undefined ? 0 : Number(offset),
  };
}

function corrupt(message: string, offset: number): StorageError {
  return new StorageError("corrupt", message, { layer: "vmdk", offset });
}

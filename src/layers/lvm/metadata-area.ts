import { crc32Raw } from "../../bytes/crc.ts";
import { exactNumber } from "../../bytes/integers.ts";
import { struct } from "../../bytes/struct.ts";
import { type Area, INITIAL_CRC } from "./label.ts";

/** lib/format_text/layout.h: MDA_HEADER_SIZE; the ring buffer of texts follows it. */
export const AREA_HEADER_SIZE = 512;
/** FMTT_MAGIC. */
const MAGIC = " LVM2 x[5A%r0N*>";
const VERSION = 1;
/** RAW_LOCN_IGNORED: the area is not kept up to date (pvchange --metadataignore y). */
const IGNORED = 0x1;

const HEADER = struct("mda_header", "little", {
  crc: { at: 0, type: "u32", ref: "lib/format_text/layout.h: checksum_xl, of all that follows" },
  magic: { at: 4, type: "ascii", length: 16, ref: "FMTT_MAGIC" },
  version: { at: 20, type: "u32", ref: "FMTT_VERSION" },
  start: { at: 24, type: "u64", ref: "absolute byte of this header" },
  size: { at: 32, type: "u64", ref: "bytes, header included" },
  // raw_locns[0]: the committed text. Slot 1 is precommitted: lvm itself reads it only inside a running transaction.
  textOffset: { at: 40, type: "u64", ref: "raw_locns[0].offset, from `start`" },
  textSize: { at: 48, type: "u64", ref: "raw_locns[0].size, with the final NUL" },
  textCrc: { at: 56, type: "u32", ref: "raw_locns[0].checksum" },
  textFlags: { at: 60, type: "u32", ref: "raw_locns[0].flags" },
});

/** Where the committed text stands: one run, or two when it wraps around the end of the ring buffer. */
export interface TextLocation {
  /** Absolute byte runs on the device. */
  readonly runs: readonly Area[];
  /** Bytes in all runs. */
  readonly size: number;
  readonly crc: number;
}

export type AreaResult =
  | { readonly kind: "text"; readonly location: TextLocation }
  /** No VG has written here, or the area is marked to be ignored. */
  | { readonly kind: "empty" | "ignored" }
  | { readonly kind: "damaged"; readonly reason: string };

/** Decodes and verifies the header of a metadata area; `block` is read from `area.offset`. */
export function readAreaHeader(block: Uint8Array, area: Area): AreaResult {
  const bad = (reason: string): AreaResult => ({ kind: "damaged", reason });
  if (block.length < AREA_HEADER_SIZE) return bad("it lies beyond the end of the device");
  const h = HEADER.decode(block);
  if (crc32Raw(block.subarray(4, AREA_HEADER_SIZE), INITIAL_CRC) !== h.crc)
    return bad("its header's checksum is wrong");
  if (h.magic !== MAGIC) return bad("its header has no magic");
  if (h.version !== VERSION) return bad(`its header's version ${h.version} is not known`);
  if (h.start !== BigInt(area.offset)) return bad(`its header says that it stands at ${h.start}`);
  if (h.textFlags % 2 === IGNORED) return { kind: "ignored" };
  if (h.textOffset === 0n) return { kind: "empty" };
  const ring = exactNumber(h.size);
  const offset = exactNumber(h.textOffset);
  const size = exactNumber(h.textSize);
  if (ring === null || offset === null || size === null || area.offset + ring > Number.MAX_SAFE_INTEGER) {
    return bad("its header's sizes are beyond what can be addressed");
  }
  if (size === 0) return { kind: "empty" };
  if (offset < AREA_HEADER_SIZE || offset >= ring || size > ring - AREA_HEADER_SIZE) {
    return bad("its text is said to lie outside the area");
  }
  const first = Math.min(size, ring - offset);
  const runs: Area[] = [{ offset: area.offset + offset, size: first }];
  if (first < size) runs.push({ offset: area.offset + AREA_HEADER_SIZE, size: size - first });
  return { kind: "text", location: { runs, size, crc: h.textCrc } };
}

export function textMatches(text: Uint8Array, location: TextLocation): boolean {
  return text.length === location.size && crc32Raw(text, INITIAL_CRC) === location.crc;
}

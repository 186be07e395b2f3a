import { type Decoded, struct } from "../../bytes/struct.ts";
import { uuidText } from "../../bytes/uuid.ts";
import { safeNumber } from "../../core/numbers.ts";

/** Bytes of the footer, and of its copy at the start of a dynamic image (Virtual Hard Disk Image Format Specification 1.0, "Hard Disk Footer Format"). */
export const FOOTER_BYTES = 512;
const COOKIE = Buffer.from("conectix", "latin1");
/** The largest geometry that the fields' algorithm makes: the disk is then as large as or larger than it. */
const LARGEST_GEOMETRY = 65535 * 16 * 255;

export const FIXED = 2;
export const DYNAMIC = 3;
export const DIFFERENCING = 4;

const FOOTER = struct("VHD footer", "big", {
  cookie: { at: 0, type: "bytes", length: 8 },
  features: { at: 8, type: "u32" },
  version: { at: 12, type: "u32", ref: "File Format Version" },
  dataOffset: { at: 16, type: "u64", ref: "of the dynamic disk header" },
  creator: { at: 28, type: "bytes", length: 4, ref: "Creator Application" },
  currentSize: { at: 48, type: "u64" },
  cylinders: { at: 56, type: "u16", ref: "Disk Geometry" },
  heads: { at: 58, type: "u8" },
  sectors: { at: 59, type: "u8" },
  type: { at: 60, type: "u32" },
  checksum: { at: 64, type: "u32" },
  uuid: { at: 68, type: "bytes", length: 16 },
  savedState: { at: 84, type: "u8" },
});

/** A footer whose checksum is right. Sizes in bytes. */
export interface Footer {
  readonly type: number;
  readonly version: number;
  readonly dataOffset: bigint;
  readonly creator: string;
  readonly uuid: string;
  readonly size: number;
  /** As the footer says it, whatever the disk's size is. */
  readonly currentSize: number;
  readonly sizeByGeometry: boolean;
  readonly savedState: boolean;
}

export function hasCookie(bytes: Uint8Array): boolean {
  return bytes.length >= COOKIE.length && COOKIE.equals(bytes.subarray(0, COOKIE.length));
}

/** One's complement of the sum of all bytes but the checksum's own four, which stand at `at`. */
export function checksum(bytes: Uint8Array, at: number): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i++) if (i < at || i >= at + 4) sum += bytes[i]!;
  return ~sum >>> 0;
}

/** Null: no footer, or one whose checksum is wrong. `at` is where it was read, for errors. */
export function parseFooter(bytes: Uint8Array, at: number): Footer | null {
  if (bytes.length < FOOTER_BYTES || !hasCookie(bytes)) return null;
  const f = FOOTER.decode(bytes);
  if (f.checksum !== checksum(bytes.subarray(0, FOOTER_BYTES), FOOTER.fields.checksum.at)) return null;
  const currentSize = safeNumber(f.currentSize, "the size of the disk", "vhd", at + FOOTER.fields.currentSize.at);
  const geometry = f.cylinders * f.heads * f.sectors;
  const byGeometry = usesGeometry(f) && geometry < LARGEST_GEOMETRY;
  return {
    type: f.type,
    version: f.version,
    dataOffset: f.dataOffset,
    creator: Buffer.from(f.creator).toString("latin1").replaceAll("\0", "").trim(),
    uuid: uuidText(f.uuid),
    size: byGeometry ? geometry * 512 : currentSize - (currentSize % 512),
    currentSize,
    sizeByGeometry: byGeometry,
    savedState: f.savedState !== 0,
  };
}

/**
 * Virtual PC shows a guest the disk that the geometry describes, Hyper-V and others the size in the footer. Nothing but the creator's name
 * tells which; this is QEMU's list (block/vpc.c).
 */
function usesGeometry(f: Decoded<typeof FOOTER.fields>): boolean {
  const creator = Buffer.from(f.creator).toString("latin1");
  return !["win ", "qem2", "d2v ", "CTXS", "tap\0", "wa\0\0"].includes(creator);
}

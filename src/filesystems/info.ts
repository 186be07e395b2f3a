import { exactNumber } from "../bytes/integers.ts";
import type { Finding, Json } from "../core/finding.ts";
import type { ProbeWindow } from "../core/layer.ts";

/** What a superblock says about the volume that it lies in. Nothing here was checked beyond that superblock. */
export interface FilesystemInfo {
  /**
   * `filesystem` and `swap`; `unknown` for what is known by name only
   * and holds no files of its own (BitLocker, bcache, DRBD, a ZFS member, an external ext journal).
   */
  readonly kind: "filesystem" | "swap" | "unknown";
  /** As blkid's TYPE: `ext4`, `xfs`, `vfat`, … */
  readonly type: string;
  /** As blkid's UUID, or null when there is none or it is all zeros. */
  readonly uuid: string | null;
  /** As blkid's LABEL, or null. Guest-controlled: whoever prints it to a terminal escapes control characters. */
  readonly label: string | null;
  /** Bytes of the volume that the superblock claims, or null when it does not say. */
  readonly size: number | null;
  /** `clean`, `not clean`, `errors`, `needs journal recovery`, `dirty log`, …; null when the superblock does not tell. */
  readonly state: string | null;
  readonly details: { readonly [key: string]: Json };
  readonly findings: readonly Finding[];
}

/** Looks for one family of formats. Null: not this format. Never throws because of what it reads. */
export interface Recogniser {
  readonly name: string;
  /**
   * libblkid's usage classes: a `raid` or `crypto` signature ends the search, since what else is found on such a device
   * belongs to what lies inside (superblocks_safeprobe in libblkid/src/superblocks/superblocks.c).
   */
  readonly usage: "raid" | "crypto" | "filesystem" | "other";
  /** May share a device with another signature without ambiguity (BLKID_IDINFO_TOLERANT: ISO hybrid images). */
  readonly tolerant?: true;
  recognise(window: ProbeWindow): Promise<FilesystemInfo | null>;
}

/** `length` bytes at `offset`, or null when the device ends before. */
export async function readExactly(window: ProbeWindow, offset: number, length: number): Promise<Uint8Array | null> {
  if (!Number.isSafeInteger(offset) || offset < 0 || offset + length > window.size) return null;
  const bytes = await window.read(offset, length);
  return bytes.length === length ? bytes : null;
}

/** True when `bytes` holds the Latin-1 `text` at `offset`. */
export function hasText(bytes: Uint8Array, offset: number, text: string): boolean {
  if (offset + text.length > bytes.length) return false;
  for (let i = 0; i < text.length; i++) if (bytes[offset + i] !== text.charCodeAt(i)) return false;
  return true;
}

/** A NUL-terminated UTF-8 field as blkid gives it: trailing white space cut, null when nothing is left. */
export function utf8Field(bytes: Uint8Array): string | null {
  const end = bytes.indexOf(0);
  return orNull(Buffer.from(end < 0 ? bytes : bytes.subarray(0, end)).toString("utf8"));
}

/** A UTF-16 field, ended by NUL; `big` for Joliet. Unpaired surrogates become U+FFFD. */
export function utf16Field(bytes: Uint8Array, big = false): string | null {
  const copy = Buffer.from(bytes.subarray(0, bytes.length - (bytes.length % 2)));
  const text = new TextDecoder("utf-16le", { ignoreBOM: true }).decode(big ? copy.swap16() : copy);
  const end = text.indexOf("\0");
  return orNull(end < 0 ? text : text.slice(0, end));
}

function orNull(text: string): string | null {
  const trimmed = text.replace(/[ \t\n\v\f\r]+$/, "");
  return trimmed === "" ? null : trimmed;
}

/** Seconds since 1970 as ISO 8601 in UTC; null for 0 (never) and for what no calendar holds. */
export function isoTime(seconds: number): string | null {
  const date = new Date(seconds * 1000);
  if (seconds === 0 || Number.isNaN(date.getTime())) return null;
  return date.toISOString().replace(".000Z", "Z");
}

/** A u64 for JSON: exact as a number where possible, else as decimal text. */
export function jsonNumber(value: bigint): number | string {
  return exactNumber(value) ?? value.toString();
}

/** `units * unit` bytes, or null beyond 2^53-1. */
export function sizeOf(units: bigint, unit: number): number | null {
  return exactNumber(units * BigInt(unit));
}

/** The finding for a volume that is smaller than its file system says: its end is missing. */
export function truncation(layer: string, claimed: bigint, window: ProbeWindow, offset: number): Finding[] {
  if (claimed <= BigInt(window.size)) return [];
  return [
    {
      severity: "error",
      code: `${layer}-truncated`,
      message: `the superblock says ${claimed} bytes, the volume has ${window.size}: its end is missing`,
      layer,
      offset,
    },
  ];
}

/** The finding for a superblock whose checksum does not match. */
export function badChecksum(layer: string, offset: number): Finding {
  return {
    severity: "error",
    code: `${layer}-superblock-checksum`,
    message: "the superblock's checksum is wrong: its values cannot be trusted",
    layer,
    offset,
  };
}

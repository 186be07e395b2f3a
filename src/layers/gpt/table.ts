import { crc32 } from "../../bytes/crc.ts";
import { isPowerOfTwo, isZero } from "../../bytes/integers.ts";
import { struct } from "../../bytes/struct.ts";
import { guidText } from "../../bytes/uuid.ts";

const SIGNATURE = "EFI PART";
/** HeaderSize of revision 1.0; larger is allowed up to the logical block (UEFI 2.10, table 5.5). */
const HEADER_SIZE_MIN = 92;
/** SizeOfPartitionEntry shall be 128 * 2^n (UEFI 2.10, table 5.5). */
const ENTRY_SIZE_MIN = 128;
const CRC_AT = 16;

const HEADER = struct("GPT header", "little", {
  signature: { at: 0, type: "ascii", length: 8, ref: "UEFI 2.10, table 5.5: Signature" },
  revision: { at: 8, type: "u32", ref: "Revision, 0x00010000" },
  headerSize: { at: 12, type: "u32", ref: "HeaderSize" },
  headerCrc: { at: CRC_AT, type: "u32", ref: "HeaderCRC32, computed with this field zero" },
  myLba: { at: 24, type: "u64", ref: "MyLBA" },
  alternateLba: { at: 32, type: "u64", ref: "AlternateLBA" },
  firstUsableLba: { at: 40, type: "u64", ref: "FirstUsableLBA" },
  lastUsableLba: { at: 48, type: "u64", ref: "LastUsableLBA" },
  diskGuid: { at: 56, type: "bytes", length: 16, ref: "DiskGUID" },
  entriesLba: { at: 72, type: "u64", ref: "PartitionEntryLBA" },
  entryCount: { at: 80, type: "u32", ref: "NumberOfPartitionEntries" },
  entrySize: { at: 84, type: "u32", ref: "SizeOfPartitionEntry" },
  entriesCrc: { at: 88, type: "u32", ref: "PartitionEntryArrayCRC32" },
});

const ENTRY = struct("GPT partition entry", "little", {
  typeGuid: { at: 0, type: "bytes", length: 16, ref: "UEFI 2.10, table 5.6: PartitionTypeGUID" },
  guid: { at: 16, type: "bytes", length: 16, ref: "UniquePartitionGUID" },
  firstLba: { at: 32, type: "u64", ref: "StartingLBA" },
  lastLba: { at: 40, type: "u64", ref: "EndingLBA, inclusive" },
  attributes: { at: 48, type: "u64", ref: "Attributes" },
  name: { at: 56, type: "bytes", length: 72, ref: "PartitionName, UTF-16LE" },
});

/** LBAs stay bigint until they are checked against the disk. */
export interface GptHeader {
  readonly revision: number;
  readonly myLba: bigint;
  readonly alternateLba: bigint;
  readonly firstUsableLba: bigint;
  readonly lastUsableLba: bigint;
  /** Lower-case GUID. */
  readonly diskGuid: string;
  readonly entriesLba: bigint;
  readonly entryCount: number;
  /** Bytes. */
  readonly entrySize: number;
  readonly entriesCrc: number;
}

export interface GptEntry {
  /** From 1: the index in the array plus one, as all tools number partitions. */
  readonly number: number;
  readonly typeGuid: string;
  readonly guid: string;
  readonly firstLba: bigint;
  /** Inclusive. */
  readonly lastLba: bigint;
  readonly attributes: bigint;
  readonly name: string;
}

export type HeaderResult =
  | { readonly header: GptHeader }
  /** `signed`: the signature is there, so that this was a header; `reason` says what is wrong with it. */
  | { readonly header: null; readonly signed: boolean; readonly reason: string };

export function hasSignature(block: Uint8Array): boolean {
  return Buffer.from(block.subarray(0, 8)).toString("latin1") === SIGNATURE;
}

/** Decodes and verifies the header in one logical block that was read from `lba` (UEFI 2.10, 5.3.2). */
export function decodeHeader(block: Uint8Array, lba: number): HeaderResult {
  if (block.length < HEADER.size || !hasSignature(block)) return { header: null, signed: false, reason: "no header" };
  const bad = (reason: string): HeaderResult => ({ header: null, signed: true, reason });
  const h = HEADER.decode(block);
  if (h.headerSize < HEADER_SIZE_MIN || h.headerSize > block.length) return bad(`its size is ${h.headerSize} bytes`);
  const copy = block.slice(0, h.headerSize);
  copy.fill(0, CRC_AT, CRC_AT + 4);
  if (crc32(copy) !== h.headerCrc) return bad("its checksum is wrong");
  if (h.myLba !== BigInt(lba)) return bad(`it says that it stands at block ${h.myLba}`);
  if (h.entrySize < ENTRY_SIZE_MIN || !isPowerOfTwo(h.entrySize / ENTRY_SIZE_MIN)) {
    return bad(`an entry size of ${h.entrySize} bytes is not 128 times a power of two`);
  }
  return { header: { ...h, diskGuid: guidText(h.diskGuid) } };
}

/** Used entries of the array, which was verified by its checksum. */
export function decodeEntries(array: Uint8Array, header: GptHeader): GptEntry[] {
  const entries: GptEntry[] = [];
  for (let i = 0; i < header.entryCount; i++) {
    const at = i * header.entrySize;
    // An unused entry has the zero type GUID (UEFI 2.10, table 5.7).
    if (isZero(array.subarray(at, at + 16))) continue;
    const e = ENTRY.decode(array, at);
    entries.push({
      ...e,
      number: i + 1,
      typeGuid: guidText(e.typeGuid),
      guid: guidText(e.guid),
      name: nameText(e.name),
    });
  }
  return entries;
}

function nameText(bytes: Uint8Array): string {
  const text = Buffer.from(bytes).toString("utf16le");
  const end = text.indexOf("\0");
  return end < 0 ? text : text.slice(0, end);
}

import { isZero } from "../../bytes/integers.ts";
import { struct } from "../../bytes/struct.ts";
import { guidText } from "../../bytes/uuid.ts";
import { type BlockDevice, readBytes } from "../../core/device.ts";
import type { Finding } from "../../core/finding.ts";
import { safeNumber } from "../../core/numbers.ts";
import { checksumHolds } from "./checksum.ts";
import { corrupt, unsupported } from "./errors.ts";

export const MIB = 1024 * 1024;
const HEADERS_AT = [64 * 1024, 128 * 1024] as const;
const HEADER_BYTES = 4096;
/** What stands before the first MiB belongs to the header section. */
export const HEADER_SECTION = 1024 * 1024;

/** MS-VHDX 2.2.2, "Headers". */
const HEADER = struct("VHDX header", "little", {
  signature: { at: 0, type: "ascii", length: 4 },
  sequence: { at: 8, type: "u64" },
  dataWriteGuid: { at: 32, type: "bytes", length: 16 },
  logGuid: { at: 48, type: "bytes", length: 16 },
  logVersion: { at: 64, type: "u16" },
  version: { at: 66, type: "u16" },
  logLength: { at: 68, type: "u32" },
  logOffset: { at: 72, type: "u64" },
});

/** The header that counts. Sizes and offsets in bytes. */
export interface Header {
  readonly dataWriteGuid: string;
  /** The log's place and id; null: the log is empty. */
  readonly log: { readonly guid: Uint8Array; readonly offset: number; readonly length: number } | null;
  readonly logArea: { readonly offset: number; readonly length: number };
}

/** Reads both headers and takes the newer sound one. */
export async function readHeader(file: BlockDevice): Promise<{ header: Header; findings: Finding[] }> {
  if (file.size < HEADER_SECTION) throw corrupt(`the file has ${file.size} bytes: it is truncated`, file.size);
  const findings: Finding[] = [];
  const sound: { at: number; bytes: Uint8Array; sequence: bigint }[] = [];
  for (const at of HEADERS_AT) {
    const bytes = await readBytes(file, at, HEADER_BYTES);
    const { signature, sequence } = HEADER.decode(bytes);
    if (signature === "head" && checksumHolds(bytes)) sound.push({ at, bytes, sequence });
    else findings.push(damaged(at));
  }
  const [first, second] = sound;
  if (!first) throw corrupt("both headers are damaged", HEADERS_AT[0]);
  if (second?.sequence === first.sequence && Buffer.compare(first.bytes, second.bytes) !== 0)
    throw corrupt("the two headers have the same sequence number and differ", first.at);
  const { at, bytes } = second && second.sequence > first.sequence ? second : first;
  return { header: parse(bytes, at, file.size), findings };
}

/** One of two is always a whole older one: that is how the format survives a crash in the middle of writing the other. */
function damaged(offset: number): Finding {
  return {
    severity: "info",
    code: "vhdx-header",
    message: "one of the two headers is not valid; the other one is used",
    layer: "vhdx",
    offset,
  };
}

function parse(bytes: Uint8Array, at: number, fileSize: number): Header {
  const h = HEADER.decode(bytes);
  if (h.version !== 1) throw unsupported(`VHDX version ${h.version}`, at + HEADER.fields.version.at);
  const empty = isZero(h.logGuid);
  if (!empty && h.logVersion !== 0)
    throw unsupported(`VHDX log version ${h.logVersion}`, at + HEADER.fields.logVersion.at);
  const offset = safeNumber(h.logOffset, "the log's place", "vhdx", at + HEADER.fields.logOffset.at);
  const length = h.logLength;
  if (
    length % MIB !== 0 ||
    offset % MIB !== 0 ||
    (length > 0 && (offset < HEADER_SECTION || offset + length > fileSize))
  )
    throw corrupt(`a log of ${length} bytes at ${offset}`, at + HEADER.fields.logOffset.at);
  return {
    dataWriteGuid: guidText(h.dataWriteGuid),
    log: empty ? null : { guid: h.logGuid, offset, length },
    logArea: { offset, length },
  };
}

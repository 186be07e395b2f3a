import { createHash } from "node:crypto";
import { type Decoded, struct } from "../../bytes/struct.ts";
import { type BlockDevice, readBytes } from "../../core/device.ts";
import { describeError, StorageError } from "../../core/errors.ts";
import type { Finding } from "../../core/finding.ts";
import type { Limits } from "../../core/limits.ts";
import { withinLimit } from "../../core/numbers.ts";
import { hashKnown, opensslHash } from "../../crypto/hash.ts";
import { parseJsonArea } from "./luks2-json.ts";
import { type Luks2Metadata, readMetadata } from "./luks2-metadata.ts";
import { BINARY_HEADER_BYTES, hasPrimaryMagic, hasSecondaryMagic, LUKS2_HEADER_SIZES } from "./magic.ts";

/** LUKS2 On-Disk Format 1.1.4, Binary Header. */
const LUKS2_HEADER = struct("luks2", "big", {
  magic: { at: 0, type: "bytes", length: 6 },
  version: { at: 6, type: "u16" },
  hdrSize: { at: 8, type: "u64", ref: "binary header and JSON area" },
  seqid: { at: 16, type: "u64" },
  label: { at: 24, type: "bytes", length: 48 },
  csumAlg: { at: 72, type: "ascii", length: 32 },
  salt: { at: 104, type: "bytes", length: 64 },
  uuid: { at: 168, type: "ascii", length: 40 },
  subsystem: { at: 208, type: "bytes", length: 48 },
  hdrOffset: { at: 256, type: "u64" },
  csum: { at: 448, type: "bytes", length: 64 },
});

/** One of the two headers, verified by checksum and content. */
export interface Luks2Copy {
  readonly offset: number;
  readonly size: number;
  readonly sequenceId: bigint;
  readonly uuid: string;
  readonly label: string | null;
  readonly subsystem: string | null;
  readonly metadata: Luks2Metadata;
}

/**
 * Reads both headers, each once, and gives the newest valid one (LUKS2, Metadata Recovery): where an update was interrupted their sequence ids
 * differ; where one is damaged the other counts. `corrupt` when neither is valid.
 */
export async function readLuks2(
  device: BlockDevice,
  limits: Limits,
): Promise<{ readonly header: Luks2Copy; readonly findings: readonly Finding[] }> {
  const primary = await readCopy(device, 0, limits);
  if (isCopy(primary)) {
    const secondary = await readCopy(device, primary.size, limits);
    if (!isCopy(secondary)) {
      const finding = damaged("secondary", primary.size, secondary.problem, "primary");
      return { header: primary, findings: [finding] };
    }
    return newest(primary, secondary);
  }
  for (const size of LUKS2_HEADER_SIZES) {
    const secondary = await readCopy(device, size, limits);
    if (isCopy(secondary))
      return { header: secondary, findings: [damaged("primary", 0, primary.problem, "secondary")] };
  }
  throw new StorageError("corrupt", `neither LUKS2 header is valid; the primary one: ${primary.problem}`, {
    layer: "luks2",
    offset: 0,
    hint: "a header backup (cryptsetup luksHeaderRestore) brings it back",
  });
}

function newest(primary: Luks2Copy, secondary: Luks2Copy) {
  if (primary.sequenceId === secondary.sequenceId) {
    const same = primary.uuid === secondary.uuid && primary.metadata.text === secondary.metadata.text;
    return { header: primary, findings: same ? [] : [differ("the two headers differ; the primary one is used", 0)] };
  }
  const secondIsNewer = secondary.sequenceId > primary.sequenceId;
  const header = secondIsNewer ? secondary : primary;
  const which = secondIsNewer ? "primary" : "secondary";
  const message =
    `the ${which} header is older than the other (sequence ids ${primary.sequenceId} and ${secondary.sequenceId}): ` +
    "an update was interrupted; the newer one is used";
  return { header, findings: [differ(message, secondIsNewer ? 0 : secondary.offset)] };
}

function differ(message: string, offset: number): Finding {
  return { severity: "warning", code: "luks2-headers-differ", message, layer: "luks2", offset };
}

function damaged(which: "primary" | "secondary", offset: number, problem: string, used: string): Finding {
  return {
    severity: "warning",
    code: `luks2-${which}-damaged`,
    message: `the ${which} header is damaged (${problem}); the ${used} one is used, and cryptsetup repair restores it`,
    layer: "luks2",
    offset,
  };
}

interface Problem {
  readonly problem: string;
}

function isCopy(copy: Luks2Copy | Problem): copy is Luks2Copy {
  return !("problem" in copy);
}

/** A damaged copy is a value; only failing reads, costs above a limit and cancelling throw. */
async function readCopy(device: BlockDevice, offset: number, limits: Limits): Promise<Luks2Copy | Problem> {
  if (offset + BINARY_HEADER_BYTES > device.size) return { problem: "beyond the end of the device" };
  const binary = await readBytes(device, offset, BINARY_HEADER_BYTES);
  const raw = LUKS2_HEADER.decode(binary);
  const problem = binaryProblem(raw, offset);
  if (problem) return { problem };
  const size = Number(raw.hdrSize);
  withinLimit(size - BINARY_HEADER_BYTES, limits.luks2JsonBytes, "luks2JsonBytes", "JSON area", "luks2", offset);
  if (offset + size > device.size) return { problem: "its JSON area ends beyond the device" };
  const json = await readBytes(device, offset + BINARY_HEADER_BYTES, size - BINARY_HEADER_BYTES);
  if (!checksumFits(binary, json, raw)) return { problem: `its ${raw.csumAlg} checksum is wrong` };
  try {
    const { text, value } = parseJsonArea(json, offset + BINARY_HEADER_BYTES);
    return {
      offset,
      size,
      sequenceId: raw.seqid,
      uuid: raw.uuid,
      label: utf8(raw.label),
      subsystem: utf8(raw.subsystem),
      metadata: readMetadata(value, text, size),
    };
  } catch (error) {
    if (error instanceof StorageError && error.code === "corrupt") return { problem: describeError(error) };
    throw error;
  }
}

function binaryProblem(raw: Decoded<typeof LUKS2_HEADER.fields>, offset: number): string | null {
  if (!(offset === 0 ? hasPrimaryMagic(raw.magic) : hasSecondaryMagic(raw.magic))) return "its magic is missing";
  if (raw.version !== 2) return `its version is ${raw.version}`;
  if (raw.hdrOffset !== BigInt(offset)) return `it says that it lies at ${raw.hdrOffset}`;
  if (raw.hdrSize > BigInt(LUKS2_HEADER_SIZES.at(-1)!) || !LUKS2_HEADER_SIZES.includes(Number(raw.hdrSize))) {
    return `its size is said to be ${raw.hdrSize}`;
  }
  if (offset !== 0 && raw.hdrSize !== BigInt(offset)) return `its size of ${raw.hdrSize} is not its offset`;
  if (!hashKnown(raw.csumAlg)) return "its checksum algorithm is unknown";
  return null;
}

/** The checksum covers binary header and JSON area, its own field taken as zeros (LUKS2, Binary Header, "csum"). */
function checksumFits(binary: Uint8Array, json: Uint8Array, raw: Decoded<typeof LUKS2_HEADER.fields>): boolean {
  const zeroed = binary.slice();
  LUKS2_HEADER.encode({ csum: new Uint8Array(64) }, zeroed);
  const digest = createHash(opensslHash(raw.csumAlg)).update(zeroed).update(json).digest();
  return digest.equals(raw.csum.subarray(0, digest.length));
}

function utf8(bytes: Uint8Array): string | null {
  const end = bytes.indexOf(0);
  const text = new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
  return text === "" ? null : text;
}

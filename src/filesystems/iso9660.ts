import { struct } from "../bytes/struct.ts";
import type { ProbeWindow } from "../core/layer.ts";
import { hasText, type Recogniser, readExactly, truncation, utf16Field } from "./info.ts";

const SECTOR = 2048;
const DESCRIPTORS_OFFSET = 16 * SECTOR;
/** libblkid's ISO_VD_MAX. */
const MAX_DESCRIPTORS = 16;
const TYPE_SUPPLEMENTARY = 2;
const TYPE_TERMINATOR = 255;

/** Primary and supplementary volume descriptor (ECMA-119, 8.4 and 8.5). */
const VOLUME_DESCRIPTOR = struct("ISO 9660 volume descriptor", "little", {
  type: { at: 0, type: "u8", ref: "8.4.1" },
  volume: { at: 40, type: "bytes", length: 32, ref: "8.4.7, volume identifier" },
  blocks: { at: 80, type: "u32", ref: "8.4.8, volume space size" },
  escape: { at: 88, type: "ascii", length: 3, ref: "8.5.6, escape sequences" },
  blockSize: { at: 128, type: "u16", ref: "8.4.12, logical block size" },
  created: { at: 813, type: "bytes", length: 17, ref: "8.4.26.1" },
  modified: { at: 830, type: "bytes", length: 17, ref: "8.4.26.1" },
});

export const iso9660: Recogniser = {
  name: "iso9660",
  usage: "filesystem",
  tolerant: true,
  async recognise(window) {
    const raw = await readExactly(window, DESCRIPTORS_OFFSET, SECTOR);
    if (!raw || !hasText(raw, 1, "CD001")) return null;
    const primary = VOLUME_DESCRIPTOR.decode(raw);
    const plain = text(primary.volume);
    const joliet = await jolietLabel(window);
    const size = primary.blocks * primary.blockSize;
    return {
      kind: "filesystem",
      type: "iso9660",
      uuid: dateText(primary.modified) ?? dateText(primary.created),
      label: joliet !== null && !(plain ?? "").startsWith(joliet) ? joliet : plain,
      size,
      state: null,
      details: { blockSize: primary.blockSize, joliet: joliet !== null },
      findings: truncation("iso9660", BigInt(size), window, DESCRIPTORS_OFFSET),
    };
  },
};

function text(bytes: Uint8Array): string | null {
  const trimmed = Buffer.from(bytes).toString("utf8").replaceAll("\0", " ").trim();
  return trimmed === "" ? null : trimmed;
}

/** The Joliet label is preferred unless it is only the plain one cut to 16 characters. */
async function jolietLabel(window: ProbeWindow): Promise<string | null> {
  for (let i = 1; i <= MAX_DESCRIPTORS; i++) {
    const raw = await readExactly(window, DESCRIPTORS_OFFSET + i * SECTOR, SECTOR);
    if (!raw || !hasText(raw, 1, "CD001")) return null;
    const descriptor = VOLUME_DESCRIPTOR.decode(raw);
    if (descriptor.type === TYPE_TERMINATOR) return null;
    if (descriptor.type === TYPE_SUPPLEMENTARY && ["%/@", "%/C", "%/E"].includes(descriptor.escape))
      return utf16Field(descriptor.volume, true)?.trim() ?? null;
  }
  return null;
}

/** Sixteen digits as blkid groups them into a UUID; all zeros mean "not specified". */
function dateText(date: Uint8Array): string | null {
  const digits = Buffer.from(date.subarray(0, 16)).toString("latin1");
  if (/^0{16}$/.test(digits) || !/^\d{16}$/.test(digits)) return null;
  const groups = [4, 6, 8, 10, 12, 14].map((at) => digits.slice(at, at + 2));
  return [digits.slice(0, 4), ...groups].join("-");
}

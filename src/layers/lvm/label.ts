import { crc32Raw } from "../../bytes/crc.ts";
import { exactNumber } from "../../bytes/integers.ts";
import { struct, view } from "../../bytes/struct.ts";

/** The label is in one of the first four sectors (lib/label/label.h: LABEL_SCAN_SECTORS). */
export const LABEL_SCAN_BYTES = 2048;
/** All of LVM's numbers count in these, whatever the device's sector size is (lib/device/device.h: SECTOR_SIZE). */
export const SECTOR_SIZE = 512;
/** lib/misc/crc.h: INITIAL_CRC. */
export const INITIAL_CRC = 0xf597a6cf;
/** A PV has at most one area at the start and one at the end (lib/format_text/format-text.h: FMT_TEXT_MAX_MDAS_PER_PV). */
const MAX_METADATA_AREAS = 2;
/** PV_EXT_USED: the PV belongs to a VG, whatever its own metadata areas say (header extension version 2). */
const EXTENSION_USED = 0x1;
/** The label's checksum covers everything from its `offset` field to the end of the sector. */
const CRC_FROM = 20;

const LABEL = struct("label_header", "little", {
  id: { at: 0, type: "ascii", length: 8, ref: "lib/label/label.h: LABELONE" },
  sector: { at: 8, type: "u64", ref: "sector_xl: the sector it stands in" },
  crc: { at: 16, type: "u32", ref: "crc_xl" },
  offset: { at: 20, type: "u32", ref: "offset_xl: of the contents, from the label" },
  type: { at: 24, type: "ascii", length: 8, ref: "LVM2 001" },
});

const PV_HEADER = struct("pv_header", "little", {
  uuid: { at: 0, type: "ascii", length: 32, ref: "lib/format_text/layout.h: pv_uuid" },
  deviceSize: { at: 32, type: "u64", ref: "device_size_xl, bytes" },
});

/** A run of bytes on the PV; `size` 0: to the end of the device. */
export interface Area {
  readonly offset: number;
  readonly size: number;
}

export interface PvHeader {
  /** As blkid and the LVM tools write it: groups of 6-4-4-4-4-4-6 characters. */
  readonly uuid: string;
  /** Byte offset of the label's sector. */
  readonly labelOffset: number;
  /** Bytes. */
  readonly deviceSize: number;
  readonly dataAreas: readonly Area[];
  readonly metadataAreas: readonly Area[];
  readonly bootloaderAreas: readonly Area[];
  /** From the header extension; null when there is none. */
  readonly used: boolean | null;
}

export type LabelResult =
  | { readonly kind: "ok"; readonly header: PvHeader }
  | { readonly kind: "damaged"; readonly offset: number; readonly reason: string }
  | { readonly kind: "absent" };

/** Finds the label in the device's first bytes (LABEL_SCAN_BYTES of them, fewer on a tiny device). */
export function readLabel(head: Uint8Array): LabelResult {
  let damaged: LabelResult = { kind: "absent" };
  for (let at = 0; at + SECTOR_SIZE <= head.length; at += SECTOR_SIZE) {
    const sector = head.subarray(at, at + SECTOR_SIZE);
    const label = LABEL.decode(sector);
    if (label.id !== "LABELONE" || label.type !== "LVM2 001") continue;
    const reason = labelProblem(label, sector, at);
    const header = reason === null ? decodePvHeader(sector, label.offset, at) : reason;
    if (typeof header !== "string") return { kind: "ok", header };
    if (damaged.kind === "absent") damaged = { kind: "damaged", offset: at, reason: header };
  }
  return damaged;
}

function labelProblem(
  label: { sector: bigint; crc: number; offset: number },
  sector: Uint8Array,
  at: number,
): string | null {
  if (crc32Raw(sector.subarray(CRC_FROM), INITIAL_CRC) !== label.crc) return "the label's checksum is wrong";
  if (label.sector !== BigInt(at / SECTOR_SIZE)) return `the label says that it stands in sector ${label.sector}`;
  if (label.offset < LABEL.size || label.offset + PV_HEADER.size > SECTOR_SIZE)
    return "the label's contents are not in its sector";
  return null;
}

/** The header with its three lists, each ended by an offset of zero; a string says what is wrong. */
function decodePvHeader(sector: Uint8Array, offset: number, labelOffset: number): PvHeader | string {
  const { uuid, deviceSize } = PV_HEADER.decode(sector, offset);
  const size = exactNumber(deviceSize);
  if (!/^[0-9A-Za-z]{32}$/.test(uuid)) return "the UUID of the physical volume is not one";
  if (size === null) return `a device of ${deviceSize} bytes is beyond what can be addressed`;
  const dv = view(sector);
  let at = offset + PV_HEADER.size;
  const list = (): Area[] | null => {
    const out: Area[] = [];
    for (;;) {
      if (at + 16 > SECTOR_SIZE) return null;
      const from = exactNumber(dv.getBigUint64(at, true));
      const length = exactNumber(dv.getBigUint64(at + 8, true));
      at += 16;
      if (from === null || length === null) return null;
      if (from === 0) return out;
      out.push({ offset: from, size: length });
    }
  };
  const dataAreas = list();
  const metadataAreas = dataAreas && list();
  if (!dataAreas || !metadataAreas) return "the lists of areas do not end inside the label's sector";
  if (metadataAreas.length > MAX_METADATA_AREAS)
    return `${metadataAreas.length} metadata areas are more than ${MAX_METADATA_AREAS}`;
  const extension = at + 8 <= SECTOR_SIZE ? dv.getUint32(at, true) : 0;
  const flags = extension > 0 ? dv.getUint32(at + 4, true) : 0;
  at += 8;
  const bootloaderAreas = extension > 0 ? list() : [];
  return {
    uuid: formatUuid(uuid),
    labelOffset,
    deviceSize: size,
    dataAreas,
    metadataAreas,
    bootloaderAreas: bootloaderAreas ?? [],
    used: extension >= 2 ? flags % 2 === EXTENSION_USED : null,
  };
}

/** 32 characters as 6-4-4-4-4-4-6 (lib/uuid/uuid.c: id_write_format). */
export function formatUuid(raw: string): string {
  const parts: string[] = [];
  let at = 0;
  for (const length of [6, 4, 4, 4, 4, 4, 6]) {
    parts.push(raw.slice(at, at + length));
    at += length;
  }
  return parts.join("-");
}

import type { Finding } from "../../core/finding.ts";
import type { NodeInfo } from "../../core/layer.ts";
import { type Area, LABEL_SCAN_BYTES, type PvHeader, readLabel } from "./label.ts";
import { AREA_HEADER_SIZE, readAreaHeader, type TextLocation, textMatches } from "./metadata-area.ts";

const LAYER = "lvm";
/** pvcreate puts the first metadata area here whatever the page size (lib/format_text/format-text.c). */
const USUAL_AREA: Area = { offset: 4096, size: 0 };

/** Reads at most `length` bytes at `offset`; fewer at the end of the device. */
export type Reader = (offset: number, length: number) => Promise<Uint8Array>;

/** What one device says of itself, before its metadata text is read. */
export interface Member {
  readonly pv: PvHeader;
  /** Committed texts, one for each usable metadata area. */
  readonly texts: readonly TextLocation[];
  readonly ignoredAreas: number;
  readonly findings: readonly Finding[];
}

export type MemberResult =
  | { readonly kind: "member"; readonly member: Member }
  | { readonly kind: "damaged"; readonly offset: number; readonly reason: string }
  | { readonly kind: "absent" };

/** Reads label, PV header and metadata area headers: at most 3 KiB. */
export async function readMember(read: Reader): Promise<MemberResult> {
  const label = readLabel(await read(0, LABEL_SCAN_BYTES));
  if (label.kind === "absent") return label;
  if (label.kind === "damaged") {
    // Old labels survive under other content; only together with a metadata area is a damaged one taken for a PV.
    const area = readAreaHeader(await read(USUAL_AREA.offset, AREA_HEADER_SIZE), USUAL_AREA);
    return area.kind === "damaged" ? { kind: "absent" } : label;
  }
  const texts: TextLocation[] = [];
  const findings: Finding[] = [];
  let ignoredAreas = 0;
  for (const area of label.header.metadataAreas) {
    const result = readAreaHeader(await read(area.offset, AREA_HEADER_SIZE), area);
    if (result.kind === "text") texts.push(result.location);
    if (result.kind === "ignored") ignoredAreas++;
    if (result.kind === "damaged") findings.push(damagedArea(label.header.uuid, area.offset, result.reason));
  }
  return { kind: "member", member: { pv: label.header, texts, ignoredAreas, findings } };
}

function damagedArea(uuid: string, offset: number, reason: string): Finding {
  return {
    severity: "warning",
    code: "lvm-metadata-damaged",
    message: `a metadata area of physical volume ${uuid} cannot be used: ${reason}`,
    layer: LAYER,
    offset,
  };
}

/** The text, or null when its checksum is wrong. */
export async function readText(read: Reader, location: TextLocation): Promise<string | null> {
  const parts: Uint8Array[] = [];
  for (const run of location.runs) parts.push(await read(run.offset, run.size));
  const bytes = Buffer.concat(parts);
  return textMatches(bytes, location) ? bytes.toString("utf8") : null;
}

export function damagedText(uuid: string, location: TextLocation): Finding {
  return damagedArea(uuid, location.runs[0]!.offset, "the checksum of its text is wrong");
}

/** The node that the tree shows in place of the device. */
export function memberInfo(
  member: Member,
  vg: { readonly name: string; readonly id: string } | null,
  findings: readonly Finding[],
): NodeInfo {
  const { pv } = member;
  return {
    kind: "lvm-pv",
    details: {
      pvUuid: pv.uuid,
      vg: vg?.name ?? null,
      vgUuid: vg?.id ?? null,
      size: pv.deviceSize,
      dataOffset: pv.dataAreas[0]?.offset ?? null,
      metadataAreas: pv.metadataAreas.length,
      metadataAreasIgnored: member.ignoredAreas,
      used: pv.used,
    },
    findings,
  };
}

import { type BlockDevice, readBytes } from "../../core/device.ts";
import { StorageError } from "../../core/errors.ts";
import type { Finding, Json } from "../../core/finding.ts";
import type { Layer, OpenContext } from "../../core/layer.ts";
import { readOnlyImage, refusedImage } from "../../core/read-only-image.ts";
import { slice } from "../../core/slice.ts";
import { corrupt, dynamicDisk, readDynamicHeader } from "./dynamic.ts";
import { DIFFERENCING, DYNAMIC, FIXED, FOOTER_BYTES, type Footer, hasCookie, parseFooter } from "./footer.ts";

const TYPES: Readonly<Record<number, string>> = { 2: "fixed", 3: "dynamic", 4: "differencing" };

/** The disk in a file that the driver recognised. */
export async function openVhd(members: readonly BlockDevice[], context: OpenContext): Promise<Layer> {
  const file = members[0];
  if (!file) throw new StorageError("usage", "no file to open", { layer: "vhd" });
  const { footer, findings } = await readFooter(file);
  const details: { [key: string]: Json } = {
    subformat: TYPES[footer.type] ?? `type ${footer.type}`,
    uuid: footer.uuid,
    creator: footer.creator,
    currentSize: footer.currentSize,
    sizeByGeometry: footer.sizeByGeometry,
  };
  const refused = refusal(footer);
  if (refused !== null) return refusedImage("vhd", details, refused);
  if (footer.savedState) findings.push(damaged("vhd-saved-state", SAVED_STATE, 84));
  if (footer.size !== footer.currentSize) findings.push(geometryFinding(footer));
  return footer.type === FIXED
    ? fixed(file, footer, { details, findings, context })
    : dynamic(file, footer, { details, findings, context });
}

const SAVED_STATE =
  "the machine was suspended with this disk: its file systems are as it left them in the middle of its work";

interface Shown {
  readonly details: { readonly [key: string]: Json };
  readonly findings: readonly Finding[];
  readonly context: OpenContext;
}

function fixed(file: BlockDevice, { size }: Footer, shown: Shown): Layer {
  if (size > file.size - FOOTER_BYTES)
    throw corrupt(`a disk of ${size} bytes in a file of ${file.size}: it is truncated`, file.size - FOOTER_BYTES);
  const open = async () => slice(file, 0, size, "vhd", { writable: false });
  return readOnlyImage({ format: "vhd", size, open, ...shown });
}

async function dynamic(file: BlockDevice, footer: Footer, shown: Shown): Promise<Layer> {
  const header = await readDynamicHeader(file, footer.dataOffset);
  const { size } = footer;
  if (size > header.tableEntries * header.blockSize) {
    throw corrupt(`a disk of ${size} bytes in ${header.tableEntries} blocks of ${header.blockSize}`, header.at + 28);
  }
  return readOnlyImage({
    format: "vhd",
    size,
    open: async () => dynamicDisk(file, header, size),
    ...shown,
    details: { ...shown.details, blockSize: header.blockSize },
  });
}

/** The copy at the start where there is one (all but fixed images), else the footer itself. */
async function readFooter(file: BlockDevice): Promise<{ footer: Footer; findings: Finding[] }> {
  if (file.size < FOOTER_BYTES) throw corrupt("the file is too small for a footer", 0);
  const end = file.size - FOOTER_BYTES;
  const atStart = await readBytes(file, 0, FOOTER_BYTES);
  const atEnd = await readBytes(file, end, FOOTER_BYTES);
  const copy = parseFooter(atStart, 0);
  const last = parseFooter(atEnd, end);
  // At the start of a fixed disk a guest writes what it likes, a copy of a footer too: the end decides.
  if (last?.type === FIXED) return { footer: last, findings: [] };
  if (!hasCookie(atStart)) {
    if (last === null) throw corrupt("there is no footer, or its checksum is wrong", end);
    throw corrupt("the copy of the footer at the start is missing", 0);
  }
  const footer = copy ?? last;
  if (footer === null) throw corrupt("the checksums of the footer and its copy are both wrong", 64);
  if (footer.type === FIXED) throw corrupt("a fixed image without a footer at its end", end);
  const findings: Finding[] = [];
  if (copy === null) findings.push(damaged("vhd-footer-copy", "the copy of the footer at the start is damaged", 0));
  else if (last === null)
    findings.push(
      damaged("vhd-footer", "the footer at the end is missing or damaged: the image may be truncated", end),
    );
  else if (Buffer.compare(atStart, atEnd) !== 0)
    findings.push(damaged("vhd-footers-differ", "the footer and its copy differ; the copy at the start is used", end));
  return { footer, findings };
}

function refusal(footer: Footer): string | null {
  if (footer.version >>> 16 !== 1) return `VHD version ${footer.version >>> 16}`;
  if (footer.type === DIFFERENCING) return "a differencing VHD image (merge it with its parent first)";
  if (footer.type !== FIXED && footer.type !== DYNAMIC) return `VHD disk type ${footer.type}`;
  return null;
}

function damaged(code: string, message: string, offset: number): Finding {
  return { severity: "warning", code, message, layer: "vhd", offset };
}

function geometryFinding({ size, currentSize, creator, sizeByGeometry }: Footer): Finding {
  return {
    severity: "info",
    code: "vhd-size",
    message: sizeByGeometry
      ? `the disk is ${size} bytes by its geometry, as its creator (${creator}) means it, and ${currentSize} by its footer`
      : `the disk's size of ${currentSize} bytes is no multiple of 512; the last ${currentSize - size} are left out`,
    layer: "vhd",
    offset: 48,
  };
}

import { type BlockDevice, readBytes } from "../../core/device.ts";
import { StorageError } from "../../core/errors.ts";
import type { Layer, OpenContext } from "../../core/layer.ts";
import { readOnlyImage, refusedImage } from "../../core/read-only-image.ts";
import { diskOpener } from "./disk.ts";
import { readHeader } from "./header.ts";
import { replayed } from "./log.ts";
import { readMetadata } from "./metadata.ts";
import { readRegions } from "./regions.ts";
import { SIGNATURE } from "./signature.ts";

/** The creator's name follows the signature in UTF-16 (MS-VHDX 2.2.1). */
const CREATOR_BYTES = 512;

/** The disk in a file that the driver recognised. */
export async function openVhdx(members: readonly BlockDevice[], context: OpenContext): Promise<Layer> {
  const image = members[0];
  if (!image) throw new StorageError("usage", "no file to open", { layer: "vhdx" });
  const { header, findings } = await readHeader(image);
  const start = Buffer.from(await readBytes(image, 0, SIGNATURE.length + CREATOR_BYTES));
  if (start.toString("latin1", 0, SIGNATURE.length) !== SIGNATURE)
    throw new StorageError("corrupt", "no VHDX signature", { layer: "vhdx", offset: 0 });
  const file = header.log ? await replayed(image, header.log, context.limits) : image;
  if (header.log) {
    findings.push({
      severity: "warning",
      code: "vhdx-log",
      message: "the image was not closed; its log is replayed in memory, the file itself stays as it is",
      layer: "vhdx",
      offset: header.log.offset,
    });
  }
  const { regions, findings: damage } = await readRegions(file);
  const metadata = await readMetadata(file, regions.metadata);
  const details = {
    subformat: metadata.hasParent ? "differencing" : metadata.fixed ? "fixed" : "dynamic",
    creator: start.toString("utf16le", SIGNATURE.length).split("\0", 1)[0]!,
    blockSize: metadata.blockSize,
    logicalSectorSize: metadata.logicalSectorSize,
    physicalSectorSize: metadata.physicalSectorSize,
    diskId: metadata.diskId,
    logReplayed: header.log !== null,
  };
  if (metadata.hasParent)
    return refusedImage("vhdx", details, "a differencing VHDX image (merge it with its parent first)");
  const areas = [regions.bat, regions.metadata, header.logArea];
  const open = diskOpener(file, regions.bat, metadata, areas);
  return readOnlyImage({
    format: "vhdx",
    details,
    findings: [...findings, ...damage],
    size: metadata.size,
    context,
    open: async () => open(),
  });
}

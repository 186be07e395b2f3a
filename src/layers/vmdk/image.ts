import { isZero } from "../../bytes/integers.ts";
import { type BlockDevice, readBytes } from "../../core/device.ts";
import { StorageError } from "../../core/errors.ts";
import type { Json } from "../../core/finding.ts";
import type { Layer, OpenContext } from "../../core/layer.ts";
import { withinLimit } from "../../core/numbers.ts";
import { readOnlyImage, refusedImage } from "../../core/read-only-image.ts";
import { type Descriptor, NO_PARENT, parseDescriptor } from "./descriptor.ts";
import { openExtents, refusedExtents } from "./extents.ts";
import { DESCRIPTOR_START, kindOf } from "./kind.ts";
import { openSparse } from "./sparse.ts";

/** What a descriptor file's createType may be; the rest needs devices or snapshots of a host that is not ours. */
const CREATE_TYPES = ["monolithicFlat", "twoGbMaxExtentFlat", "twoGbMaxExtentSparse", "vmfs", "custom"];

/** One sparse file, or a descriptor with extents in other files. */
export async function openVmdk(members: readonly BlockDevice[], context: OpenContext): Promise<Layer> {
  const file = members[0];
  if (!file) throw new StorageError("usage", "no file to open", { layer: "vmdk" });
  switch (kindOf(await readBytes(file, 0, Math.min(DESCRIPTOR_START, file.size)))) {
    case "descriptor":
      return withExtents(file, context);
    case "sparse":
      return oneFile(file, context);
    case "COWD":
      return refusedImage("vmdk", { subformat: "vmfsSparse" }, "ESXi sparse extents (COWD)");
    case "SESPARSE":
      return refusedImage("vmdk", { subformat: "seSparse" }, "ESXi space-efficient sparse extents (SESPARSE)");
    case null:
      throw new StorageError("corrupt", "no VMDK header and no descriptor", { layer: "vmdk", offset: 0 });
  }
}

/** Sparse and stream-optimised images in one file, with the descriptor inside. */
async function oneFile(file: BlockDevice, context: OpenContext): Promise<Layer> {
  const sparse = await openSparse(file, context.limits);
  const { descriptor: place, capacity, grainSize, version, compressed } = sparse.header;
  const text = place === null ? new Uint8Array(0) : await readBytes(file, place.offset, place.length);
  // QEMU leaves room for a descriptor in each extent of several, and nothing in it.
  if (place === null || isZero(text)) {
    throw new StorageError("unsupported", "this file is one extent of an image in several files", {
      layer: "vmdk",
      feature: "a VMDK extent by itself",
      hint: "name the image's descriptor, the small .vmdk file that lists its extents",
    });
  }
  const descriptor = parseDescriptor(text, place.offset, context.limits);
  const details = { ...shown(descriptor), version, blockSize: grainSize, compressed };
  const parent = refusedParent(descriptor);
  if (parent !== null) return refusedImage("vmdk", details, parent);
  const open = async () => sparse.open();
  return readOnlyImage({ format: "vmdk", details, findings: sparse.findings, size: capacity, context, open });
}

async function withExtents(file: BlockDevice, context: OpenContext): Promise<Layer> {
  withinLimit(
    file.size,
    context.limits.vmdkDescriptorBytes,
    "vmdkDescriptorBytes",
    "bytes of the descriptor",
    "vmdk",
    0,
  );
  const descriptor = parseDescriptor(await readBytes(file, 0, file.size), 0, context.limits);
  const details = {
    ...shown(descriptor),
    extents: descriptor.extents.map(({ type, file: name, sectors }) => ({ type, file: name, size: sectors * 512 })),
  };
  const refused =
    refusedExtents(descriptor) ??
    refusedParent(descriptor) ??
    (CREATE_TYPES.includes(descriptor.createType) ? null : `VMDK images of type ${descriptor.createType}`);
  if (refused !== null) return refusedImage("vmdk", details, refused);
  const extents = await openExtents(descriptor, context);
  return readOnlyImage({
    format: "vmdk",
    details,
    findings: extents.findings,
    size: extents.size,
    context,
    open: async () => extents.open(),
    dispose: () => extents.dispose(),
  });
}

function shown({ createType, cid, parentCid }: Descriptor): { readonly [key: string]: Json } {
  return { subformat: createType, cid, parentCid: parentCid === NO_PARENT ? null : parentCid };
}

function refusedParent({ parentCid }: Descriptor): string | null {
  return parentCid === NO_PARENT ? null : "a VMDK image with a parent (a snapshot or linked clone)";
}

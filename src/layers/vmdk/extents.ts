import { checked } from "../../core/checked.ts";
import { Cleanup } from "../../core/cleanup.ts";
import type { BlockDevice } from "../../core/device.ts";
import { StorageError } from "../../core/errors.ts";
import type { Finding } from "../../core/finding.ts";
import type { OpenContext } from "../../core/layer.ts";
import { fromMapping, type Segment } from "../../core/mapping.ts";
import { slice } from "../../core/slice.ts";
import type { Descriptor, ExtentLine } from "./descriptor.ts";
import { corrupt, SECTOR } from "./header.ts";
import { openSparse } from "./sparse.ts";

/** Where an extent's bytes come from; null: zeros. */
interface OpenedExtent {
  readonly start: number;
  readonly length: number;
  readonly device: BlockDevice | null;
}

/** All extents of an image with a descriptor file, in their order. */
export interface OpenedExtents {
  readonly size: number;
  readonly findings: readonly Finding[];
  open(): BlockDevice;
  dispose(): Promise<void>;
}

/** Names of what this program does not read, by the extent's type. */
const REFUSED: Readonly<Record<string, string>> = {
  VMFSSPARSE: "ESXi sparse extents (VMFSSPARSE, COWD)",
  SESPARSE: "ESXi space-efficient sparse extents (SESPARSE)",
  VMFSRDM: "raw device mappings (VMFSRDM)",
  VMFSRAW: "raw device mappings (VMFSRAW)",
};

/** Why these extents cannot be read, or null. */
export function refusedExtents(descriptor: Descriptor): string | null {
  for (const { access, type } of descriptor.extents) {
    if (access === "NOACCESS") return "VMDK extents without access (NOACCESS)";
    if (!["FLAT", "SPARSE", "ZERO", "VMFS"].includes(type)) return REFUSED[type] ?? `VMDK extents of type ${type}`;
  }
  return null;
}

/** Opens each extent's file through the path gate. */
export async function openExtents(descriptor: Descriptor, context: OpenContext): Promise<OpenedExtents> {
  if (descriptor.extents.length === 0) throw corrupt("the descriptor names no extents", 0);
  await using cleanup = new Cleanup();
  const extents: OpenedExtent[] = [];
  const findings: Finding[] = [];
  let size = 0;
  for (const line of descriptor.extents) {
    context.signal?.throwIfAborted();
    const length = line.sectors * SECTOR;
    const device = await openExtent(line, context, cleanup, findings);
    extents.push({ start: size, length, device });
    size += length;
    if (!Number.isSafeInteger(size)) throw corrupt("the extents are larger than what can be addressed", 0);
  }
  const owned = cleanup.move();
  return { size, findings, open: () => joined(extents, size), dispose: () => owned[Symbol.asyncDispose]() };
}

async function openExtent(
  line: ExtentLine,
  context: OpenContext,
  cleanup: Cleanup,
  findings: Finding[],
): Promise<BlockDevice | null> {
  if (line.file === null) return null;
  const length = line.sectors * SECTOR;
  const file = cleanup.use(await context.openImage(line.file, "raw"));
  if (line.type === "SPARSE") {
    const sparse = await openSparse(file, context.limits);
    if (sparse.header.capacity !== length) {
      throw corrupt(
        `${line.file} holds ${sparse.header.capacity} bytes, not the ${length} that the descriptor says`,
        12,
      );
    }
    findings.push(...sparse.findings.map((f) => ({ ...f, message: `${line.file}: ${f.message}` })));
    return cleanup.use(sparse.open());
  }
  const offset = line.offset * SECTOR;
  if (offset + length > file.size) {
    throw new StorageError(
      "corrupt",
      `${line.file} has ${file.size} bytes; the descriptor wants ${length} from ${offset}`,
      {
        layer: "vmdk",
        hint: "the extent's file is truncated: compare its size with that of a backup",
      },
    );
  }
  return cleanup.use(slice(file, offset, length, "vmdk", { writable: false }));
}

/** The disk over the extents one after another. */
function joined(extents: readonly OpenedExtent[], size: number): BlockDevice {
  function* map(offset: number, length: number): Iterable<Segment> {
    let low = 0;
    // The last extent that starts at or before `offset`.
    for (let high = extents.length - 1; low < high; ) {
      const middle = Math.ceil((low + high) / 2);
      if (extents[middle]!.start <= offset) low = middle;
      else high = middle - 1;
    }
    for (; low < extents.length && extents[low]!.start < offset + length; low++) {
      const { start, length: all, device } = extents[low]!;
      yield device
        ? { offset: start, length: all, kind: "data", device, at: 0 }
        : { offset: start, length: all, kind: "hole" };
    }
  }
  const caps = {
    writable: false,
    alignment: 1,
    sectorSize: SECTOR,
    optimalIo: Math.max(...extents.map((e) => e.device?.caps.optimalIo ?? SECTOR)),
    extents: extents.every((e) => e.device?.caps.extents ?? true),
    zero: false,
    discard: false,
  };
  return checked(fromMapping({ size, caps, layer: "vmdk", map, below: [] }), "vmdk");
}

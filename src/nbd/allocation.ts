import type { BlockDevice, Extent, ExtentKind } from "../core/device.ts";
import { AllocationState, encodeU32 } from "./protocol.ts";

/** Descriptors in one block status reply; a client asks again for the rest. */
const MAX_DESCRIPTORS = 4096;
/** Extents looked at for one reply: a device may describe a long run in many small equal ones. */
const MAX_EXTENTS = 65536;

const STATE: Record<ExtentKind, number> = {
  data: 0,
  zero: AllocationState.ZERO,
  hole: AllocationState.HOLE | AllocationState.ZERO,
};

/** The body of a block status chunk: context id, then length and state of each run from `offset` on. */
export async function allocationStatus(
  device: BlockDevice,
  offset: number,
  length: number,
  one: boolean,
  contextId: number,
): Promise<Buffer> {
  const words = [contextId];
  const most = one ? 1 : MAX_DESCRIPTORS;
  for await (const run of runsOf(device, offset, length)) {
    words.push(run.length, STATE[run.kind]);
    if (words.length > most * 2) break;
  }
  return encodeU32(...words);
}

/** Extents with equal neighbours joined; may end before the request does, after MAX_EXTENTS. */
export async function* runsOf(device: BlockDevice, offset: number, length: number): AsyncIterable<Extent> {
  let run: Extent | undefined;
  let seen = 0;
  for await (const extent of device.extents(offset, length)) {
    if (run?.kind === extent.kind) {
      run = { offset: run.offset, length: run.length + extent.length, kind: run.kind };
    } else {
      if (run) yield run;
      run = extent;
    }
    if (++seen >= MAX_EXTENTS) break;
  }
  if (run) yield run;
}

import { readBytes } from "../../core/device.ts";
import type { Assembly } from "./assembly.ts";
import type { MdMember } from "./superblock.ts";
import { SUPERBLOCK_1_BYTES, setEvents1 } from "./superblock-1.ts";
import { SUPERBLOCK_090_BYTES, setEvents090 } from "./superblock-090.ts";

/** Linux takes a member that is one event behind for current: the distance to whoever is missing must become larger. */
const EVENTS = 2n;

/**
 * Before the first write to an array that lacks devices: counts the events of all members up, so that a device that comes back is behind
 * them and is rebuilt. The write-intent bitmap, which names older events then, is thereby out of date, and Linux takes all of it as set.
 * See docs/adr/0005.
 */
export async function outdateMissing(assembly: Assembly): Promise<void> {
  const members: MdMember[] = [...assembly.legs.filter((leg) => leg !== null), ...assembly.spares];
  const events = assembly.superblock.events + EVENTS;
  for (const { device, superblock } of members) {
    const { version, offset, bigEndian } = superblock;
    const raw = await readBytes(device, offset, version === "0.90" ? SUPERBLOCK_090_BYTES : SUPERBLOCK_1_BYTES);
    if (version === "0.90") setEvents090(raw, bigEndian, events);
    else setEvents1(raw, events);
    await device.write(raw, offset);
  }
}

import { writeFileSync } from "node:fs";
import { join } from "node:path";

/** virDomainState, as the test driver's own element takes it. */
export const STATES = { running: 1, idle: 2, paused: 3, "in shutdown": 4, "shut off": 5, crashed: 6, pmsuspended: 7 };

export interface TestGuest {
  readonly name: string;
  /** `<disk>` elements, and other devices. */
  readonly devices: string;
  readonly state?: keyof typeof STATES;
  readonly managedSave?: boolean;
  /** What is in `<metadata>`. */
  readonly metadata?: string;
  /** Default: made from the place in the list. */
  readonly uuid?: string;
}

export function uuidOf(index: number): string {
  return `0000000${index}-0000-4000-8000-000000000000`;
}

export function fileDisk(path: string, format: string, target = "vda", more = ""): string {
  return `<disk type='file' device='disk'><driver name='qemu' type='${format}'/><source file='${path}'/><target dev='${target}' bus='virtio'/>${more}</disk>`;
}

/**
 * Guests of libvirt's test driver, which needs no daemon: it has them from a file (libvirt, "Test hypervisor driver"). Returns the
 * connection URI. `more`: other elements of the node, such as storage pools.
 */
export function testGuests(folder: string, guests: readonly TestGuest[], more = ""): string {
  const path = join(folder, `node-${Math.abs(hash(JSON.stringify(guests) + more))}.xml`);
  const domains = guests.map(
    ({ name, devices, state = "shut off", managedSave, metadata = "", uuid }, i) =>
      `<domain type='test' xmlns:test='http://libvirt.org/schemas/domain/test/1.0'><name>${name}</name><uuid>${uuid ?? uuidOf(i)}</uuid>
<metadata>${metadata}</metadata><memory>65536</memory><os><type>hvm</type></os><devices>${devices}</devices>
<test:runstate>${STATES[state]}</test:runstate>${managedSave ? "<test:hasmanagedsave/>" : ""}</domain>`,
  );
  writeFileSync(path, `<node>${domains.join("\n")}${more}</node>\n`);
  return `test://${path}`;
}

function hash(text: string): number {
  let h = 0;
  for (let i = 0; i < text.length; i++) h = (Math.imul(h, 31) + text.charCodeAt(i)) | 0;
  return h;
}

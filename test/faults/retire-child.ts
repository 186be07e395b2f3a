/**
 * Not a test: `RUN KILL-AT` destroys the old disk of a migration, without asking, and kills itself when KILL-AT is done but not written down:
 * `segment`, `segment2` (the second one), `discard`, `verify`, `begun`, `erase`, `destroyed`, `undefined`, `removed`; `writing`: in the middle of a segment.
 * SSD=MAJOR:MINOR: sysfs says of this device that it is a disk that does not turn.
 */
import { mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { retire } from "../../src/usecases/retire.ts";
import type { RetireOptions } from "../../src/usecases/retire-preflight.ts";

const [run, killAt] = process.argv.slice(2) as [string, string];
const die = () => process.kill(process.pid, "SIGKILL");
const MIB = 1024 * 1024;
let segments = 0;

/** Beside the state folder, which the test takes away with all that is there: this process is killed before it could. */
function withSsd(number: string): RetireOptions["kernel"] {
  const sys = mkdtempSync(join(dirname(process.env.UNTERBAU_STATE_DIR!), "sys-"));
  const device = join(sys, "devices/nvme7n1");
  for (const folder of [
    join(device, "queue"),
    join(device, "device"),
    join(sys, "dev/block"),
    join(sys, "class/block"),
  ])
    mkdirSync(folder, { recursive: true });
  writeFileSync(join(device, "queue/rotational"), "0\n");
  writeFileSync(join(device, "device/serial"), "S4EVNX0 \n");
  symlinkSync(device, join(sys, "dev/block", number));
  symlinkSync(device, join(sys, "class/block/nvme7n1"));
  return { sys, mountinfo: "/proc/self/mountinfo" };
}

const options: RetireOptions = {
  connect: process.env.CONNECT,
  keepDomain: process.env.KEEP === "1",
  backing: process.env.BACKING ? [process.env.BACKING] : [],
  luksFromFirstWrite: process.env.LUKS === "1",
  kernel: process.env.SSD ? withSsd(process.env.SSD) : undefined,
  iKnow: true,
  version: "0.0.0",
  keys: { secretsFor: async () => [] },
  segmentBytes: 16 * MIB,
  onStep: (name) => {
    if (name === "segment") segments++;
    if (name === killAt || (killAt === "segment2" && segments === 2)) die();
  },
  onProgress: (phase, done) => {
    if (killAt === "writing" && phase.startsWith("overwriting") && done > 38 * MIB) die();
  },
};
const record = await retire(run, async () => {}, options);
process.stdout.write(JSON.stringify(record));

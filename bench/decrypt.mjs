// Reads a LUKS volume through the library and throws it away: `decrypt.mjs IMAGE KEYFILE` prints what that took after the start and the unlocking.
import { readFileSync } from "node:fs";
import { readVolume } from "../dist/lib/index.js";

const [image, keyFile] = process.argv.slice(2);
const secret = { bytes: readFileSync(keyFile), origin: "file" };
const keys = { secretsFor: async ({ attempt }) => (attempt === 1 ? [secret] : []) };
let begun = null;
await readVolume({ sources: [image], keys, volume: "disk1" }, async () => {
  begun ??= { cpu: process.cpuUsage(), time: process.hrtime.bigint() };
});
const { user, system } = process.cpuUsage(begun.cpu);
const seconds = Number(process.hrtime.bigint() - begun.time) / 1e9;
console.log(JSON.stringify({ seconds, cpu: (user + system) / 1e6, mib: process.resourceUsage().maxRSS / 1024 }));

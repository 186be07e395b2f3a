/** Makes folders of private mounts below argv[2], and sweeps all the while; as commands do that start at the same time. */
import { existsSync } from "node:fs";
import { mountFolder, sweep } from "../../src/host/mount-folder.ts";

const parent = process.argv[2]!;
for (let i = 0; i < 150; i++) {
  using made = mountFolder(parent);
  sweep(parent);
  if (!existsSync(made.path)) throw new Error("the folder of a living process was taken away");
}

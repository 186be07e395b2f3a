import { findExtBackup } from "../../src/filesystems/ext-backup.ts";
import { recognise } from "../../src/filesystems/registry.ts";
import { probeWindow } from "../../src/stack/window.ts";
import type { Target } from "../engine/target.ts";
import { watchedDevice } from "../engine/watched.ts";
import { fixChecksums } from "../fixers/index.ts";
import { seedsNamed } from "../seeds.ts";

const MAGICS = [
  "NTFS    ",
  "EXFAT   ",
  "CD001",
  "hsqs",
  "SWAPSPACE2",
  "SWAP-SPACE",
  "_BHRfS_M",
  "XFSB",
  "-FVE-FS-",
  "\x83\x74\x02\x67",
];

/** Superblocks of all file systems that are recognised; promises never to throw because of what it reads. */
export const recogniseTarget: Target = {
  name: "recognise",
  seeds: () => seedsNamed("ext-", "xfs-", "btrfs-", "fat-", "swap-", "md-", "fs-"),
  fix: fixChecksums,
  tokens: MAGICS,
  async run(input, meter) {
    const window = probeWindow(watchedDevice(input[0]!, meter, 0));
    JSON.stringify(await recognise(window));
    JSON.stringify(await findExtBackup(window));
  },
};

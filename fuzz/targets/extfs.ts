import type { BlockDevice } from "../../src/core/device.ts";
import { checkReads } from "../../src/extfs/check-reads.ts";
import { findPath } from "../../src/extfs/path.ts";
import { type ExtInode, type ExtVolume, openExt } from "../../src/extfs/volume.ts";
import type { Target } from "../engine/target.ts";
import { watchedDevice } from "../engine/watched.ts";
import { fixChecksums } from "../fixers/index.ts";
import { seedsNamed } from "../seeds.ts";
import { FUZZ_LIMITS } from "./context.ts";
import { exerciseDevice, tolerant } from "./exercise.ts";

const MAX_DEPTH = 6;
const MAX_FILES = 60;
const MAX_ENTRIES = 500;
const READ_AHEAD = 4 * 1024 * 1024;

/** The reader of files in ext volumes: the tree from the root, each file's content, links and attributes; and what is read ahead for e2fsck. */
export const extfsTarget: Target = {
  name: "extfs",
  seeds: () => seedsNamed("ext-"),
  fix: fixChecksums,
  async run(input, meter) {
    const device = watchedDevice(input[0]!, meter, 0);
    await tolerant(() => readAhead(device));
    await using volume = await openExt(device, { limits: FUZZ_LIMITS });
    let files = MAX_FILES;
    const visit = async (inode: ExtInode, depth: number): Promise<void> => {
      if (files-- <= 0) return;
      await tolerant(() => look(volume, inode));
      if (inode.type !== "directory" || depth === MAX_DEPTH) return;
      await tolerant(async () => {
        for (const number of await names(volume, inode)) {
          await tolerant(async () => visit(await volume.inode(number), depth + 1));
        }
      });
    };
    await visit(await volume.root(), 0);
    for (const path of ["/sub/large", "/link", "/sub/deep/../slow-link/x", "/lost+found"]) {
      await tolerant(() => findPath(volume, path, { followLast: true }));
    }
  },
};

async function readAhead(device: BlockDevice): Promise<void> {
  let bytes = 0;
  for await (const piece of checkReads(device, { budget: READ_AHEAD })) bytes += piece.bytes.length;
  if (bytes > READ_AHEAD + 1024 * 1024) throw new Error(`${bytes} bytes read ahead`);
}

async function look(volume: ExtVolume, inode: ExtInode): Promise<void> {
  await tolerant(() => volume.attributes(inode));
  if (inode.type === "symlink") await volume.linkTarget(inode);
  if (inode.type !== "file") return;
  const content = volume.content(inode);
  await exerciseDevice(content, false);
  await content[Symbol.asyncDispose]();
}

async function names(volume: ExtVolume, directory: ExtInode): Promise<number[]> {
  const out: number[] = [];
  for await (const entry of volume.entries(directory)) {
    out.push(entry.inode);
    if (out.length >= MAX_ENTRIES) break;
  }
  return out;
}

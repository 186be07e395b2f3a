import { describe, expect, it } from "vitest";
import { onlyStaleTotals } from "./e2fsck.ts";

/** What e2fsck 1.47.0 printed about an ext4 that Linux 6.1 was writing to. */
const MOUNTED = `e2fsck 1.47.0 (5-Feb-2023)
root: recovering journal
Clearing orphaned inode 1042 (uid=0, gid=0, mode=0100644, size=4096)
Pass 1: Checking inodes, blocks, and sizes
Pass 2: Checking directory structure
Pass 3: Checking directory connectivity
Pass 4: Checking reference counts
Pass 5: Checking group summary information
Free blocks count wrong (62579, counted=62557).
Fix? yes

Free inodes count wrong (18068, counted=18025).
Fix? yes


root: ***** FILE SYSTEM WAS MODIFIED *****
root: 119/18144 files (0.0% non-contiguous), 10147/72704 blocks
`;

describe("a file system that is in use", () => {
  it("has totals that are out of date, and is sound", () => {
    expect(onlyStaleTotals(MOUNTED)).toBe(true);
  });

  it.each([
    ["no journal was replayed", MOUNTED.replace("root: recovering journal\n", "")],
    ["the count of a group", MOUNTED.replace("count wrong (6", "count wrong for group #1 (6")],
    ["a bitmap", MOUNTED.replace("Free blocks", "Block bitmap differences:  -(500--520)\nFix? yes\n\nFree blocks")],
    ["an inode", MOUNTED.replace("Pass 2", "Inode 12 ref count is 9, should be 1.  Fix? yes\n\nPass 2")],
    [
      "errors that are left",
      MOUNTED.replace("root: *****", "root: ********** WARNING: Filesystem still has errors **********\nroot: *****"),
    ],
    ["nothing", ""],
  ])("not: %s", (_, output) => {
    expect(onlyStaleTotals(output)).toBe(false);
  });
});

import { describe, expect, it } from "vitest";
import { fuse2fsArgv, libfuseIn } from "./fuse2fs.ts";

/** What `fuse2fs -V` says: Debian 12, 13 and sid (both streams; libfuse 3 asks fusermount3 as well). */
const DEBIAN_12 =
  "\nfuse2fs 1.47.0 (5-Feb-2023)\nFUSE library version: 2.9.9\nusing FUSE kernel interface version 7.19\n";
const DEBIAN_13 =
  "fusermount3 version: 3.17.2\nFUSE library version 3.17.2\nusing FUSE kernel interface version 7.40\n\nfuse2fs 1.47.2 (1-Jan-2025)\n";
const SID =
  "fusermount3 version: 3.18.3\nFUSE library version 3.18.3\nusing FUSE kernel interface version 7.45\n\nfuse2fs 1.47.4 (6-Mar-2025)\n";

describe("fuse2fs and its libfuse", () => {
  it("is told by fuse2fs itself", () => {
    expect([DEBIAN_12, DEBIAN_13, SID, "", "fusermount3 version: 3.14.0\n"].map(libfuseIn)).toEqual([
      2,
      3,
      3,
      null,
      null,
    ]);
  });

  it("gets use_ino only where that is an option: libfuse 3 ends with `unknown option(s)`", () => {
    const options = (libfuse: number | null) => fuse2fsArgv("/usr/bin/fuse2fs", libfuse).at(-1)!.split(",");
    expect(options(2)).toContain("use_ino");
    expect(options(3)).not.toContain("use_ino");
    expect(options(null)).not.toContain("use_ino");
    for (const libfuse of [2, 3, null])
      expect(options(libfuse)).toEqual(expect.arrayContaining(["ro", "fakeroot", "auto_unmount"]));
  });
});

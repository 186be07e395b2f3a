import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { recognise } from "../../src/filesystems/registry.ts";
import { feed, partx } from "../helpers/partition-tables.ts";
import { withFileWindow } from "../helpers/probe-window.ts";
import { sparseFile, temporaryFolder } from "../helpers/programs.ts";

const folder = temporaryFolder();
afterAll(() => folder.remove());
const MIB = 1024 * 1024;

/** A disk whose first partition (from 1 MiB, 20 MiB long) fdisk has divided by a disklabel; the slice alone as a file. */
function slice(): { disk: string; path: string } {
  const disk = join(folder.path, "disk");
  sparseFile(disk, 32 * MIB);
  feed("label: dos\n2048,40960,a6\n", "sfdisk", "-q", disk);
  feed("b\ny\nn\na\n\n+5M\nn\nb\n\n+4M\nt\nb\n1\nw\n", "fdisk", disk);
  const path = join(folder.path, "slice");
  writeFileSync(path, readFileSync(disk).subarray(MIB, 21 * MIB));
  return { disk, path };
}

describe("BSD disklabel", () => {
  it("is recognised with the partitions that libblkid finds in it", async () => {
    const { disk, path } = slice();
    const info = await withFileWindow(path, recognise);
    expect(info).toMatchObject({ kind: "unknown", type: "bsd" });
    expect(info!.findings.map((f) => f.code)).toEqual(["bsd-disklabel"]);
    const nested = partx(disk).filter((p) => p.number > 1);
    expect(nested.length).toBeGreaterThan(0);
    const ours = info!.details.partitions as { name: string; start: number; sectors: number }[];
    for (const p of nested) {
      expect(ours).toContainEqual(expect.objectContaining({ start: p.start / 512, sectors: p.size / 512 }));
    }
  });

  it("is not seen when its checksum is wrong", async () => {
    const { path } = slice();
    const bytes = readFileSync(path);
    bytes[512 + 148]! ^= 1;
    writeFileSync(path, bytes);
    expect(await withFileWindow(path, recognise)).toBeNull();
  });
});

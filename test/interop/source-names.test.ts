import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { inspect } from "../../src/usecases/inspect.ts";
import { passphrases } from "../helpers/keys.ts";
import { temporaryFolder } from "../helpers/programs.ts";

const folder = temporaryFolder();
afterAll(() => folder.remove());

const open = (source: string) => inspect({ sources: [source], keys: passphrases() });

describe("sources that are named as other programs name theirs", () => {
  it.each([
    ["nbd://example.org/disk", "nbd:", /ssh -N -L .*nbd\+unix:/],
    ["nbds://example.org/disk", "nbds:", /ssh -N -L/],
    ["nbd:localhost:10809:exportname=x", "nbd:", /ssh -N -L/],
    ["nbd:unix:/tmp/x.sock", "nbd:", /nbd\+unix:/],
    ["https://example.org/disk.qcow2", "https:", /qemu-nbd -r .*'https:\/\/example\.org/],
    ["rbd://pool/image", "rbd:", /qemu-nbd/],
    ["FILE:///tmp/disk", "FILE:", /leave file:\/\/ out/],
    ['json:{"driver":"raw"}', "json:", /itself/],
  ])("%s is refused by name with what to do", async (source, feature, hint) => {
    await expect(open(source)).rejects.toMatchObject({
      code: "unsupported",
      feature,
      hint: expect.stringMatching(hint),
    });
  });

  it("does not take a file that is there for a URL", async () => {
    mkdirSync(join(folder.path, "nbd:"));
    const path = join(folder.path, "nbd:", "disk");
    writeFileSync(path, new Uint8Array(4096));
    const before = process.cwd();
    process.chdir(folder.path);
    try {
      expect((await open("nbd://disk")).tree).toHaveLength(1);
    } finally {
      process.chdir(before);
    }
  });
});

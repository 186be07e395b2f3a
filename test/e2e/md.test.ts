import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { CheckDocument } from "../../src/usecases/documents.ts";
import { run, unterbau } from "../helpers/cli.ts";
import { mdMembers } from "../helpers/md.ts";

const folder = mkdtempSync(join(tmpdir(), "unterbau-md-"));
const env = { UNTERBAU_STATE_DIR: join(folder, "state") };
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const original = mdMembers("ext4-raid5");
const disks = original.map((_, i) => join(folder, `disk${i}.raw`));
beforeAll(() => {
  for (const [i, path] of disks.entries()) writeFileSync(path, original[i]!);
});

async function check(...args: string[]) {
  const { code, stdout } = await unterbau(["check", ...disks, "--json", ...args], { env });
  return { code, doc: JSON.parse(stdout.toString()) as CheckDocument };
}

describe("a file system on a RAID5 of three disks", () => {
  it("is damaged by exec, found, repaired on all members, and taken back byte for byte", async () => {
    const harm = await unterbau(
      ["exec", ...disks, "--volume", "md/ext4-raid5", "--write", "--", "debugfs", "-w", "-R", "clri /lost+found", "{}"],
      { env },
    );
    expect(harm.code).toBe(0);
    const harmed = disks.map((path) => readFileSync(path));
    const repair = await check("--repair");
    expect(repair.code).toBe(1);
    expect(repair.doc.volumes).toMatchObject([{ selector: "md/ext4-raid5", type: "ext4", verdict: "repaired" }]);
    expect((await check()).doc.volumes[0]!.verdict).toBe("clean");

    // Parity was kept: the same without any one disk, which is then missing without the others knowing.
    for (const path of disks) {
      const rest = disks.filter((p) => p !== path);
      const r = await unterbau(["check", ...rest, "--json"], { env });
      expect((JSON.parse(r.stdout.toString()) as CheckDocument).volumes).toMatchObject([{ verdict: "clean" }]);
      const before = rest.map((p) => readFileSync(p));
      const refused = await unterbau(
        ["exec", ...rest, "--volume", "md/ext4-raid5", "--write", "--", "tune2fs", "-L", "x", "{}"],
        { env },
      );
      expect(refused.code).not.toBe(0);
      for (const [i, p] of rest.entries()) expect(Buffer.compare(readFileSync(p), before[i]!)).toBe(0);
    }
    for (const path of disks) {
      const told = await run("mdadm", ["--examine", path], {});
      expect(told.stdout.toString()).toMatch(/State : clean[\s\S]*Checksum : \w+ - correct/);
    }

    const undone = await unterbau(["undo", repair.doc.run!], { env });
    expect(undone.code).toBe(0);
    for (const [i, path] of disks.entries()) expect(Buffer.compare(readFileSync(path), harmed[i]!)).toBe(0);
  });
});

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import type { MigrateDocument } from "../../src/usecases/migrate-documents.ts";
import { daemonFor } from "./daemon.ts";
import { mustInMachine } from "./machine.ts";

const MIB = 2 ** 20;
const folder = mkdtempSync(join(tmpdir(), "unterbau-migrate-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it("a guest's disks go into logical volumes that are made for them, and come back", async () => {
  const output = await mustInMachine({
    script: daemonFor(folder) + readFileSync("test/vm/scripts/migrate.sh", "utf8"),
    disks: [{ name: "pv", path: join(folder, "pv"), size: 100 * MIB }],
    share: folder,
    unterbau: true,
    limit: 2400,
  });
  expect(output).toContain("this is data");
  expect(output).toContain("all is as before");
  const read = (name: string) => readFileSync(join(folder, name), "utf8");
  const document = JSON.parse(read("resumed.out")) as MigrateDocument;
  expect(document.disks.map((d) => d.volume)).toEqual(["vg0/mail-luks", "vg0/mail-luks-vdb"]);
  expect(read("inactive.err")).toMatch(
    /mail-luks is not there, although the volume .*\n.*lvchange --activate y vg0\/mail-luks/,
  );
  expect(read("busy.err")).toMatch(/mail-luks(-vdb)? .*(in use|busy)|in use/);
  expect(output).toContain("this is root");
  expect(read("killed.out")).toMatch(/the copy of vda is 1048576 bytes longer than the disk, so the backup/);
  expect(read("verify")).toContain("The backup GPT table is not on the end of the device");
  // 15 and 16 MiB of disk and 16 of header, in extents of 4 MiB.
  const lines = read("lvs")
    .trim()
    .split("\n")
    .map((line) => line.trim().split(/\s+/));
  const tags = `unterbau,unterbau.${document.run}`;
  expect(lines).toEqual([
    ["mail-luks", String(32 * MIB), tags, "linear"],
    ["mail-luks-vdb", String(32 * MIB), tags, "linear"],
    ["mine", String(4 * MIB), "unterbau", "linear"],
  ]);
  for (const name of ["mail-luks", "mail-luks-vdb"]) expect(read(`${name}.dump`)).toContain("sector: 512 [bytes]");
  expect(read("clone.xml")).toMatch(/dev='\/dev\/mapper\/mail-luks'[\s\S]*dev='\/dev\/mapper\/mail-luks-vdb'/);
}, 2_500_000);

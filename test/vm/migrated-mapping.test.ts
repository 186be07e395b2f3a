import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { COUNTERS, makeBootable } from "../helpers/boot-code.ts";
import { must } from "../helpers/cli.ts";
import { hypervisorFor } from "./daemon.ts";
import { mustInMachine } from "./machine.ts";

const MIB = 2 ** 20;
const folder = mkdtempSync(join(tmpdir(), "unterbau-mapping-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it("a guest runs from the mapping that unlock opens on its new volume, not beside the old one, and lock closes it", async () => {
  const disk = join(folder, "mail.raw");
  await must("truncate", ["-s", String(8 * MIB), disk]);
  await must("sfdisk", ["--quiet", disk], { input: Buffer.from("label: dos\nstart=2048, type=83, bootable\n") });
  await must("mke2fs", ["-q", "-t", "ext4", "-E", `offset=${MIB}`, "-L", "root", disk, "7M"]);
  expect(COUNTERS[0]).toBe(8);
  makeBootable(disk);
  const output = await mustInMachine({
    script: hypervisorFor(folder) + readFileSync("test/vm/scripts/migrated-mapping.sh", "utf8"),
    disks: [{ name: "pv", path: join(folder, "pv"), size: 64 * MIB }],
    share: folder,
    unterbau: true,
    limit: 1500,
  });
  expect(output).toContain("all is as before");
  const read = (name: string) => readFileSync(join(folder, name), "utf8");
  expect(read("declared.err")).toContain("is another volume's in /etc/crypttab");
  expect(read("migrate.err")).toContain("unterbau unlock vm:mail-luks");
  const steps = (name: string) =>
    JSON.parse(read(name)).steps.map((s: { kind: string; name: string; outcome: string }) =>
      [s.kind, s.name, s.outcome].join(" "),
    );
  expect(steps("plan.out")).toEqual([
    "volume vg0/mail-luks planned",
    "crypt mail-luks planned",
    "guest mail-luks planned",
  ]);
  // The volume was activated for the key that did not fit.
  expect(steps("unlock.out")).toEqual(["crypt mail-luks done", "guest mail-luks done"]);
  expect(read("wrong.err")).toContain("no key opens mail-luks");
  for (const name of ["old", "beside"]) expect(read(`${name}.err`)).toContain("its storage was migrated");
  expect(read("rollback.err")).toContain("mail-luks is running");
  // QEMU has the mapping open, and no other device of device mapper's.
  expect(read("fds").trim()).toBe(read("mapping").trim());
  expect(read("clone.xml")).toMatch(/<source dev='\/dev\/mapper\/mail-luks'/);
  expect(read("list.out")).toMatch(
    /mail-luks {2}running[\s\S]*migrated from mail[\s\S]*encrypted by the host \(dm-crypt\)/,
  );
  expect(steps("lock.out")).toEqual(["guest mail-luks done", "crypt mail-luks done"]);
  expect(Number(read("counted"))).toBeGreaterThan(0);
}, 1_600_000);

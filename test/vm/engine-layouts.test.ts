import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { must } from "../helpers/cli.ts";
import { type Disk, mustInMachine } from "./machine.ts";

const MIB = 1 << 20;
const folder = mkdtempSync(join(tmpdir(), "unterbau-engine-"));
const part = (name: string) => readFileSync(`test/vm/scripts/${name}.sh`, "utf8");

afterAll(() => rmSync(folder, { recursive: true, force: true }));

it("opens arrays, thin pools, RAID and XFS, checks and repairs, and leaves nothing behind", async () => {
  const own = Object.entries({ m1: 40, m2: 40, t1: 300, t2: 300 }).map(
    ([name, mib]): Disk => ({ name, path: join(folder, name), size: mib * MIB }),
  );
  const output = await mustInMachine({
    script: part("engine-lib") + part("engine-layouts"),
    disks: own,
    share: join(folder, "layouts"),
    unterbau: true,
    limit: 1700,
  });
  expect(output.match(/^(script|run-plan) (array|group): 0$/gm)).toHaveLength(4);
  expect(output).toContain("run-plan mirror-repair: 1\nrun-plan mirror-repaired: 0");
  for (const name of ["array", "group"])
    await must("shellcheck", ["--shell=sh", join(folder, "layouts", `${name}.sh`)]);
}, 1_800_000);

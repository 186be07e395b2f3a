import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { volumeStanding } from "./lvm.ts";

let folder: string;
let path: string | undefined;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "unterbau-lvs-"));
  path = process.env.PATH;
  process.env.PATH = folder;
});
afterEach(() => {
  process.env.PATH = path;
  rmSync(folder, { recursive: true });
});

/** An lvs that prints one report for `--segments PATH` and one for a group, in the form of LVM 2.03's --reportformat json. */
function lvs(segments: readonly object[], volumes: readonly object[]): void {
  const report = (rows: readonly object[]) => JSON.stringify({ report: [{ lv: rows }], log: [] });
  const program = join(folder, "lvs");
  writeFileSync(
    program,
    `#!/bin/sh\ncase "$*" in *--segments*) echo '${report(segments)}';; *) echo '${report(volumes)}';; esac\n`,
  );
  chmodSync(program, 0o755);
}

const segment = (segtype: string, devices: string) => ({
  vg_name: "vg0",
  lv_name: "mail",
  lv_size: "8589934592",
  segtype,
  devices,
});
const own = { lv_name: "mail", lv_uuid: "Ab12cd-0000-1111-2222-3333-4444-Ef56gh", origin: "" };

describe("how a logical volume stands", () => {
  it("has its UUID, the kinds of its segments, and nothing else's snapshots", async () => {
    lvs(
      [segment("linear", "/dev/sda2(0)"), segment("striped", "/dev/sda2(9),/dev/sdb(0)")],
      [own, { lv_name: "other-snap", lv_uuid: "x", origin: "other" }],
    );
    expect(await volumeStanding("/dev/vg0/mail")).toEqual({
      uuid: "Ab12cd-0000-1111-2222-3333-4444-Ef56gh",
      size: 8589934592,
      types: ["linear", "striped"],
      snapshots: [],
      origin: "",
      pool: "",
      neighbours: [],
    });
  });

  it("has snapshots, classic and thin", async () => {
    const snapshots = ["before-update", "daily"].map((lv_name) => ({ lv_name, lv_uuid: "y", origin: "mail" }));
    lvs([segment("thin", "")], [own, ...snapshots]);
    expect(await volumeStanding("/dev/vg0/mail")).toMatchObject({
      types: ["thin"],
      snapshots: ["before-update", "daily"],
    });
  });

  it("is a snapshot of another, and shares a pool with others", async () => {
    const other = { lv_name: "web", lv_uuid: "z", origin: "", pool_lv: "pool" };
    lvs(
      [segment("thin", "")],
      [{ ...own, origin: "base", pool_lv: "pool" }, other, { ...other, lv_name: "x", pool_lv: "" }],
    );
    expect(await volumeStanding("/dev/vg0/mail")).toMatchObject({ origin: "base", pool: "pool", neighbours: ["web"] });
  });

  it("is not known when LVM does not know it", async () => {
    lvs([], []);
    await expect(volumeStanding("/dev/vg0/mail")).rejects.toMatchObject({ code: "io" });
    lvs([segment("linear", "/dev/sda2(0)")], []);
    await expect(volumeStanding("/dev/vg0/mail")).rejects.toMatchObject({ code: "io" });
  });
});

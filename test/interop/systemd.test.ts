import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { parseCrypttab } from "../../src/host/crypttab.ts";
import { parseFstab } from "../../src/host/mount-table.ts";
import { cryptsetupUnit, escapeUnit, pathUnit, unescapeUnit } from "../../src/host/unit-names.ts";
import { must } from "../helpers/cli.ts";
import { run, temporaryFolder } from "../helpers/programs.ts";

const folder = temporaryFolder();
afterAll(folder.remove);

describe("names of units", () => {
  const texts = ["mail", "my-mail", "a b", "über", ".hidden", "x\\y", "luks-2505567a-9e27", "a/b"];
  it("are systemd-escape's", () => {
    expect(texts.map(escapeUnit)).toEqual(
      run("systemd-escape", "--", ...texts)
        .trim()
        .split(" "),
    );
    expect(texts.map(escapeUnit).map(unescapeUnit)).toEqual(texts);
    const paths = ["/", "/srv/vm", "/srv/my vms/a-b", "/dev/mapper/mail-crypt"];
    expect(paths.map((p) => pathUnit(p, "mount"))).toEqual(
      run("systemd-escape", "--path", "--suffix=mount", ...paths)
        .trim()
        .split(" "),
    );
  });
});

describe("tables", () => {
  it("crypttab is read as systemd's own generator reads it", async () => {
    const table = join(folder.path, "crypttab");
    writeFileSync(
      table,
      "# c\nmail UUID=2505567A-9e27-4efe-a4d5-15ad146c258b none luks,noauto\nmy-box\t/srv/box.luks /etc/box.key luks,discard\n\nlabelled LABEL=x - \nwith\\040space /dev/sda2\n",
    );
    const out = join(folder.path, "units");
    mkdirSync(out);
    const generator = "/usr/lib/systemd/system-generators/systemd-cryptsetup-generator";
    await must(generator, [out, out, out], { env: { SYSTEMD_CRYPTTAB: table, SYSTEMD_PROC_CMDLINE: "quiet" } });
    const units = readdirSync(out).filter((name) => name.startsWith("systemd-cryptsetup@"));
    const entries = parseCrypttab(readFileSync(table, "utf8"));
    expect(entries.map((e) => cryptsetupUnit(e.name)).sort()).toEqual(units.sort());
    for (const entry of entries) {
      const unit = readFileSync(join(out, cryptsetupUnit(entry.name)), "utf8");
      const [, device, key] = /ExecStart=\S+ attach '[^']*' '([^']*)' '([^']*)'/.exec(unit)!;
      expect([device, key]).toEqual([entry.device, entry.keyFile ?? expect.stringMatching(/^(none|-)?$/)]);
    }
  });

  it("fstab is read as findmnt reads it", () => {
    const table = join(folder.path, "fstab");
    const text =
      "/dev/mapper/a\\040b  /srv/my\\040vms  ext4  noauto,discard  0 2\n# x\n/dev/sda1 / xfs defaults\n/x/image.raw /mnt/i auto loop,ro 0 0\n";
    writeFileSync(table, text);
    const shown = run("findmnt", "--json", "--fstab", "--tab-file", table, "-o", "SOURCE,TARGET,FSTYPE,OPTIONS");
    const { filesystems } = JSON.parse(shown) as { filesystems: { source: string; target: string; options: string }[] };
    const flat = (f: { source: string; target: string; options: string; children?: unknown[] }): string[] => [
      `${f.source} ${f.target} ${f.options}`,
      ...(f.children ?? []).flatMap((c) => flat(c as typeof f)),
    ];
    expect(
      parseFstab(text)
        .map((m) => `${m.what} ${m.where} ${m.options.join(",")}`)
        .sort(),
    ).toEqual(filesystems.flatMap(flat).sort());
  });
});

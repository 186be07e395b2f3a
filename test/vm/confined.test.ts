import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import type { CheckDocument } from "../../src/usecases/documents.ts";
import { makeBootable } from "../helpers/boot-code.ts";
import { makeGuest } from "../helpers/guest.ts";
import { uuidOf } from "../helpers/libvirt.ts";
import { qemuDomain } from "../helpers/session-daemon.ts";
import { HOME, mustInMachine } from "./machine.ts";

const folder = mkdtempSync(join(tmpdir(), "unterbau-confined-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it("a migrated guest runs from the host's dm-crypt mapping, confined by AppArmor, and is checked while it does", async () => {
  const { disks } = await makeGuest(folder, "mbr-ext4");
  const disk = disks[0]!;
  makeBootable(disk);
  execFileSync("bash", ["test/vm/host-programs.sh", HOME, join(folder, "host.tar")], { stdio: "inherit" });
  const source = "<source dev='/dev/vm/mail'/><target dev='vda' bus='virtio'/>";
  const xml = `<disk type='block' device='disk'><driver name='qemu' type='raw'/>${source}</disk>`;
  writeFileSync(join(folder, "mail.xml"), qemuDomain("mail", uuidOf(1), xml));
  const output = await mustInMachine({
    script: readFileSync("test/vm/scripts/confined.sh", "utf8"),
    disks: [
      { name: "pv", path: join(folder, "pv"), size: statSync(disk).size + 32 * 2 ** 20 },
      { name: "mail", path: disk },
    ],
    share: folder,
    unterbau: true,
    limit: 1700,
  });
  expect(output).toMatch(/user 64055, profile libvirt-[0-9a-f-]{36} \(enforce\)/);
  expect(output).toContain('"filename":"/dev/mapper/mail-luks"');
  expect(output).toContain("the guest runs from the mapping");
  expect(output).toMatch(/Failed to bind socket to \/dev\/shm\/elsewhere\/s: Permission denied/);
  const document = JSON.parse(readFileSync(join(folder, "live.json"), "utf8")) as CheckDocument;
  expect(document.live).toMatchObject({ guest: "mail-luks", via: "backup" });
  expect(document.volumes.map((v) => v.verdict)).toEqual(["clean"]);
  expect(output).toMatch(/\/run\/closed cannot be entered by the user as whom QEMU runs \(64055\)/);
}, 1_800_000);

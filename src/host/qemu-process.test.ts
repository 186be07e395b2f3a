import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { qemuProcess } from "./qemu-process.ts";

const UUID = "11111111-2222-4333-8444-555555555555";
let proc: string;
beforeEach(() => {
  proc = mkdtempSync(join(tmpdir(), "unterbau-proc-"));
});
afterEach(() => rmSync(proc, { recursive: true }));

function entry(pid: number, argv: readonly string[], label: string | null, file = "attr/apparmor/current"): void {
  const folder = join(proc, String(pid));
  mkdirSync(join(folder, "attr/apparmor"), { recursive: true });
  writeFileSync(join(folder, "cmdline"), argv.map((a) => `${a}\0`).join(""));
  if (label !== null) writeFileSync(join(folder, file), label);
}

/** Arguments as libvirt 9.0 gives them. */
const argv = (key: string) => [
  "/usr/bin/qemu-system-x86_64",
  "-name",
  "guest=web,debug-threads=on",
  "-object",
  key,
  "-uuid",
  UUID,
];
const KEY =
  '{"qom-type":"secret","id":"masterKey0","format":"raw","file":"/var/lib/libvirt/qemu/domain-3-web/master-key.aes"}';

it("names the profile that is enforced, and libvirt's folder for the guest", () => {
  entry(7, ["/usr/bin/other", "-uuid"], null);
  entry(8, argv(KEY), `libvirt-${UUID} (enforce)\n`);
  expect(qemuProcess(UUID, proc)).toMatchObject({
    uid: process.getuid?.(),
    profile: `libvirt-${UUID}`,
    folder: "/var/lib/libvirt/qemu/domain-3-web",
  });
});

it("knows older arguments, and profiles that only complain, and other security modules", () => {
  entry(
    8,
    argv("secret,id=masterKey0,format=raw,file=/var/lib/libvirt/qemu/domain-12-a b/master-key.aes"),
    `libvirt-${UUID} (complain)\n`,
  );
  expect(qemuProcess(UUID, proc)).toMatchObject({ profile: null, folder: "/var/lib/libvirt/qemu/domain-12-a b" });
  entry(8, argv(KEY), "unconfined\n");
  expect(qemuProcess(UUID, proc).profile).toBeNull();
});

it("takes an SELinux label for no profile", () => {
  entry(8, argv(KEY), "system_u:system_r:svirt_t:s0:c1,c2\0", "attr/current");
  expect(qemuProcess(UUID, proc).profile).toBeNull();
});

it("is us when there is none", () => {
  expect(qemuProcess(UUID, proc)).toEqual({
    uid: process.getuid?.(),
    gid: process.getgid?.(),
    profile: null,
    folder: null,
  });
});

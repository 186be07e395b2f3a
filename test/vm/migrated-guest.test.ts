import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { must, unterbau } from "../helpers/cli.ts";
import { CHEAP_LUKS1 } from "../helpers/cryptsetup.ts";
import { fileDisk, uuidOf } from "../helpers/libvirt.ts";
import { type SessionDaemon, startSessionDaemon } from "../helpers/session-daemon.ts";
import { HOME } from "./machine.ts";

let daemon: SessionDaemon;
let env: Record<string, string>;
let [disk, target, key, serial] = ["", "", "", ""];

/** A Debian with its own boot loader, under libvirt and QEMU. */
beforeAll(async () => {
  daemon = await startSessionDaemon();
  env = { UNTERBAU_STATE_DIR: join(daemon.folder, "state") };
  const at = (name: string) => join(daemon.folder, name);
  [disk, target, key, serial] = [at("mail.raw"), at("mail.luks"), at("key"), at("serial.log")];
  writeFileSync(key, "the passphrase of the mail server");
  execFileSync("bash", ["test/vm/debian-guest.sh", HOME, disk], { stdio: "inherit" });
  daemon.handOver(disk);
  const xml = at("mail.xml");
  writeFileSync(
    xml,
    `<domain type='qemu'><name>mail</name><uuid>${uuidOf(1)}</uuid><memory unit='MiB'>384</memory><vcpu>1</vcpu><cpu mode='maximum'/>
<os><type arch='x86_64' machine='pc'>hvm</type><boot dev='hd'/></os><features><acpi/></features>
<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>${fileDisk(disk, "raw")}
<serial type='file'><source path='${serial}'/></serial><memballoon model='none'/></devices></domain>`,
  );
  await daemon.virsh("define", xml);
});
afterAll(async () => {
  await daemon?.end();
});

/** Starts a guest, waits until it has powered itself off; what it wrote on its serial line. */
async function boot(guest: string): Promise<string> {
  await daemon.virsh("start", guest);
  while (!(await daemon.virsh("domstate", guest)).includes("shut off")) await wait(250);
  return existsSync(serial) ? readFileSync(serial, "latin1") : "";
}

/** A file of the guest's root, read through the layers. */
async function inside(path: string, source: string, ...keys: string[]): Promise<string> {
  const { code, stdout, stderr } = await unterbau(["cat", source, "--volume", "p2", ...keys, path], { env });
  expect(code, stderr).toBe(0);
  return stdout.toString().trim();
}

it("a Debian that was moved onto LUKS boots from there by its own boot loader and finds its files", async () => {
  expect(await boot("mail")).toMatch(/Debian GNU\/Linux 12 .* has 200 messages, all whole\r?\nstart 1/);

  const keys = ["--target-key-file", key, ...CHEAP_LUKS1];
  const args = ["migrate", "vm:mail", "--to-file", target, ...keys, "--connect", daemon.uri, "--no-prompt"];
  const moved = await unterbau(args, { env });
  expect(moved.code, moved.stderr).toBe(0);
  daemon.handOver(target);

  expect(await boot("mail-luks")).toMatch(/Debian GNU\/Linux 12 .* has 200 messages, all whole\r?\nstart 2/);
  const check = await unterbau(["check", target, "--key-file", key, "--no-prompt"], { env });
  expect(check.code, check.stderr).toBe(0);
  // What it wrote lies in the container, encrypted; the old disk is as it was.
  expect(await inside("/srv/starts", target, "--key-file", key)).toBe("2");
  expect(await inside("/srv/starts", disk)).toBe("1");
  expect(await must("cryptsetup", ["luksDump", target])).toMatch(/^Version:\s+1$/m);
  for (const [path, found] of [[disk, true] as const, [target, false] as const]) {
    expect(readFileSync(path).includes("Debian GNU/Linux 12 (bookworm)"), path).toBe(found);
    expect(statSync(path).size).toBeGreaterThanOrEqual(256 << 20);
  }
}, 900_000);

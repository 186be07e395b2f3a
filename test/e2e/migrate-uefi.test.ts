import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { must, unterbau } from "../helpers/cli.ts";
import { CHEAP_LUKS1 } from "../helpers/cryptsetup.ts";
import { fileDisk, uuidOf } from "../helpers/libvirt.ts";
import { type SessionDaemon, startSessionDaemon } from "../helpers/session-daemon.ts";

const FIRMWARE = "/usr/share/OVMF/OVMF_CODE_4M.fd";
const VARIABLES = "/usr/share/OVMF/OVMF_VARS_4M.fd";
/** Says what the firmware remembers, then has it remember something. */
const SCRIPT = `@echo -off
setvar UnterbauTest -guid 6a898322-8f7d-4b57-9d3e-2f6b1d2f9c01
setvar UnterbauTest -guid 6a898322-8f7d-4b57-9d3e-2f6b1d2f9c01 -bs -rt -nv =0xCAFE
echo told by the disk
reset -s
`;
let daemon: SessionDaemon;
const at = (name: string): string => join(daemon.folder, name);

beforeAll(async () => {
  daemon = await startSessionDaemon();
  const disk = at("uefi.raw");
  await must("truncate", ["-s", "64M", disk]);
  await must("sgdisk", ["-n1:2048:0", "-t1:ef00", disk]);
  await must("mkfs.vfat", ["-F", "32", "--offset=2048", disk, String((64 - 2) * 1024)]);
  writeFileSync(at("startup.nsh"), SCRIPT.replaceAll("\n", "\r\n"));
  await must("mcopy", ["-i", `${disk}@@1M`, at("startup.nsh"), "::/startup.nsh"]);
  writeFileSync(at("key"), "the passphrase of a guest with UEFI");
  await must("cp", [VARIABLES, at("uefi_VARS.fd")]);
  daemon.handOver(disk, at("uefi_VARS.fd"));
  writeFileSync(
    at("uefi.xml"),
    `<domain type='qemu'><name>uefi</name><uuid>${uuidOf(1)}</uuid><memory unit='MiB'>192</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type><loader readonly='yes' type='pflash'>${FIRMWARE}</loader><nvram>${at("uefi_VARS.fd")}</nvram></os>
<features><acpi/></features><on_poweroff>destroy</on_poweroff>
<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>${fileDisk(disk, "raw", "vda")}
<serial type='file'><source path='${at("serial.log")}'/></serial><memballoon model='none'/></devices></domain>`,
  );
  await daemon.virsh("define", at("uefi.xml"));
});
afterAll(() => daemon?.end());

/** Until the guest has shut itself down; what it printed. */
async function said(guest: string): Promise<string> {
  while ((await daemon.virsh("domstate", guest)).trim() !== "shut off") await wait(200);
  return readFileSync(at("serial.log"), "latin1");
}

it("a guest with UEFI boots from its copy, and its firmware remembers what it was told before", async () => {
  await daemon.virsh("start", "uefi");
  const first = await said("uefi");
  expect(first).toContain("told by the disk");
  expect(first).not.toMatch(/CA ?FE|FE ?CA/);

  const env = { UNTERBAU_STATE_DIR: at("state") };
  const connect = ["--connect", daemon.uri, "--no-prompt"];
  const to = ["--to-file", at("uefi.luks"), "--target-key-file", at("key"), ...CHEAP_LUKS1];
  const moved = await unterbau(["migrate", "vm:uefi", ...to, "--json", ...connect], { env });
  expect(moved.code, moved.stderr).toBe(0);
  const { run } = JSON.parse(moved.stdout.toString()) as { run: string };
  const xml = await daemon.virsh("dumpxml", "uefi-luks");
  const nvram = /<nvram[^>]*>(.*)<\/nvram>/.exec(xml)?.[1] ?? "";
  expect(nvram).not.toBe(at("uefi_VARS.fd"));
  expect(readFileSync(nvram).equals(readFileSync(at("uefi_VARS.fd")))).toBe(true);

  // Guests of this daemon run as another user than root, who made these.
  daemon.handOver(at("uefi.luks"), nvram);
  const started = await unterbau(
    ["unlock", "vm:uefi-luks", "--start", "--key-file", at("key"), "--connect", daemon.uri],
    { env },
  );
  expect(started.code, started.stderr).toBe(0);
  const second = await said("uefi-luks");
  expect(second).toContain("told by the disk");
  expect(second).toMatch(/FE ?CA/);

  const back = await unterbau(["migrate", "--rollback", run, "--force", ...connect], { env });
  expect(back.code, back.stderr).toBe(0);
  expect([existsSync(nvram), existsSync(at("uefi_VARS.fd"))]).toEqual([false, true]);
}, 240_000);

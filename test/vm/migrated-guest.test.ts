import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { must, run, unterbau } from "../helpers/cli.ts";
import { CHEAP_LUKS1 } from "../helpers/cryptsetup.ts";
import { fileDisk, uuidOf } from "../helpers/libvirt.ts";
import { type SessionDaemon, startSessionDaemon } from "../helpers/session-daemon.ts";
import { HOME } from "./machine.ts";

let daemon: SessionDaemon;
let env: Record<string, string>;
let [disk, target, key, serial] = ["", "", "", ""];

const at = (name: string) => join(daemon.folder, name);

beforeAll(async () => {
  daemon = await startSessionDaemon();
  env = { UNTERBAU_STATE_DIR: at("state") };
  [disk, target, key, serial] = [at("mail.raw"), at("mail.luks"), at("key"), at("serial.log")];
  writeFileSync(key, "the passphrase of the mail server");
});
afterAll(async () => {
  await daemon?.end();
});

/** A Debian with its own boot loader, under libvirt and QEMU. */
async function makeDebian(table: "dos" | "gpt"): Promise<void> {
  execFileSync("bash", ["test/vm/debian-guest.sh", HOME, disk, table], { stdio: "inherit" });
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
}

/** Starts a guest, waits until it has powered itself off; what it wrote on its serial line. */
async function boot(guest: string): Promise<string> {
  rmSync(serial, { force: true });
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
  await makeDebian("dos");
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

it("one with a GPT boots from a longer place, too; what is said of its backup table is so (needs root)", async () => {
  for (const guest of ["mail", "mail-luks"]) await run("virsh", ["-c", daemon.uri, "undefine", guest]);
  await makeDebian("gpt");
  const first = await boot("mail");
  expect(first).toMatch(/has 200 messages, all whole\r?\n[\s\S]*No problems found[\s\S]*start 1/);
  expect(first).not.toContain("kernel: GPT");

  const place = at("longer.img");
  const more = 20 << 20;
  await must("truncate", ["-s", String(statSync(disk).size + (2 << 20) + more), place]);
  const loop = (await must("losetup", ["--find", "--show", place])).trim();
  try {
    const args = ["vm:mail", "--to-device", loop, "--libvirt-luks", "--target-key-file", key, ...CHEAP_LUKS1];
    const moved = await unterbau(["migrate", ...args, "--connect", daemon.uri, "--no-prompt"], { env });
    expect(moved.code, moved.stderr).toBe(0);
    const said = `the copy of vda is ${more} bytes longer than the disk`;
    expect(moved.stderr).toMatch(new RegExp(`${said}.*Linux starts.*sgdisk --move-second-header`));
    daemon.handOver(loop);

    // Where the table is, and where the disk ends, in sectors.
    const [was, now] = [(256 << 20) / 512 - 1, ((256 << 20) + more) / 512 - 1];
    const second = await boot("mail-luks");
    expect(second).toMatch(/has 200 messages, all whole\r?\n[\s\S]*start 2/);
    expect(second).toContain("kernel: GPT:Primary header thinks Alt. header is not at the end of the disk.");
    expect(second).toContain(`kernel: GPT:${was} != ${now}`);
    expect(second).toMatch(/Problem: The secondary header's self-pointer .*[\s\S]*Identified 1 problems!/);
    // It puts the table there itself, as the hint says.
    expect(await boot("mail-luks")).toMatch(/has 200 messages[\s\S]*No problems found[\s\S]*start 3/);
    const last = await boot("mail-luks");
    expect(last).toMatch(/has 200 messages[\s\S]*No problems found[\s\S]*start 4/);
    expect(last).not.toContain("kernel: GPT");
    const check = await unterbau(["check", loop, "--key-file", key, "--no-prompt"], { env });
    expect(check.code, check.stderr).toBe(0);
    expect(await inside("/srv/starts", loop, "--key-file", key)).toBe("4");
    expect(await inside("/srv/starts", disk)).toBe("1");
  } finally {
    await must("losetup", ["-d", loop]);
  }
}, 900_000);

import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { CLI, unterbau } from "../helpers/cli.ts";
import { run, temporaryFolder } from "../helpers/programs.ts";

const folder = temporaryFolder();
afterAll(() => folder.remove());
const at = (...parts: string[]): string => join(folder.path, ...parts);
const MIB = 1024 * 1024;

/** A machine's ext4 with a host's ext4 in it, in which a guest's qcow2 lies; and a folder that carries the mark of fscrypt. Needs root (tmpfs). */
beforeAll(() => {
  const ext4 = (from: string, image: string, size: string, ...options: string[]) =>
    run("mke2fs", "-q", "-F", "-t", "ext4", ...options, "-d", from, image, size);
  mkdirSync(at("guest/etc"), { recursive: true });
  writeFileSync(at("guest/etc/fstab"), "the innermost fstab\n");
  ext4(at("guest"), at("guest.img"), "16M");
  mkdirSync(at("host/images"), { recursive: true });
  run("qemu-img", "convert", "-O", "qcow2", at("guest.img"), at("host/images/os43.qcow2"));
  mkdirSync(at("machine/secret"), { recursive: true });
  ext4(at("host"), at("machine/host.raw"), "48M");
  writeFileSync(at("machine/big"), Buffer.alloc(8 * MIB, "mail"));
  writeFileSync(at("machine/secret/name"), "ciphertext");
  ext4(at("machine"), at("machine.img"), "128M", "-O", "encrypt");
  // EXT4_ENCRYPT_FL and EXT4_EXTENTS_FL (ext4 disk layout, i_flags): a kernel with the key would be needed for more.
  for (const path of ["/secret", "/secret/name"])
    run("debugfs", "-w", "-R", `set_inode_field ${path} flags 0x80800`, at("machine.img"));
});

it("an image in a volume in an image in a volume", async () => {
  const inside = ["--inside", "disk1:/host.raw", "--inside", "disk1:/images/os43.qcow2"];
  const r = await unterbau(["cat", at("machine.img"), ...inside, "--volume", "disk1", "/etc/fstab"]);
  expect([r.code, r.stdout.toString()]).toEqual([0, "the innermost fstab\n"]);
  const check = await unterbau(["check", at("machine.img"), ...inside, "--json"]);
  expect(JSON.parse(check.stdout.toString()).volumes).toMatchObject([{ selector: "disk1", verdict: "clean" }]);
});

it("what a guest has encrypted is refused by name, and nothing of it is copied", async () => {
  const of = (...args: string[]) => unterbau([args[0]!, at("machine.img"), "--volume", "disk1", ...args.slice(1)]);
  for (const r of [await of("ls", "/secret"), await of("cat", "/secret/name")]) {
    expect(r.code).toBe(1);
    expect(r.stderr).toContain("is encrypted by the guest (fscrypt)");
    expect(r.stdout.toString()).not.toContain("ciphertext");
  }
  mkdirSync(at("out"));
  const copied = await of("cp", "/secret/name", at("out"));
  expect([copied.code, readdirSync(at("out"))]).toEqual([1, []]);
});

it("a full destination is one clear line, and no half file", async () => {
  mkdirSync(at("full"));
  run("mount", "-t", "tmpfs", "-o", "size=1m", "none", at("full"));
  try {
    const r = await unterbau(["cp", at("machine.img"), "--volume", "disk1", "/big", at("full")]);
    expect(r.code).toBe(1);
    expect(r.stderr).toMatch(/^unterbau: cannot write to the destination: ENOSPC.*\nhint: .*free space there/);
    expect(readdirSync(at("full"))).toEqual([]);
  } finally {
    run("umount", at("full"));
  }
});

it("a copy that is cancelled leaves no half file", async () => {
  const socket = at("slow.sock");
  // A disk that gives 2 MiB a second, so that the copy takes long enough to be met in the middle.
  const throttled = `driver=throttle,throttle-group=slow,file.driver=raw,file.file.driver=file,file.file.filename=${at("machine.img")}`;
  const group = "throttle-group,id=slow,x-bps-total=2097152,x-bps-total-max=8388608";
  const server = spawn("qemu-nbd", ["-r", "-t", "-k", socket, "--object", group, "--image-opts", throttled], {
    stdio: "ignore",
  });
  const served = once(server, "exit");
  try {
    while (!existsSync(socket)) await sleep(10);
    mkdirSync(at("cancelled"));
    const copy = spawn(process.execPath, [
      CLI,
      "cp",
      `nbd+unix:///?socket=${socket}`,
      "--volume",
      "disk1",
      "/big",
      at("cancelled"),
    ]);
    const ended = once(copy, "exit");
    const begun = () => existsSync(at("cancelled/big")) && statSync(at("cancelled/big")).size > 0;
    while (!begun() && copy.exitCode === null) await sleep(5);
    copy.kill("SIGINT");
    expect((await ended)[0]).toBe(130);
    expect(readdirSync(at("cancelled"))).toEqual([]);
  } finally {
    server.kill();
    await served;
  }
});

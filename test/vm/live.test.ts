import { execFileSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { BackupVerifyDocument } from "../../src/usecases/backup-documents.ts";
import type { CheckDocument } from "../../src/usecases/documents.ts";
import type { TrimExplainDocument, TrimRunDocument } from "../../src/usecases/trim-documents.ts";
import { must, run, unterbau } from "../helpers/cli.ts";
import { type Guest, makeGuest } from "../helpers/guest.ts";
import { fileDisk, uuidOf } from "../helpers/libvirt.ts";
import { type SessionDaemon, startSessionDaemon } from "../helpers/session-daemon.ts";
import { HOME } from "./machine.ts";

const UUID = uuidOf(1);
let daemon: SessionDaemon;
let guest: Guest;
let serial: string;
let scratch: string;
let env: Record<string, string>;

/** Linux under libvirt and QEMU, its root in memory, which writes its ext4 all the time. */
beforeAll(async () => {
  daemon = await startSessionDaemon();
  env = { UNTERBAU_STATE_DIR: join(daemon.folder, "state") };
  guest = await makeGuest(daemon.folder, "mbr-ext4");
  const [kernel, initrd] = [join(daemon.folder, "kernel"), join(daemon.folder, "initrd")];
  copyFileSync(join(HOME, "kernel"), kernel);
  execFileSync("bash", ["test/vm/live-initrd.sh", HOME, initrd], { stdio: "inherit" });
  serial = join(daemon.folder, "serial.log");
  daemon.handOver(guest.disks[0]!, kernel, initrd);
  scratch = join(daemon.folder, "memory");
  mkdirSync(scratch);
  await must("mount", ["-t", "tmpfs", "-o", "size=160m,mode=0755", "unterbau-test", scratch]);
  const xml = join(daemon.folder, "linux.xml");
  const line = "console=ttyS0 quiet loglevel=1 panic=1 mitigations=off cryptomgr.notests tsc=reliable no_timer_check";
  writeFileSync(
    xml,
    `<domain type='qemu'><name>linux</name><uuid>${UUID}</uuid><memory unit='MiB'>512</memory><vcpu>1</vcpu><cpu mode='maximum'/>
<os><type arch='x86_64' machine='q35'>hvm</type><kernel>${kernel}</kernel><initrd>${initrd}</initrd><cmdline>${line}</cmdline></os><features><acpi/></features>
<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>${fileDisk(guest.disks[0]!, "raw").replace("type='raw'", "type='raw' discard='unmap'")}
<serial type='file'><source path='${serial}'/></serial><channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
<memballoon model='none'/></devices></domain>`,
  );
  await daemon.virsh("define", xml);
  await daemon.virsh("start", UUID);
  await atLeast(20);
});
afterAll(async () => {
  await run("virsh", ["-c", daemon.uri, "destroy", UUID]);
  await run("umount", [scratch]);
  await daemon.end();
});

/** Rounds of writing that the guest has told of. */
function rounds(): number {
  const text = existsSync(serial) ? readFileSync(serial, "latin1") : "";
  return Math.max(0, ...[...text.matchAll(/round (\d+)/g)].map((m) => Number(m[1])));
}

async function atLeast(n: number): Promise<void> {
  while (rounds() < n) {
    if (!(await daemon.virsh("domstate", UUID)).includes("running"))
      throw new Error(`the guest ended:\n${readFileSync(serial, "latin1")}`);
    await wait(100);
  }
}

async function check(...more: string[]): Promise<CheckDocument> {
  const args = ["check", "vm:linux", "--live", "--scratch", scratch, "--json", "--connect", daemon.uri, ...more];
  const { code, stdout, stderr } = await unterbau(args, { env });
  expect({ code, stderr }, stdout.toString()).toEqual({ code: 0, stderr: "" });
  return JSON.parse(stdout.toString()) as CheckDocument;
}

it("finds a file system clean that Linux writes all the time, at every instant", async () => {
  const reasons: (string | null)[] = [];
  for (let i = 0; i < 5; i++) {
    const before = rounds();
    const doc = await check();
    expect(doc.volumes.map((v) => [v.selector, v.verdict])).toEqual([["p2", "clean"]]);
    reasons.push(doc.volumes[0]!.reason);
    await atLeast(before + 20);
  }
  // It is a mounted file system that was seen: its journal had to be replayed.
  expect(reasons.every((r) => r?.includes("journal replayed for the check"))).toBe(true);
});

it("freezes the guest's file systems for the instant, and thaws them", async () => {
  const before = rounds();
  const doc = await check("--quiesce");
  expect(doc.live?.quiesced).toBe(true);
  expect(doc.volumes.map((v) => v.verdict)).toEqual(["clean"]);
  const status = await daemon.virsh("qemu-agent-command", UUID, '{"execute":"guest-fsfreeze-status"}');
  expect(JSON.parse(status)).toEqual({ return: "thawed" });
  await atLeast(before + 20);
});

it("thaws a guest that a command left frozen", async () => {
  // What is there when a command and its guardian are killed between freeze and thaw.
  const folder = join(scratch, "unterbau-live-abcdef");
  mkdirSync(folder);
  writeFileSync(join(folder, "frozen"), "");
  const notes = join(env.UNTERBAU_STATE_DIR!, "live");
  mkdirSync(notes, { recursive: true });
  const owner = { pid: 1, startTime: "0", bootId: "another" };
  const record = { schema: "unterbau/live/1", owner, guest: "linux", uuid: UUID, uri: daemon.uri, folder };
  writeFileSync(join(notes, "unterbau-live-abcdef.json"), JSON.stringify(record));
  await daemon.virsh("domfsfreeze", UUID);
  const { stderr } = await unterbau(["recover"], { env });
  expect(stderr).toContain("a view of the guest linux that was cut off is ended now");
  await atLeast(rounds() + 10);
  expect([existsSync(folder), existsSync(join(notes, "unterbau-live-abcdef.json"))]).toEqual([false, false]);
});

it("has the guest trim its file systems, and the image becomes smaller", async () => {
  const { code, stdout, stderr } = await unterbau(["trim", "run", "vm:linux", "--json", "--connect", daemon.uri], {
    env,
  });
  expect(code, stderr).toBe(0);
  const [disk] = (JSON.parse(stdout.toString()) as TrimRunDocument).disks;
  expect(disk!.allocatedAfter!).toBeLessThan(disk!.allocatedBefore!);
  const explained = await unterbau(["trim", "explain", "vm:linux", "--live", "--json", "--connect", daemon.uri], {
    env,
  });
  const doc = JSON.parse(explained.stdout.toString()) as TrimExplainDocument;
  // Seen while it runs: its file system has no fstab, and that is what is said.
  expect(doc).toMatchObject({ state: "running", inside: { reason: "no /etc/fstab in an ext file system" } });
});

it("is backed up while it runs, and the backup can be restored", async () => {
  const to = join(daemon.folder, "backups");
  const args = ["backup", "vm:linux", "--live", "--scratch", scratch, "--to", to, "--json", "--connect", daemon.uri];
  const made = await unterbau(args, { env });
  expect(made.code, made.stderr).toBe(0);
  expect(JSON.parse(made.stdout.toString())).toMatchObject({ live: true, disks: [{ target: "vda", kind: "content" }] });
  const verified = await unterbau(["backup", "verify", "vm:linux", "--from", to, "--json"], { env });
  expect(verified.code, verified.stderr).toBe(0);
  const { check: found } = JSON.parse(verified.stdout.toString()) as BackupVerifyDocument;
  expect(found.volumes.map((v) => v.verdict)).toEqual(["clean"]);
  await atLeast(rounds() + 10);
});

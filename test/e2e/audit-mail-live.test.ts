import { closeSync, cpSync, existsSync, openSync, readdirSync, readFileSync, readSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { AuditDocument } from "../../src/audit/model.ts";
import { COUNTERS, makeBootable } from "../helpers/boot-code.ts";
import { must, run, unterbau } from "../helpers/cli.ts";
import { fileDisk, uuidOf } from "../helpers/libvirt.ts";
import { qemuDomain, type SessionDaemon, startSessionDaemon } from "../helpers/session-daemon.ts";

/** A mail server's guest that runs in QEMU and writes to its disk all the time. */
const CONFIGURATION = resolve("test/hosts/good/vm:mail:/etc");
const UUID = uuidOf(1);
const PARTITION = 2048 * 512;

let daemon: SessionDaemon;
let disk: string;
let state: string;

beforeAll(async () => {
  daemon = await startSessionDaemon();
  disk = join(daemon.folder, "boot.raw");
  const mail = join(daemon.folder, "mail.raw");
  state = join(daemon.folder, "state");
  const root = join(daemon.folder, "root");
  cpSync(CONFIGURATION, join(root, "etc"), { recursive: true });
  for (const file of [disk, mail]) {
    await must("truncate", ["-s", "32M", file]);
    await must("sh", ["-c", `echo 'start=2048, type=83' | sfdisk --quiet ${file}`]);
  }
  // What the guest's fstab calls its root.
  const uuid = /UUID=(\S+)\s+\/\s/.exec(readFileSync(join(CONFIGURATION, "fstab"), "utf8"))![1]!;
  const options = ["-q", "-t", "ext4", "-U", uuid, "-d", root, "-E", `offset=${PARTITION}`];
  await must("mke2fs", [...options, mail, "16M"]);
  makeBootable(disk);
  daemon.handOver(disk, mail);
  const xml = join(daemon.folder, "post.xml");
  writeFileSync(xml, qemuDomain("post", UUID, fileDisk(disk, "raw") + fileDisk(mail, "raw", "vdb")));
  await daemon.virsh("define", xml);
  await daemon.virsh("start", UUID);
});
afterAll(async () => {
  await run("virsh", ["-c", daemon.uri, "destroy", UUID]);
  await daemon?.end();
});

async function audit(...args: string[]): Promise<{ doc: AuditDocument; stderr: string }> {
  const { stdout, stderr, code } = await unterbau(
    ["audit", "vm:post", "--mail", "vm:post", "--no-keep", "--json", "--connect", daemon.uri, ...args],
    { env: { UNTERBAU_STATE_DIR: state } },
  );
  expect(code, stderr).toBeLessThanOrEqual(2);
  return { doc: JSON.parse(stdout.toString()) as AuditDocument, stderr };
}

const outcome = (doc: AuditDocument, id: string) => doc.checks.find((c) => c.id === id && c.guest === "post")!;

function counter(): number {
  const fd = openSync(disk, "r");
  const sector = Buffer.alloc(4);
  readSync(fd, sector, 0, 4, COUNTERS[0] * 512);
  closeSync(fd);
  return sector.readUInt32LE();
}

it("looks into a running guest as it is in one instant, and leaves it running as it was", async () => {
  const without = await audit();
  expect(outcome(without.doc, "MAIL-01").remarks).toMatchObject([{ state: "unknown", code: "unreadable" }]);

  const before = await daemon.virsh("dumpxml", UUID);
  const record = join(daemon.folder, "record");
  const { doc, stderr } = await audit("--live", "--record", record);
  expect(
    outcome(doc, "MAIL-02").remarks.map((r) => r.code),
    stderr,
  ).toEqual(["default-opportunistic", "offered", "recent", "reading-required", "submission-required"]);
  expect(outcome(doc, "MAIL-01").facts).toMatchObject({
    stores: [{ path: "/var/spool/postfix", disk: "vdb" }, {}, {}],
  });

  // It goes on writing to its own disk, and nothing of the view is left: no backup, no record of one, no scratch file.
  expect(await daemon.virsh("domstate", UUID)).toContain("running");
  const then = counter();
  await wait(500);
  expect(counter()).toBeGreaterThan(then);
  expect((await run("virsh", ["-c", daemon.uri, "backup-dumpxml", UUID])).code).not.toBe(0);
  expect(await daemon.virsh("dumpxml", UUID)).toBe(before);
  expect(existsSync(join(state, "live")) ? readdirSync(join(state, "live")) : []).toEqual([]);

  // From the record, without the guest: the same facts.
  const again = await unterbau(["audit", "vm:post", "--root", record, "--mail", "vm:post", "--no-keep", "--json"]);
  const recorded = JSON.parse(again.stdout.toString()) as AuditDocument;
  for (const id of ["MAIL-01", "MAIL-02", "MAIL-03"])
    expect(outcome(recorded, id).facts).toEqual(outcome(doc, id).facts);
});

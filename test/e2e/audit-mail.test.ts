import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { AuditDocument } from "../../src/audit/model.ts";
import { must, unterbau } from "../helpers/cli.ts";
import { fileDisk, testGuests } from "../helpers/libvirt.ts";

/** A guest with a mail server, on an ext4 disk: the configuration is that of the recorded host. */
const CONFIGURATION = resolve("test/hosts/good/vm:mail:/etc");
const SECRET = "this stands in a mailbox and nowhere else";

let folder: string;
let uri: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "unterbau-audit-mail-"));
  const root = join(folder, "root");
  cpSync(CONFIGURATION, join(root, "etc"), { recursive: true });
  // As Debian has it: the file is elsewhere, and /etc links to it.
  mkdirSync(join(root, "usr/lib"), { recursive: true });
  writeFileSync(join(root, "usr/lib/os-release"), readFileSync(join(CONFIGURATION, "os-release")));
  rmSync(join(root, "etc/os-release"));
  symlinkSync("../usr/lib/os-release", join(root, "etc/os-release"));
  mkdirSync(join(root, "home/anna/Maildir/new"), { recursive: true });
  writeFileSync(join(root, "home/anna/Maildir/new/1"), SECRET);
  const disk = join(folder, "disk.img");
  const uuid = "6f0c9a55-2a0e-4b7c-9a34-8b6f5a0d1c11";
  await must("mke2fs", ["-q", "-t", "ext4", "-U", uuid, "-d", root, disk, "16M"]);
  uri = testGuests(folder, [
    { name: "post", devices: fileDisk(disk, "raw") },
    { name: "awake", devices: fileDisk(disk, "raw"), state: "running" },
  ]);
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function audit(...args: string[]): Promise<AuditDocument> {
  const { stdout, stderr, code } = await unterbau(["audit", "--connect", uri, "--json", ...args]);
  if (code === null || code > 2) throw new Error(stderr);
  return JSON.parse(stdout.toString());
}

const outcome = (doc: AuditDocument, id: string, guest = "post") =>
  doc.checks.find((c) => c.id === id && c.guest === guest)!;

it("reads the mail configuration of a guest that is off, and nothing else of it", async () => {
  const record = join(folder, "record");
  const doc = await audit("vm:post", "--mail", "vm:post", "--record", record);
  expect(outcome(doc, "MAIL-02").remarks.map((r) => r.code)).toEqual([
    "default-opportunistic",
    "offered",
    "recent",
    "reading-required",
    "submission-required",
  ]);
  expect(outcome(doc, "MAIL-03").facts).toMatchObject({
    programs: ["Postfix", "Dovecot", "SpamAssassin"],
    spam: [{ name: "spamassassin-dnsbl" }],
    stores: [
      { path: "/var/spool/postfix", disk: "vda" },
      { path: "/var/mail", disk: "vda" },
      { path: "/home", disk: "vda" },
    ],
  });
  const inside = doc.evidence.map((e) => e.what[0]!).filter((what) => what.startsWith("vm:"));
  expect(inside).toContain("vm:post:/etc/postfix/tls_policy");
  expect(inside.filter((path) => !/^vm:post:\/(etc\/|\.volumes\.json$)/.test(path))).toEqual([]);
  expect(JSON.stringify(doc)).not.toContain(SECRET);

  const { stdout } = await unterbau(["audit", "vm:post", "--root", record, "--mail", "vm:post", "--json"]);
  const again: AuditDocument = JSON.parse(stdout.toString());
  for (const id of ["MAIL-01", "MAIL-02", "MAIL-03"]) expect(outcome(again, id).facts).toEqual(outcome(doc, id).facts);
});

it("leaves a running guest alone unless asked to look into it", async () => {
  const doc = await audit("vm:awake", "--mail", "vm:awake");
  expect(outcome(doc, "MAIL-01", "awake").remarks).toMatchObject([{ state: "unknown", code: "unreadable" }]);
  expect(JSON.stringify(outcome(doc, "MAIL-01", "awake").remarks)).toContain("--live");
});

it("reads nothing of a guest that nobody asked for", async () => {
  const doc = await audit("vm:post");
  expect(outcome(doc, "MAIL-01").remarks).toMatchObject([{ state: "unknown", code: "not-asked" }]);
  expect(doc.evidence.some((e) => e.what[0]!.startsWith("vm:"))).toBe(false);
});

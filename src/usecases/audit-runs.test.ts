import { execFileSync } from "node:child_process";
import {
  appendFileSync,
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { GOOD, SCOPE } from "../../test/helpers/hosts.ts";
import { lockExclusively } from "../host/locks.ts";
import { audit } from "./audit.ts";
import { diffRuns } from "./audit-diff.ts";
import { keptDocument, listRuns, signRun, verifyRuns } from "./audit-runs.ts";

let state: string;
let folder: string;
beforeEach(() => {
  // Each reading of the clock is a minute later; the backups of the recorded host get old.
  minute = 0;
  state = mkdtempSync(join(tmpdir(), "audits-"));
  folder = join(state, "audits");
  process.env.UNTERBAU_STATE_DIR = state;
});
afterEach(() => {
  delete process.env.UNTERBAU_STATE_DIR;
  rmSync(state, { recursive: true });
});

let minute = 0;
const keep = (more: object = {}) =>
  audit({
    guests: [],
    roots: [GOOD],
    scope: SCOPE,
    version: "0.0.0",
    keep: true,
    now: () => new Date(Date.UTC(2026, 10, 24, 6, minute++)),
    ...more,
  });
const problemsOf = async () => {
  const { runs, chain } = await verifyRuns();
  return [...runs.flatMap((r) => r.problems), ...chain];
};

test("runs form a chain that sha256sum confirms, and only root gets at them", async () => {
  const first = await keep();
  const second = await keep();
  const sum = execFileSync("sha256sum", [join(folder, first.run, "manifest.json")])
    .toString()
    .slice(0, 64);
  expect([first.previous, second.previous]).toEqual([null, sum]);
  const entry = second.evidence.find((e) => e.what[0] === "lsblk" && e.file !== null)!;
  const own = execFileSync("sha256sum", [join(folder, second.run, entry.file!)])
    .toString()
    .slice(0, 64);
  expect(own).toBe(entry.sha256Redacted ?? entry.sha256);
  expect(statSync(join(folder, second.run)).mode & 0o777).toBe(0o700);
  expect(statSync(join(folder, second.run, entry.file!)).mode & 0o777).toBe(0o600);
  expect((await verifyRuns()).ok).toBe(true);
  expect(listRuns().runs.map((r) => r.run)).toEqual([first.run, second.run]);
});

test("a changed byte, a missing or an added file, a missing run are found", async () => {
  const runs = [await keep(), await keep(), await keep()];
  const file = join(folder, runs[1]!.run, runs[1]!.evidence[0]!.file!);
  const before = readFileSync(file);
  appendFileSync(file, "x");
  expect(await problemsOf()).toEqual([`${runs[1]!.evidence[0]!.file} was changed`]);
  rmSync(file);
  expect(await problemsOf()).toEqual([`${runs[1]!.evidence[0]!.file} is missing`]);
  writeFileSync(file, before);
  writeFileSync(join(folder, runs[1]!.run, "evidence/99999-file"), "");
  expect(await problemsOf()).toEqual(["evidence/99999-file does not belong to the run"]);
  rmSync(join(folder, runs[1]!.run, "evidence/99999-file"));
  const manifest = join(folder, runs[1]!.run, "manifest.json");
  writeFileSync(manifest, readFileSync(manifest, "utf8").replace('"state":"pass"', '"state":"fail"'));
  expect(await problemsOf()).toHaveLength(1);
  rmSync(join(folder, runs[1]!.run), { recursive: true });
  expect(await problemsOf()).toHaveLength(1);
});

test("a last run that is gone or was changed is missed, by HEAD", async () => {
  await keep();
  const last = await keep();
  const manifest = join(folder, last.run, "manifest.json");
  const text = readFileSync(manifest, "utf8");
  writeFileSync(manifest, text.replace('"version":"0.0.0"', '"version":"0.0.1"'));
  expect(await problemsOf()).toHaveLength(1);
  writeFileSync(manifest, text);
  expect(await problemsOf()).toEqual([]);
  rmSync(join(folder, last.run), { recursive: true });
  expect(await problemsOf()).toHaveLength(1);
});

test("a run that was killed while it was kept leaves none, and is in nobody's way", async () => {
  await keep();
  execFileSync("mkdir", ["-p", join(folder, ".20261124-060000-dead/evidence")]);
  await keep();
  expect(await problemsOf()).toEqual([]);
  expect(readdirSync(folder).filter((name) => name.includes("dead"))).toEqual([]);
});

test("two runs are not kept at the same time", async () => {
  await keep();
  const fd = openSync(join(folder, ".lock"), "r+");
  expect(lockExclusively(fd)).toBe(true);
  await expect(keep()).rejects.toMatchObject({ code: "locked" });
  closeSync(fd);
  await keep();
  expect(await problemsOf()).toEqual([]);
});

test("a signature of ssh-keygen's is checked against those who may sign", async () => {
  const { run } = await keep();
  const key = join(state, "key");
  execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "office", "-f", key]);
  const signers = join(state, "signers");
  writeFileSync(signers, `office@example.org ${readFileSync(`${key}.pub`, "utf8")}`);
  const path = await signRun(run, key);
  // Another program's word for it.
  const checked = execFileSync(
    "ssh-keygen",
    ["-Y", "verify", "-f", signers, "-I", "office@example.org", "-n", "unterbau-audit", "-s", path],
    { input: readFileSync(join(folder, run, "manifest.json")) },
  );
  expect(checked.toString()).toContain("Good");
  const signature = async (file?: string) => (await verifyRuns({ allowedSigners: file })).runs[0]!.signature;
  expect([await signature(), await signature(signers)]).toEqual(["not-checked", "good"]);
  execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", `${key}2`]);
  writeFileSync(signers, `other@example.org ${readFileSync(`${key}2.pub`, "utf8")}`);
  expect(await signature(signers)).toBe("bad");
});

test("what changed from one run to the next is told", async () => {
  const { run } = await keep();
  const policy = join(state, "policy.yaml");
  writeFileSync(policy, "date: 2027-01\nargon2MemoryKiB: 2097152\n");
  const diff = diffRuns(keptDocument(run), await keep({ policy, guests: ["web"] }));
  expect(diff.policy).toEqual({ before: "2026-11", after: "2027-01" });
  expect(diff.guests.map((g) => [g.name, g.change])).toEqual([["mail", "removed"]]);
  expect(diff.checks.filter((c) => c.guest === "web")).toEqual([
    { id: "ENC-05", guest: "web", before: "pass", after: "warn" },
  ]);
});

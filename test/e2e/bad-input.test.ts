import { spawn } from "node:child_process";
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, truncateSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { CheckDocument, InspectDocument } from "../../src/usecases/documents.ts";
import { CLI, must, run, unterbau } from "../helpers/cli.ts";
import { copyOf, damage, type Guest, makeGuest, sha256File, toQcow2 } from "../helpers/guest.ts";

/** One clear line, perhaps a hint, no stack trace. */
function oneClearLine(stderr: string): void {
  expect(stderr).toMatch(/^unterbau: [^\n]+\n(hint: [^\n]+\n)?$/);
}

function poke(path: string, offset: number, bytes: Uint8Array): void {
  const fd = openSync(path, "r+");
  writeSync(fd, bytes, 0, bytes.length, offset);
  closeSync(fd);
}

describe("bad input", () => {
  let folder: string;
  let env: Record<string, string>;
  let guest: Guest;
  let qcow2: string;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "unterbau-bad-"));
    env = { UNTERBAU_STATE_DIR: join(folder, "state") };
    guest = await makeGuest(folder, "mbr-lvm");
    await damage(guest.disks[0]!, guest.root.offset);
    qcow2 = join(folder, "guest.qcow2");
    await toQcow2(guest.disks[0]!, qcow2);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const both = async (args: string[]) => {
    const check = await unterbau(["check", ...args], { env });
    const inspect = await unterbau(["inspect", ...args], { env });
    return { check, inspect };
  };

  it("a path that is not there", async () => {
    const { check, inspect } = await both([join(folder, "nothing.qcow2")]);
    expect([check.code, inspect.code]).toEqual([8, 1]);
    oneClearLine(check.stderr);
    oneClearLine(inspect.stderr);
  });

  it("a wrong magic", async () => {
    const { check, inspect } = await both([guest.disks[0]!, "--format", "qcow2"]);
    expect([check.code, inspect.code]).toEqual([8, 1]);
    oneClearLine(inspect.stderr);
    expect(inspect.stderr).toContain("qcow2");
  });

  it("a truncated image: the check says so instead of calling it clean", async () => {
    const cut = copyOf(qcow2, join(folder, "cut.qcow2"));
    truncateSync(cut, Math.floor(readFileSync(cut).length / 2));
    const before = await sha256File(cut);
    const { check } = await both([cut]);
    expect(check.code! & 8).toBe(8);
    expect(check.stdout.toString() + check.stderr).toMatch(/beyond the end|outside|ends? at|truncated/);
    expect(await sha256File(cut)).toBe(before);
  });

  it("a qcow2 whose L1 table lies beyond the end", async () => {
    const bad = copyOf(qcow2, join(folder, "l1.qcow2"));
    // l1_table_offset, qcow2.txt "Header", bytes 40-47.
    poke(bad, 40, Uint8Array.of(0, 0, 0x10, 0, 0, 0, 0, 0));
    const { check, inspect } = await both([bad]);
    expect([check.code, inspect.code]).toEqual([8, 1]);
    oneClearLine(inspect.stderr);
  });

  it("a backing file outside the image's folder is not opened", async () => {
    const evil = join(folder, "evil.qcow2");
    await must("qemu-img", ["create", "-q", "-f", "qcow2", "-F", "raw", "-b", "/etc/shadow", evil, "1M"]);
    const { inspect } = await both([evil]);
    expect(inspect.code).toBe(1);
    expect(inspect.stderr + inspect.stdout.toString()).toContain("--allow-path");
  });

  it("damaged LVM metadata: the rest of the disk stays readable", async () => {
    const bad = copyOf(guest.disks[0]!, join(folder, "lvm.raw"));
    const p2 = guest.root.offset - 1024 * 1024;
    // The metadata area begins 4096 bytes into the volume (lvm2, format_text/layout.h); its text follows one sector later.
    poke(bad, p2 + 4096 + 512, new Uint8Array(60_000).fill(0x7b));
    const { check, inspect } = await both([bad, "--json"]);
    const doc = JSON.parse(inspect.stdout.toString()) as InspectDocument;
    expect(inspect.code).toBe(1);
    expect(doc.volumes.find((v) => v.selector === "p1")?.type).toBe("swap");
    expect(doc.findings.some((f) => f.severity === "error" && f.layer === "lvm")).toBe(true);
    expect(check.code).toBe(8);
  });

  it("a disk of a volume group that is not given: shown as missing, and not called clean", async () => {
    const sub = join(folder, "two");
    mkdirSync(sub);
    const two = await makeGuest(sub, "mbr-lvm2");
    const whole = await unterbau(["check", ...two.disks, "--json"], { env });
    expect(whole.code).toBe(0);
    const { check, inspect } = await both([two.disks[0]!, "--json"]);
    const doc = JSON.parse(inspect.stdout.toString()) as InspectDocument;
    const root = doc.volumes.find((v) => v.selector === "lvg1/lvroot");
    expect(root).toMatchObject({ readable: false });
    expect(root?.reason).toContain("missing");
    expect(check.code).toBe(8);
    expect((JSON.parse(check.stdout.toString()) as CheckDocument).volumes[0]?.verdict).toBe("not-checked");
  });

  it("a file system that lost its superblock is not passed over, and repaired only when it is named", async () => {
    const bad = copyOf(guest.disks[0]!, join(folder, "lost.raw"));
    poke(bad, guest.root.offset + 1024, new Uint8Array(1024));
    const before = await sha256File(bad);
    const check = async (...args: string[]) => {
      const r = await unterbau(["check", bad, "--json", ...args], { env });
      return { code: r.code, volume: (JSON.parse(r.stdout.toString()) as CheckDocument).volumes[0]! };
    };
    expect((await check()).code).toBe(4);
    const unnamed = await check("--repair");
    expect(unnamed).toMatchObject({ code: 8, volume: { verdict: "not-checked" } });
    expect(await sha256File(bad)).toBe(before);
    const named = await check("--repair", "--volume", "lvg1/lvroot");
    expect(named).toMatchObject({ code: 1, volume: { verdict: "repaired" } });
    expect((await check()).code).toBe(0);
  });

  it("one disk named twice is refused", async () => {
    const r = await unterbau(["inspect", qcow2, qcow2]);
    expect(r.code).toBe(2);
    oneClearLine(r.stderr);
  });

  it("an unknown selector lists what is there", async () => {
    const r = await unterbau(["read", qcow2, "--volume", "lvg9/none"], { env });
    expect(r.code).toBe(2);
    expect(r.stderr).toContain("lvg1/lvroot");
  });

  it("an image that a QEMU has open for writing is refused, and QEMU is refused while we write", async () => {
    const image = copyOf(qcow2, join(folder, "held.qcow2"));
    const held = spawn("qemu-io", ["-f", "qcow2", image], { stdio: ["pipe", "pipe", "ignore"] });
    held.stdin.write("write 4M 512\n");
    await new Promise((r) => held.stdout.once("data", r));
    try {
      const { check } = await both([image]);
      expect(check.code).toBe(8);
      oneClearLine(check.stderr);
      expect(check.stderr).toContain("qemu-io");
    } finally {
      held.stdin.end("quit\n");
      await new Promise((r) => held.once("exit", r));
    }
    const script = 'cat "$1" > /dev/null; qemu-io -f qcow2 -c "write 4M 512" "$2" >&2; echo $? >&2; true';
    const r = await unterbau(
      ["exec", image, "--volume", "lvg1/lvroot", "--write", "--", "sh", "-c", script, "sh", "{}", image],
      { env },
    );
    expect(r.stderr).toMatch(/Failed to get "write" lock|Could not open/);
  });

  it("a checker that does not end is stopped and gives no verdict", async () => {
    // Several times: the end may meet the cage at any step of its own start.
    for (let i = 0; i < 6; i++) {
      const r = await unterbau(["check", qcow2, "--checker-timeout", "0", "--json"], { env });
      expect(r.code).toBe(8);
      const doc = JSON.parse(r.stdout.toString()) as CheckDocument;
      expect(doc.volumes[0]).toMatchObject({ verdict: "not-checked" });
    }
  });

  it("a full disk for the undo log: refused before the first byte of the source is changed", async () => {
    const small = join(folder, "small");
    mkdirSync(small);
    await must("mount", ["-t", "tmpfs", "-o", "size=12k", "tmpfs", small]);
    try {
      const before = await sha256File(qcow2);
      const r = await unterbau(["check", qcow2, "--repair"], { env: { UNTERBAU_STATE_DIR: join(small, "state") } });
      expect(r.code).toBe(8);
      oneClearLine(r.stderr);
      expect(r.stderr).toMatch(/space|full/);
      expect(await sha256File(qcow2)).toBe(before);
    } finally {
      await must("umount", [small]);
    }
  });

  it("killed at any moment of a repair, the next command finds the disk as before or as after", async () => {
    const disk = copyOf(qcow2, join(folder, "killed.qcow2"));
    const before = await sha256File(disk);
    const temporary = join(folder, "tmp");
    mkdirSync(temporary);
    const pinned = { ...env, E2FSCK_TIME: "1800000000", TMPDIR: temporary };
    const outcomes = new Set<string>();
    for (let round = 0; round < 16; round++) {
      const child = spawn(process.execPath, [CLI, "check", disk, "--repair"], {
        env: { ...process.env, ...pinned },
        stdio: "ignore",
      });
      const timer = setTimeout(() => child.kill("SIGKILL"), 60 + round * 25);
      await new Promise((r) => child.once("exit", r));
      clearTimeout(timer);
      expect((await unterbau(["inspect", disk], { env })).code).toBe(0);
      await must("qemu-img", ["check", disk]);
      const now = await sha256File(disk);
      outcomes.add(now === before ? "before" : "after");
      // Killed after the last byte but before the run was closed, it is "interrupted": whole, and undone like any other.
      if (now !== before) {
        const runs = JSON.parse((await unterbau(["runs", "--json"], { env })).stdout.toString()) as {
          runs: { run: string; status: string; sources: string[] }[];
        };
        const last = runs.runs
          .filter((r) => r.sources.includes(disk) && ["committed", "interrupted"].includes(r.status))
          .at(-1)!;
        expect((await unterbau(["undo", last.run], { env })).code).toBe(0);
        expect(await sha256File(disk)).toBe(before);
      }
    }
    expect(outcomes).toContain("before");
    // The cage names the mount point below TMPDIR: no checker may outlive its master.
    let left = "";
    for (let i = 0; i < 50; i++) {
      left = (await run("pgrep", ["-f", temporary])).stdout.toString();
      if (left === "") break;
      await sleep(100);
    }
    expect(left).toBe("");
  });

  it("two writers on one source: the second is refused", async () => {
    const disk = copyOf(qcow2, join(folder, "twice.qcow2"));
    const first = spawn(
      process.execPath,
      [CLI, "exec", disk, "--volume", "lvg1/lvroot", "--write", "--", "sh", "-c", "echo up; cat", "sh", "{}"],
      {
        env: { ...process.env, ...env },
        stdio: ["pipe", "pipe", "ignore"],
      },
    );
    await new Promise((r) => first.stdout.once("data", r));
    const second = await unterbau(["check", disk, "--repair"], { env });
    first.stdin.end();
    await new Promise((r) => first.once("exit", r));
    expect(second.code).toBe(8);
    oneClearLine(second.stderr);
    expect(second.stderr).toContain("in use by");
  });

  it("usage errors end with 16 for check and 2 for the others", async () => {
    expect((await unterbau(["check"])).code).toBe(16);
    expect((await unterbau(["check", qcow2, "--nonsense"])).code).toBe(16);
    expect((await unterbau(["check", qcow2, "--volume", "nothing"], { env })).code).toBe(16);
    expect((await unterbau(["inspect"])).code).toBe(2);
    expect((await unterbau(["no-such-verb"])).code).toBe(2);
  });
});

import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { InspectDocument } from "../../src/usecases/documents.ts";
import { CLI, must, run, unterbau } from "../helpers/cli.ts";
import { copyOf, cutOut, type Guest, makeGuest, sha256File, toLuks1, toQcow2 } from "../helpers/guest.ts";

const MIB = 1024 * 1024;
let folder: string;
let env: Record<string, string>;
let guest: Guest;
let qcow2: string;
/** The volume alone, cut out of the raw disk. */
let plain: string;
let count = 0;
const fresh = (name: string) => join(folder, `${count++}-${name}`);
const uri = (socket: string) => `nbd+unix:///?socket=${socket}`;
const running = new Set<ChildProcess>();

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "unterbau-export-"));
  env = { UNTERBAU_STATE_DIR: join(folder, "state") };
  guest = await makeGuest(folder, "mbr-lvm");
  qcow2 = join(folder, "guest.qcow2");
  await toQcow2(guest.disks[0]!, qcow2);
  plain = join(folder, "plain.raw");
  cutOut(guest.disks[0]!, guest.root.offset, guest.root.size, plain);
});
afterAll(() => {
  for (const child of running) child.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
});

interface Exporting {
  readonly child: ChildProcess;
  /** Ends it and waits: its exit code (null when killed) and all that it said. */
  end(signal: NodeJS.Signals): Promise<{ code: number | null; stderr: string }>;
}

/** Starts a program that serves until it is ended, and waits until it says or shows that it is ready. */
async function serving(
  program: string,
  args: readonly string[],
  ready: (stderr: string) => boolean,
): Promise<Exporting> {
  const child = spawn(program, args, {
    env: { ...process.env, ...env, NO_COLOR: "1" },
    stdio: ["ignore", "ignore", "pipe"],
  });
  running.add(child);
  let stderr = "";
  child.stderr!.on("data", (c: Buffer) => {
    stderr += c.toString();
  });
  const exited = new Promise<number | null>((resolve) => child.once("close", resolve));
  const gone = () => child.exitCode !== null || child.signalCode !== null;
  for (let i = 0; i < 1000 && !ready(stderr) && !gone(); i++) await sleep(20);
  if (!ready(stderr)) throw new Error(`${program} ${args.join(" ")} did not get ready:\n${stderr}`);
  return {
    child,
    async end(signal) {
      child.kill(signal);
      const code = await exited;
      running.delete(child);
      return { code, stderr };
    },
  };
}

const exporting = (disk: string, ...args: string[]) =>
  serving(process.execPath, [CLI, "export", disk, "--volume", guest.selector, ...args], (stderr) =>
    stderr.includes("Ctrl-C ends it"),
  );

/** Left alone, qemu-io would send each write with FUA. */
const QEMU_IO = ["-f", "raw", "-t", "writeback"];

async function qemuIo(socket: string, ...commands: string[]): Promise<void> {
  const out = await must("qemu-io", [...QEMU_IO, ...commands.flatMap((c) => ["-c", c]), uri(socket)]);
  expect(out).not.toContain("Pattern verification failed");
}

/** The volume's bytes as the command line reads them. */
async function volumeOf(disk: string, ...args: string[]): Promise<Buffer> {
  const r = await unterbau(["read", disk, "--volume", guest.selector, ...args], { env });
  expect(r.code).toBe(0);
  return r.stdout;
}

/** `plain` with runs of one byte written over it. */
function expected(...runs: readonly (readonly [offset: number, length: number, byte: number])[]): Buffer {
  const bytes = readFileSync(plain);
  for (const [offset, length, byte] of runs) bytes.fill(byte, offset, offset + length);
  return bytes;
}

const same = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0;

describe("export --nbd", () => {
  it("read-only: other programs read every byte and can change none", async () => {
    const before = await sha256File(qcow2);
    const socket = fresh("ro.sock");
    const server = await exporting(qcow2, "--nbd", socket);
    expect(statSync(socket).mode & 0o777).toBe(0o600);
    const copy = fresh("copy.raw");
    await must("nbdcopy", [uri(socket), copy]);
    expect(await sha256File(copy)).toBe(await sha256File(plain));
    const compared = await run("qemu-img", ["compare", "-f", "raw", "-F", "raw", uri(socket), plain]);
    expect(compared.code).toBe(0);
    expect((await run("qemu-io", ["-f", "raw", "-c", "write 0 512", uri(socket)])).code).not.toBe(0);
    expect(await server.end("SIGINT")).toMatchObject({ code: 0 });
    expect(existsSync(socket)).toBe(false);
    expect(await sha256File(qcow2)).toBe(before);
  });

  it("--write: what was written is there after Ctrl-C, and undo gives every old byte back", async () => {
    const disk = copyOf(qcow2, fresh("write.qcow2"));
    const before = await sha256File(disk);
    const socket = fresh("rw.sock");
    const server = await exporting(disk, "--nbd", socket, "--write");
    await qemuIo(socket, "write -P 0x5a 30M 300k", "flush", "write -P 0xa5 5M 4k", "read -P 0x5a 30M 300k");
    const { code, stderr } = await server.end("SIGINT");
    expect(code).toBe(0);
    expect(await sha256File(disk)).not.toBe(before);
    await must("qemu-img", ["check", disk]);
    const want = expected([30 * MIB, 300 * 1024, 0x5a], [5 * MIB, 4096, 0xa5]);
    expect(same(await volumeOf(disk), want)).toBe(true);
    const id = /unterbau undo (\S+)/.exec(stderr)![1]!;
    expect((await unterbau(["undo", id], { env })).code).toBe(0);
    expect(await sha256File(disk)).toBe(before);
  });

  it("--write: nbdcopy fills the volume over several connections, under LUKS", async () => {
    const disk = fresh("guest.luks");
    const key = fresh("key");
    await toLuks1(guest.disks[0]!, disk, key);
    const before = await sha256File(disk);
    const socket = fresh("luks.sock");
    const server = await exporting(disk, "--key-file", key, "--nbd", socket, "--write");
    const source = fresh("source.raw");
    writeFileSync(source, Buffer.alloc(guest.root.size, "the new content of the volume, "));
    await must("nbdcopy", ["--flush", source, uri(socket)]);
    const { code, stderr } = await server.end("SIGTERM");
    expect(code).toBe(0);
    expect(same(await volumeOf(disk, "--key-file", key), readFileSync(source))).toBe(true);
    // No plaintext came to rest beside the volume: neither in the image nor in the undo log.
    expect((await run("grep", ["-rqF", "content of the volume", disk, env.UNTERBAU_STATE_DIR!])).code).toBe(1);
    expect((await unterbau(["undo", /unterbau undo (\S+)/.exec(stderr)![1]!], { env })).code).toBe(0);
    expect(await sha256File(disk)).toBe(before);
  });

  it("killed after a flush: what was flushed is there, what came later is not, and undo takes it back", async () => {
    const disk = copyOf(qcow2, fresh("killed.qcow2"));
    const before = await sha256File(disk);
    const socket = fresh("killed.sock");
    const server = await exporting(disk, "--nbd", socket, "--write");
    await qemuIo(socket, "write -P 0x11 30M 300k", "flush", "write -f -P 0x22 6M 8k");
    // Held open, so that qemu-io's closing flush does not come before the kill.
    const late = spawn("qemu-io", [...QEMU_IO, uri(socket)], { stdio: ["pipe", "pipe", "ignore"] });
    running.add(late);
    const lateEnd = new Promise((resolve) => late.once("close", resolve));
    const wrote = new Promise<void>((resolve) => {
      let out = "";
      late.stdout.on("data", (c: Buffer) => {
        out += c.toString();
        if (out.includes("wrote 4096/4096")) resolve();
      });
    });
    late.stdin.write("write -P 0x33 7M 4k\n");
    await wrote;
    await server.end("SIGKILL");
    late.kill("SIGKILL");
    await lateEnd;
    running.delete(late);
    const want = expected([30 * MIB, 300 * 1024, 0x11], [6 * MIB, 8192, 0x22]);
    expect(same(await volumeOf(disk), want)).toBe(true);
    await must("qemu-img", ["check", disk]);
    const { runs } = JSON.parse((await unterbau(["runs", "--json"], { env })).stdout.toString()) as {
      runs: { run: string; sources: string[] }[];
    };
    const mine = runs.filter((r) => r.sources.includes(disk));
    expect(mine).toHaveLength(1);
    // The dead server's socket is nobody's: the next one may have its name.
    const next = await exporting(disk, "--nbd", socket);
    expect(await next.end("SIGINT")).toMatchObject({ code: 0 });
    expect((await unterbau(["undo", mine[0]!.run], { env })).code).toBe(0);
    expect(await sha256File(disk)).toBe(before);
  });

  it("says in one line what it cannot do", async () => {
    const taken = fresh("taken");
    writeFileSync(taken, "precious");
    const r = await unterbau(["export", qcow2, "--volume", guest.selector, "--nbd", taken], { env });
    expect(r.code).toBe(2);
    expect(r.stderr).toMatch(/^unterbau: [^\n]+\nhint: [^\n]+\n$/);
    expect(readFileSync(taken, "utf8")).toBe("precious");
    expect((await unterbau(["export", qcow2, "--volume", guest.selector], { env })).code).toBe(2);
  });
});

describe("export --fuse", () => {
  it("shows the volume as a file, read-only, and leaves nothing mounted", async () => {
    const file = fresh("volume");
    const server = await exporting(qcow2, "--fuse", file);
    expect(statSync(file).size).toBe(guest.root.size);
    expect(await sha256File(file)).toBe(await sha256File(plain));
    expect(await must("dumpe2fs", ["-h", file])).toBe(await must("dumpe2fs", ["-h", plain]));
    expect((await run("dd", ["if=/dev/zero", `of=${file}`, "bs=512", "count=1", "conv=notrunc"])).code).not.toBe(0);
    expect(await server.end("SIGINT")).toMatchObject({ code: 0 });
    expect(readFileSync("/proc/self/mounts", "utf8")).not.toContain(file);
  });

  it("--write: tune2fs changes the label, undo brings the old one back", async () => {
    const disk = copyOf(qcow2, fresh("fuse.qcow2"));
    const before = await sha256File(disk);
    const file = fresh("volume");
    const server = await exporting(disk, "--fuse", file, "--write");
    await must("tune2fs", ["-L", "renamed", file]);
    const { code, stderr } = await server.end("SIGINT");
    expect(code).toBe(0);
    const doc = JSON.parse((await unterbau(["inspect", disk, "--json"], { env })).stdout.toString()) as InspectDocument;
    expect(doc.volumes.find((v) => v.selector === guest.selector)?.label).toBe("renamed");
    expect((await unterbau(["undo", /unterbau undo (\S+)/.exec(stderr)![1]!], { env })).code).toBe(0);
    expect(await sha256File(disk)).toBe(before);
  });
});

describe("an NBD source", () => {
  const served = async (work: (source: string, server: Exporting) => Promise<void>) => {
    const socket = fresh("qemu.sock");
    // -t: stays for more than one client. -f qcow2: the server resolves the image, we see the guest's disk.
    const args = ["-t", "-r", "-k", socket, "-f", "qcow2", "-x", "guest", qcow2];
    const server = await serving("qemu-nbd", args, () => existsSync(socket));
    try {
      await work(`nbd+unix:///guest?socket=${socket}`, server);
    } finally {
      await server.end("SIGTERM");
    }
  };

  it("is inspected, read and checked as the file would be", () =>
    served(async (source) => {
      const doc = async (s: string) =>
        JSON.parse(await must(process.execPath, [CLI, "inspect", s, "--json"], { env })) as InspectDocument;
      const ours = await doc(source);
      expect(ours.tree[0]).toMatchObject({ kind: "nbd", size: statSync(guest.disks[0]!).size });
      const volumes = (d: InspectDocument) =>
        d.volumes.map(({ selector, type, uuid, size }) => ({ selector, type, uuid, size }));
      expect(volumes(ours)).toEqual(volumes(await doc(guest.disks[0]!)));
      expect(same(await volumeOf(source), readFileSync(plain))).toBe(true);
      const check = await unterbau(["check", source, "--json"], { env });
      expect(check.code).toBe((await unterbau(["check", qcow2, "--json"], { env })).code);
      expect((JSON.parse(check.stdout.toString()) as { volumes: unknown[] }).volumes).toMatchObject([
        { verdict: "clean" },
      ]);
    }));

  it("is not written to, and says so", () =>
    served(async (source) => {
      const r = await unterbau(["check", source, "--repair"], { env });
      expect(r.code).toBe(8);
      expect(r.stderr).toContain("an NBD source can be read only");
    }));

  it("whose server dies is an error in one line, at once", () =>
    served(async (source, server) => {
      await server.end("SIGKILL");
      const r = await unterbau(["inspect", source], { env });
      expect(r.code).toBe(1);
      expect(r.stderr).toMatch(/^unterbau: [^\n]+\n(hint: [^\n]+\n)?$/);
      const wrong = await unterbau(["inspect", "nbd+unix:///guest"], { env });
      expect(wrong.code).toBe(2);
    }));
});

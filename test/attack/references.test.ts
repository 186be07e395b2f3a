import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { must, unterbau } from "../helpers/cli.ts";

/**
 * A guest owns every byte of its raw disk: it writes the header of an image format there that names a file of the host. Whatever the host's
 * administrator then does with that disk must not open that file.
 */
const MIB = 1024 * 1024;
const SECRET = "the secret of another guest or of the host";
let folder: string;
let images: string;
let secret: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "unterbau-attack-"));
  images = join(folder, "images");
  mkdirSync(images);
  secret = join(folder, "secret");
  writeFileSync(secret, SECRET.padEnd(MIB, "!"));
  writeFileSync(join(images, "neighbour.raw"), SECRET.padEnd(MIB, "!"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A disk of 2 MiB that begins with a qcow2 header naming `backing`. */
async function disk(name: string, backing: string): Promise<string> {
  const path = join(images, name);
  rmSync(path, { force: true });
  await must("qemu-img", ["create", "-q", "-u", "-f", "qcow2", "-F", "raw", "-b", backing, path, "1M"]);
  truncateSync(path, 2 * MIB);
  return path;
}

/** Runs every reading verb; what all of them wrote. */
async function everything(source: string, ...flags: string[]): Promise<string> {
  const env = { UNTERBAU_STATE_DIR: join(folder, "state") };
  const runs = await Promise.all([
    unterbau(["inspect", "--json", source, ...flags], { env }),
    unterbau(["read", "--volume", "disk1", source, ...flags], { env }),
    unterbau(["check", source, ...flags], { env }),
  ]);
  return runs.map((r) => r.stdout.toString("latin1") + r.stderr).join("\n");
}

const NAMES: { readonly [kind: string]: () => string } = {
  "an absolute path": () => secret,
  "/etc/shadow": () => "/etc/shadow",
  "a relative path": () => "../secret",
  "a relative path through a folder of its own": () => "../images/../secret",
  "a file: name": () => `file:${secret}`,
  "json: with a file": () => `json:{"driver":"raw","file":{"driver":"file","filename":"${secret}"}}`,
  "json: with dotted keys": () => `json:{"driver":"raw","file.driver":"file","file.filename":"${secret}"}`,
  "json: with an NBD server": () => `json:{"driver":"raw","file":{"driver":"nbd","path":"${join(folder, "nbd")}"}}`,
  "an NBD address": () => `nbd+unix:///?socket=${join(folder, "nbd")}`,
  "a web address": () => "http://127.0.0.1:9/x",
  "a host device": () => "/dev/mem",
};

describe("a qcow2 header that a guest wrote onto its raw disk", () => {
  it.each(Object.keys(NAMES))("in a file, naming %s", async (kind) => {
    const path = await disk("guest.img", NAMES[kind]!());
    const output = await everything(path);
    expect(output).not.toContain(SECRET);
    expect(output).not.toContain("root:");
    const { code, stderr } = await unterbau(["read", "--volume", "disk1", path]);
    expect(code).not.toBe(0);
    expect(stderr).toMatch(/--allow-path|not supported|refused|--format/);
    // Said to be raw, it is what the guest wrote and no more.
    const raw = await unterbau(["read", "--volume", "disk1", "--format", "raw", path]);
    expect(raw.stdout.equals(readFileSync(path))).toBe(true);
  });

  it("through a symbolic link inside its own folder", async () => {
    symlinkSync(secret, join(images, "link.raw"));
    symlinkSync(folder, join(images, "up"));
    for (const name of ["link.raw", "up/secret"]) {
      const output = await everything(await disk("guest.qcow2", name), "--format", "qcow2");
      expect(output).not.toContain(SECRET);
      expect(output).toContain("--allow-path");
    }
  });

  it("naming another guest's disk in the same folder", async () => {
    for (const name of ["guest.img", "guest.raw", "guest"]) {
      const path = await disk(name, "neighbour.raw");
      expect(await everything(path)).not.toContain(SECRET);
      const { stderr } = await unterbau(["read", "--volume", "disk1", path]);
      expect(stderr).toContain("--format");
    }
    // Whoever says that it is an image means its backing file too.
    const { stdout } = await unterbau([
      "read",
      "--volume",
      "disk1",
      "--format",
      "qcow2",
      await disk("guest.img", "neighbour.raw"),
    ]);
    expect(stdout.toString()).toContain(SECRET);
    const named = await unterbau(["read", "--volume", "disk1", await disk("guest.qcow2", "neighbour.raw")]);
    expect(named.stdout.toString()).toContain(SECRET);
  });

  it("on a block device", async () => {
    const path = await disk("guest.raw", secret);
    const loop = (await must("losetup", ["--find", "--show", path])).trim();
    try {
      const output = await everything(loop);
      expect(output).not.toContain(SECRET);
      const { stdout, code } = await unterbau(["read", "--volume", "disk1", loop]);
      expect(code).toBe(0);
      expect(stdout.equals(readFileSync(path))).toBe(true);
    } finally {
      await must("losetup", ["-d", loop]);
    }
  });

  it("behind an NBD server", async () => {
    const path = await disk("guest.raw", secret);
    const socket = join(folder, "nbd.sock");
    const server = spawn("qemu-nbd", ["-r", "-t", "-f", "raw", "-k", socket, path], { stdio: "ignore" });
    try {
      for (let i = 0; i < 100 && !existsSync(socket); i++) await sleep(50);
      const uri = `nbd+unix:///?socket=${socket}`;
      const output = await everything(uri);
      expect(output).not.toContain(SECRET);
      const { stdout } = await unterbau(["read", "--volume", "disk1", uri]);
      expect(stdout.equals(readFileSync(path))).toBe(true);
      expect(await everything(uri, "--format", "qcow2")).not.toContain(SECRET);
    } finally {
      server.kill();
      await once(server, "exit");
    }
  });

  it("naming a pipe, which must not hang", async () => {
    await must("mkfifo", [join(images, "pipe")]);
    const began = performance.now();
    const { code } = await unterbau([
      "read",
      "--volume",
      "disk1",
      "--format",
      "qcow2",
      await disk("guest.qcow2", "pipe"),
    ]);
    expect(code).not.toBe(0);
    expect(performance.now() - began).toBeLessThan(60_000);
  });

  it("with an external data file", async () => {
    const path = join(images, "data.qcow2");
    await must("qemu-img", ["create", "-q", "-f", "qcow2", "-o", `data_file=${join(images, "own.data")}`, path, "1M"]);
    // The name in the header extension, replaced by one of the same length.
    const bytes = readFileSync(path);
    const own = join(images, "own.data");
    const at = bytes.indexOf(own);
    bytes.write(`/${"/".repeat(own.length - secret.length)}${secret.slice(1)}`, at, "latin1");
    writeFileSync(path, bytes);
    const output = await everything(path);
    expect(output).not.toContain(SECRET);
  });

  it("as a VMDK descriptor with an extent", async () => {
    const text = (file: string) =>
      `# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType="monolithicFlat"\n\nRW 2048 FLAT "${file}" 0\n\nddb.adapterType = "ide"\n`;
    const path = join(images, "guest.vmdk");
    for (const file of [secret, "../secret", "up/secret", "/etc/shadow", "/dev/mem"]) {
      writeFileSync(path, text(file));
      const output = await everything(path);
      expect(output).not.toContain(SECRET);
      expect(output).not.toContain("root:");
    }
    const raw = join(images, "guest.raw");
    writeFileSync(raw, text("neighbour.raw"));
    expect(await everything(raw)).not.toContain(SECRET);
  });
});

import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type BlockDevice, readBytes } from "../../src/core/device.ts";
import { openFileDevice } from "../../src/core/file-device.ts";
import { memoryDevice } from "../../src/core/memory-device.ts";
import { Overlay } from "../../src/core/overlay.ts";
import { systemHoles } from "../../src/host/holes.ts";
import { openNbd, parseNbdUri } from "../../src/nbd/client.ts";
import { serveNbd } from "../../src/nbd/server.ts";
import { deviceConformance } from "../conformance/suite.ts";
import { must, run } from "../helpers/cli.ts";

const SIZE = 6 * 1024 * 1024;
const content = Uint8Array.from({ length: SIZE }, (_, i) => ((i >> 16) % 3 === 1 ? 0 : (i * 131 + (i >> 9)) & 0xff));

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "unterbau-nbd-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let count = 0;
const fresh = (name: string) => join(folder, `${count++}-${name}`);
const uri = (socket: string, name = "") => `nbd+unix:///${name}?socket=${socket}`;

/** A raw file with holes, of the test's content. */
async function sparseFile(): Promise<string> {
  const full = fresh("full.raw");
  writeFileSync(full, content);
  const path = fresh("sparse.raw");
  await must("cp", ["--sparse=always", full, path]);
  return path;
}

async function qemuNbd(
  image: string,
  ...args: string[]
): Promise<{ socket: string; child: ChildProcess; stop(): Promise<void> }> {
  const socket = fresh("qemu.sock");
  const child = spawn("qemu-nbd", ["-t", "-k", socket, "-f", "raw", ...args, image], { stdio: "ignore" });
  const exited = new Promise((r) => child.once("exit", r));
  for (let i = 0; i < 500 && !existsSync(socket); i++) await sleep(10);
  return {
    socket,
    child,
    async stop() {
      child.kill();
      await exited;
    },
  };
}

describe("our server, other programs as clients", () => {
  it("nbdinfo sees the export as it is", async () => {
    await using device = openFileDevice(await sparseFile(), { holes: systemHoles() });
    const socketPath = fresh("info.sock");
    await using server = await serveNbd({
      device,
      socketPath,
      readOnly: true,
      exportName: "vol",
      description: "a volume",
    });
    expect(statSync(socketPath).mode & 0o777).toBe(0o600);
    const info = JSON.parse(await must("nbdinfo", ["--json", uri(server.socketPath, "vol")])) as {
      protocol: string;
      exports: Record<string, unknown>[];
    };
    expect(info.protocol).toBe("newstyle-fixed");
    expect(info.exports[0]).toMatchObject({
      "export-name": "vol",
      "export-size": SIZE,
      description: "a volume",
      is_read_only: true,
      can_flush: true,
      can_df: true,
      can_multi_conn: true,
      contexts: ["base:allocation"],
    });
    const list = await must("nbdinfo", ["--list", "--json", uri(socketPath)]);
    expect(list).toContain('"export-name": "vol"');
  });

  it("nbdinfo --map and qemu-img map see the holes of the file", async () => {
    const path = await sparseFile();
    await using device = openFileDevice(path, { holes: systemHoles() });
    const socketPath = fresh("map.sock");
    await using _server = await serveNbd({ device, socketPath, readOnly: true });
    type Extent = { start: number; length: number; data: boolean; zero: boolean };
    const ours = JSON.parse(await must("qemu-img", ["map", "--output=json", "-f", "raw", uri(socketPath)])) as Extent[];
    const theirs = JSON.parse(await must("qemu-img", ["map", "--output=json", "-f", "raw", path])) as Extent[];
    const shape = (extents: Extent[]) =>
      extents.map(({ start, length, data, zero }) => ({ start, length, data, zero }));
    expect(shape(ours)).toEqual(shape(theirs));
    const totals = await must("nbdinfo", ["--map", "--totals", "--json", uri(socketPath)]);
    expect(totals).toContain('"hole,zero"');
  });

  it("nbdcopy and qemu-img convert read every byte", async () => {
    await using device = openFileDevice(await sparseFile(), { holes: systemHoles() });
    const socketPath = fresh("copy.sock");
    await using _server = await serveNbd({ device, socketPath, readOnly: true });
    const a = fresh("a.raw");
    await must("nbdcopy", [uri(socketPath), a]);
    expect(Buffer.compare(readFileSync(a), content)).toBe(0);
    const b = fresh("b.raw");
    await must("qemu-img", ["convert", "-f", "raw", "-O", "raw", uri(socketPath), b]);
    expect(Buffer.compare(readFileSync(b), content)).toBe(0);
  });

  it("nbdcopy and qemu-io write: data, zeros, trim, FUA and flush arrive", async () => {
    await using base = memoryDevice(new Uint8Array(SIZE));
    await using device = new Overlay(base);
    let flushes = 0;
    const socketPath = fresh("write.sock");
    const onFlush = async () => void flushes++;
    await using _server = await serveNbd({ device, socketPath, readOnly: false, onFlush });
    const source = fresh("source.raw");
    writeFileSync(source, content);
    await must("nbdcopy", ["--flush", source, uri(socketPath)]);
    expect(Buffer.compare(await readBytes(device, 0, SIZE), content)).toBe(0);
    expect(flushes).toBeGreaterThan(0);
    const before = flushes;
    const commands = [
      "write -P 0x5a 1000 3000",
      "write -f -P 0x77 70000 512",
      "write -z 200000 100000",
      "write -z -u 400000 65536",
      "discard 900000 65536",
      "flush",
      "read -P 0x5a 1000 3000",
      "read -P 0 200000 100000",
    ];
    const out = await must("qemu-io", ["-f", "raw", ...commands.flatMap((c) => ["-c", c]), uri(socketPath)]);
    expect(out).not.toContain("Pattern verification failed");
    expect(flushes).toBeGreaterThan(before + 1);
    const now = await readBytes(device, 0, SIZE);
    expect(now.subarray(1000, 4000).every((b) => b === 0x5a)).toBe(true);
    expect(now.subarray(70000, 70512).every((b) => b === 0x77)).toBe(true);
    expect(now.subarray(200000, 300000).every((b) => b === 0)).toBe(true);
    expect(Buffer.compare(now.subarray(2_000_000), content.subarray(2_000_000))).toBe(0);
  });

  it("refuses writes to a read-only export and ranges beyond the end", async () => {
    await using device = memoryDevice(Uint8Array.from(content));
    const socketPath = fresh("ro.sock");
    await using _server = await serveNbd({ device, socketPath, readOnly: true });
    expect((await run("qemu-io", ["-f", "raw", "-c", "write 0 512", uri(socketPath)])).code).not.toBe(0);
    expect(Buffer.compare(device.bytes(), content)).toBe(0);
    await using client = await openNbd({ socketPath, exportName: "" });
    await expect(client.read(new Uint8Array(2), SIZE - 1)).rejects.toMatchObject({ code: "range" });
    await expect(openNbd({ socketPath, exportName: "", writable: true })).rejects.toMatchObject({ code: "read-only" });
    await expect(openNbd({ socketPath, exportName: "other" })).rejects.toMatchObject({ code: "usage" });
  });

  it("tells a client of a failing device and goes on", async () => {
    const inner = memoryDevice(Uint8Array.from(content));
    const device: BlockDevice = Object.create(inner, {
      size: { value: inner.size },
      caps: { value: inner.caps },
      extents: { value: inner.extents.bind(inner) },
      read: {
        value: (into: Uint8Array, offset: number) =>
          offset >= 1 << 20 && offset < 2 << 20 ? Promise.reject(new Error("bad sector")) : inner.read(into, offset),
      },
    });
    const socketPath = fresh("bad.sock");
    await using _server = await serveNbd({ device, socketPath, readOnly: true });
    const out = await run("qemu-io", ["-r", "-f", "raw", "-c", "read 1M 4k", "-c", "read 3M 4k", uri(socketPath)]);
    expect(out.stdout.toString() + out.stderr).toContain("Input/output error");
    expect(out.stdout.toString()).toContain("read 4096/4096 bytes at offset 3145728");
  });

  it("drops clients that talk nonsense, and serves the next one", async () => {
    await using device = memoryDevice(Uint8Array.from(content));
    const socketPath = fresh("hostile.sock");
    await using _server = await serveNbd({ device, socketPath, readOnly: false });
    const talk = (...parts: Buffer[]) =>
      new Promise<void>((done) => {
        const socket = connect(socketPath, () => {
          for (const p of parts) socket.write(p);
        });
        socket.on("error", () => {});
        socket.resume();
        socket.on("close", () => done());
        setTimeout(() => socket.destroy(), 1500);
      });
    const flags = Buffer.from([0, 0, 0, 3]);
    const option = (n: number, length: number, data = Buffer.alloc(0)) => {
      const head = Buffer.alloc(16);
      head.write("IHAVEOPT");
      head.writeUInt32BE(n, 8);
      head.writeUInt32BE(length, 12);
      return Buffer.concat([head, data]);
    };
    await talk(Buffer.from([255, 255, 255, 255]));
    await talk(flags, option(7, 0xffff_ffff));
    await talk(flags, Buffer.alloc(64, 0x41));
    const go = option(7, 6, Buffer.alloc(6));
    await talk(flags, go, Buffer.alloc(28, 0xee));
    const hugeWrite = Buffer.alloc(28);
    hugeWrite.writeUInt32BE(0x25609513);
    hugeWrite.writeUInt16BE(1, 6);
    hugeWrite.writeUInt32BE(0xffff_ffff, 24);
    await talk(flags, go, hugeWrite);
    expect(Buffer.compare(device.bytes(), content)).toBe(0);
    expect(await must("nbdinfo", ["--size", uri(socketPath)])).toBe(`${SIZE}\n`);
  });

  it("removes its socket, refuses one in use, replaces a stale one", async () => {
    await using device = memoryDevice(new Uint8Array(4096));
    const socketPath = fresh("names.sock");
    const first = await serveNbd({ device, socketPath, readOnly: true });
    await expect(serveNbd({ device, socketPath, readOnly: true })).rejects.toMatchObject({ code: "locked" });
    await first.close();
    expect(existsSync(socketPath)).toBe(false);
    const gone = await qemuNbd(await sparseFile());
    gone.child.kill("SIGKILL");
    await gone.stop();
    expect(existsSync(gone.socket)).toBe(true);
    const again = await serveNbd({ device, socketPath: gone.socket, readOnly: true });
    await again.close();
  });
});

describe("our client, qemu-nbd as server", () => {
  it("an URI says socket and export", () => {
    expect(parseNbdUri("nbd+unix:///a%20b?socket=/tmp/x.sock")).toEqual({
      socketPath: "/tmp/x.sock",
      exportName: "a b",
    });
    for (const bad of ["nbd://host/x", "nbd+unix:///x", "nbd+unix://host/x?socket=/s", "nbd+unix:///%ff?socket=/s"]) {
      expect(() => parseNbdUri(bad)).toThrow(expect.objectContaining({ code: "usage" }));
    }
  });

  it("reads bytes and extents as qemu-img does", async () => {
    const path = await sparseFile();
    const server = await qemuNbd(path, "-r", "-x", "disk");
    try {
      await using device = await openNbd({ socketPath: server.socket, exportName: "disk" });
      expect(device.size).toBe(SIZE);
      expect(Buffer.compare(await readBytes(device, 0, SIZE), content)).toBe(0);
      let zeros = 0;
      for await (const e of device.extents(0, SIZE)) if (e.kind !== "data") zeros += e.length;
      const map = JSON.parse(await must("qemu-img", ["map", "--output=json", "-f", "raw", path])) as {
        length: number;
        zero: boolean;
      }[];
      expect(zeros).toBe(map.filter((m) => m.zero).reduce((sum, m) => sum + m.length, 0));
    } finally {
      await server.stop();
    }
  });

  it("fails at once when the server dies, and never hangs", async () => {
    const server = await qemuNbd(await sparseFile(), "-r");
    const device = await openNbd({ socketPath: server.socket, exportName: "" });
    server.child.kill("SIGKILL");
    await server.stop();
    await expect(device.read(new Uint8Array(4096), 0)).rejects.toMatchObject({ code: "io" });
    await expect(device.read(new Uint8Array(4096), 0)).rejects.toMatchObject({ code: "io" });
    await device[Symbol.asyncDispose]();
    await expect(openNbd({ socketPath: server.socket, exportName: "" })).rejects.toMatchObject({ code: "io" });
  });

  it("a server that falls silent is given up", async () => {
    const { createServer } = await import("node:net");
    const socketPath = fresh("silent.sock");
    const silent = createServer(() => {}).listen(socketPath);
    await expect(openNbd({ socketPath, exportName: "", timeoutMs: 200 })).rejects.toMatchObject({ code: "io" });
    silent.close();
  });
});

deviceConformance("NBD client over qemu-nbd", async () => {
  const path = await sparseFile();
  const server = await qemuNbd(path);
  return {
    device: await openNbd({ socketPath: server.socket, exportName: "", writable: true }),
    content,
    cleanup: server.stop,
    reopen: async () => openFileDevice(path),
  };
});

deviceConformance("NBD client over our server", async () => {
  const base = memoryDevice(Uint8Array.from(content));
  const socketPath = fresh("conf.sock");
  const server = await serveNbd({ device: base, socketPath, readOnly: false });
  return {
    device: await openNbd({ socketPath, exportName: "", writable: true }),
    content,
    cleanup: () => server.close(),
    reopen: async () => openNbd({ socketPath, exportName: "" }),
  };
});

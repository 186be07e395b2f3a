import { once } from "node:events";
import { lstatSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { altered } from "../../test/helpers/altered.ts";
import { rawClient, transmittingClient } from "../../test/helpers/nbd-peers.ts";
import { temporaryFolder } from "../../test/helpers/programs.ts";
import { checked } from "../core/checked.ts";
import type { BlockDevice, Extent } from "../core/device.ts";
import { StorageError } from "../core/errors.ts";
import { memoryDevice } from "../core/memory-device.ts";
import { encodeOption, encodeRequest, encodeU32 } from "./protocol.ts";
import { serveNbd } from "./server.ts";
import type { SocketReader } from "./socket-io.ts";

const folder = temporaryFolder();
afterAll(folder.remove);
let count = 0;
const fresh = () => join(folder.path, `${count++}.sock`);
const SIZE = 1024 * 1024;

const request = (type: number, cookie: number, offset: number, length: number, flags = 0) =>
  encodeRequest({ type, flags, cookie: BigInt(cookie), offset: BigInt(offset), length });

/** Reads on until the server has closed the connection. */
async function ended(reader: SocketReader): Promise<void> {
  await expect(reader.read(SIZE)).rejects.toMatchObject({ code: "io" });
}

describe("requests", () => {
  it("pipelined overlapping writes keep their order, and a read after them sees them", async () => {
    await using device = memoryDevice(new Uint8Array(SIZE));
    await using server = await serveNbd({ device, socketPath: fresh(), readOnly: false });
    const { socket, reader } = await transmittingClient(server.socketPath, false);
    for (let i = 1; i <= 200; i++) {
      socket.write(request(1, i, i % 7, 5000));
      socket.write(Buffer.alloc(5000, i));
    }
    socket.write(request(0, 201, 100, 4));
    for (let i = 1; i <= 200; i++) expect((await reader.read(16)).readBigUInt64BE(8)).toBe(BigInt(i));
    expect((await reader.read(20)).subarray(16)).toEqual(Buffer.alloc(4, 200));
    socket.destroy();
  });

  it("FUA and FLUSH are answered after the commit below, nothing else makes one", async () => {
    await using device = memoryDevice(new Uint8Array(SIZE));
    let commits = 0;
    const onFlush = async () => {
      await new Promise((resolve) => setTimeout(resolve, 20));
      commits++;
    };
    await using server = await serveNbd({ device, socketPath: fresh(), readOnly: false, onFlush });
    const { socket, reader } = await transmittingClient(server.socketPath, false);
    const ask = async (...parts: Buffer[]) => {
      for (const part of parts) socket.write(part);
      expect((await reader.read(16)).readUInt32BE(4)).toBe(0);
      return commits;
    };
    expect(await ask(request(1, 1, 0, 4), Buffer.alloc(4))).toBe(0);
    expect(await ask(request(1, 2, 0, 4, 1), Buffer.alloc(4))).toBe(1);
    expect(await ask(request(6, 3, 0, 4096, 1))).toBe(2);
    expect(await ask(request(4, 4, 0, 4096))).toBe(2);
    expect(await ask(request(3, 5, 0, 0))).toBe(3);
    socket.destroy();
  });

  it("a commit that fails is never called done", async () => {
    await using device = memoryDevice(new Uint8Array(SIZE));
    const full = Object.assign(new Error("no space"), { code: "ENOSPC" });
    const onFlush = () => Promise.reject(new StorageError("io", "the undo log cannot be written", { cause: full }));
    await using server = await serveNbd({ device, socketPath: fresh(), readOnly: false, onFlush });
    const { socket, reader } = await transmittingClient(server.socketPath, false);
    socket.write(request(3, 1, 0, 0));
    expect((await reader.read(16)).readUInt32BE(4)).toBe(28);
    socket.write(request(1, 2, 0, 4, 1));
    socket.write(Buffer.alloc(4));
    expect((await reader.read(16)).readUInt32BE(4)).toBe(28);
    socket.destroy();
  });

  it.each([
    ["an unknown command", [9, 0, 4, 0], 22],
    ["an unknown flag", [0, 0, 4, 0x80], 22],
    ["a flag of another command", [0, 0, 4, 2], 22],
    ["a read beyond the end", [0, SIZE - 1, 2, 0], 22],
    ["a read at the end of the address space", [0, 2 ** 53, 2, 0], 22],
    ["a read that is too long", [0, 0, 0xffff_ffff, 0], 22],
    ["zeroing beyond the end", [6, SIZE - 1, 2, 0], 28],
    ["a fast zero that is not fast", [6, 0, 4096, 16], 95],
    ["a block status without its context", [7, 0, 4096, 0], 22],
  ] as const)("%s is refused and the connection goes on", async (_name, [type, offset, length, flags], error) => {
    await using device = memoryDevice(new Uint8Array(SIZE).fill(3));
    await using server = await serveNbd({ device, socketPath: fresh(), readOnly: false });
    for (const structured of [false, true]) {
      const { socket, reader } = await transmittingClient(server.socketPath, structured);
      socket.write(request(type, 1, offset, length, flags));
      if (structured) {
        const head = await reader.read(20);
        expect(head.readUInt16BE(6)).toBe(0x8001);
        expect((await reader.read(head.readUInt32BE(16))).readUInt32BE(0)).toBe(error);
      } else {
        expect((await reader.read(16)).readUInt32BE(4)).toBe(error);
      }
      socket.write(request(6, 2, 0, 0));
      expect((await reader.read(16)).readBigUInt64BE(8)).toBe(2n);
      socket.destroy();
    }
    expect(device.bytes().every((b) => b === 3)).toBe(true);
  });

  it("a write that is too long is thrown away, and the connection goes on", async () => {
    await using device = memoryDevice(new Uint8Array(SIZE));
    await using server = await serveNbd({ device, socketPath: fresh(), readOnly: false });
    const { socket, reader } = await transmittingClient(server.socketPath, false);
    socket.write(request(1, 1, 0, 33 * 1024 * 1024));
    for (let i = 0; i < 33; i++) socket.write(Buffer.alloc(1024 * 1024, 1));
    expect((await reader.read(16)).readUInt32BE(4)).toBe(28);
    socket.write(request(1, 2, 0, 40 * 1024));
    socket.write(Buffer.alloc(40 * 1024, 2));
    expect((await reader.read(16)).readUInt32BE(4)).toBe(0);
    expect(device.bytes()[0]).toBe(2);
    socket.destroy();
  });

  it("zeros of the device are sent as holes, an error in the middle as an error", async () => {
    const inner = memoryDevice(new Uint8Array(SIZE).fill(5), { extents: true });
    const device = checked(withHoles(inner), "test");
    await using server = await serveNbd({ device, socketPath: fresh(), readOnly: true });
    const { socket, reader } = await transmittingClient(server.socketPath, true);
    const chunks = async () => {
      const all: [number, number][] = [];
      for (let flags = 0; flags === 0; ) {
        const head = await reader.read(20);
        flags = head.readUInt16BE(4);
        all.push([head.readUInt16BE(6), head.readUInt32BE(16)]);
        await reader.read(head.readUInt32BE(16));
      }
      return all;
    };
    socket.write(request(0, 1, 0, 300_000));
    expect(await chunks()).toEqual([
      [1, 65536 + 8],
      [2, 12],
      [1, 300_000 - 196_608 + 8],
    ]);
    socket.write(request(0, 2, 0, 300_000, 4));
    expect((await chunks()).map(([type]) => type)).toEqual([1]);
    socket.write(request(0, 3, 0, SIZE));
    expect((await chunks()).map(([type]) => type)).toEqual([1, 2, 0x8001]);
    socket.destroy();
  });
});

/** Data, 128 KiB of zeros from 64 KiB on, data whose last byte cannot be read. */
function withHoles(inner: BlockDevice): BlockDevice {
  return {
    size: inner.size,
    caps: { ...inner.caps, writable: false },
    async read(into, offset) {
      if (offset + into.length === inner.size) throw new StorageError("io", "a bad sector");
      await inner.read(into, offset);
    },
    write: inner.write.bind(inner),
    zero: inner.zero.bind(inner),
    discard: inner.discard.bind(inner),
    async *extents(offset, length): AsyncIterable<Extent> {
      const edges = [0, 65536, 196_608, inner.size];
      for (let i = 0; i < 3; i++) {
        const from = Math.max(offset, edges[i]!);
        const to = Math.min(offset + length, edges[i + 1]!);
        if (from < to) yield { offset: from, length: to - from, kind: i === 1 ? "hole" : "data" };
      }
    },
    flush: inner.flush.bind(inner),
    [Symbol.asyncDispose]: inner[Symbol.asyncDispose].bind(inner),
  };
}

describe("clients", () => {
  it("one that does not read is not read from either, and does not hold up the others or the end", async () => {
    await using device = memoryDevice(new Uint8Array(32 * SIZE));
    const server = await serveNbd({ device, socketPath: fresh(), readOnly: false, closingTimeoutMs: 200 });
    const { socket } = await transmittingClient(server.socketPath, false);
    socket.pause();
    let taken = 0;
    for (let i = 0; i < 2000; i++) {
      socket.write(request(0, i, 0, 32 * SIZE), () => {
        taken++;
      });
    }
    const other = await transmittingClient(server.socketPath, false);
    other.socket.write(request(0, 1, 0, 4));
    expect((await other.reader.read(20)).length).toBe(20);
    other.socket.destroy();
    expect(process.memoryUsage().arrayBuffers).toBeLessThan(400 * SIZE);
    await server.close();
    expect(taken).toBeGreaterThan(0);
    socket.destroy();
  });

  it("one that dawdles in the handshake is dropped, one too many is turned away", async () => {
    await using device = memoryDevice(new Uint8Array(SIZE));
    await using server = await serveNbd({
      device,
      socketPath: fresh(),
      readOnly: true,
      handshakeTimeoutMs: 2000,
      maxConnections: 2,
    });
    const clients = [await rawClient(server.socketPath), await rawClient(server.socketPath)];
    await Promise.all(clients.map(({ reader }) => reader.read(18)));
    const third = await rawClient(server.socketPath);
    await expect(third.reader.read(1)).rejects.toMatchObject({ code: "io" });
    await Promise.all(clients.map(({ socket }) => once(socket, "close")));
    const fourth = await transmittingClient(server.socketPath, true);
    fourth.socket.destroy();
  });

  it("what was received whole is carried out although the client is gone; half a write is not", async () => {
    await using device = memoryDevice(new Uint8Array(SIZE));
    // So slow that the client is known to be gone before the first request is done.
    const slow = altered(device, {
      write: async (from, offset) => {
        await new Promise((resolve) => setTimeout(resolve, 100));
        await device.write(from, offset);
      },
    });
    const server = await serveNbd({ device: slow, socketPath: fresh(), readOnly: false });
    const { socket, reader } = await transmittingClient(server.socketPath, false);
    socket.write(request(1, 1, 0, 1100));
    socket.write(Buffer.alloc(1100, 1));
    socket.write(request(6, 2, 1000, 100));
    socket.write(request(1, 3, 4096, 1000));
    socket.end(Buffer.alloc(999, 2));
    await ended(reader);
    await server.close();
    expect(
      device
        .bytes()
        .subarray(0, 1000)
        .every((b) => b === 1),
    ).toBe(true);
    expect(
      device
        .bytes()
        .subarray(1000)
        .every((b) => b === 0),
    ).toBe(true);
  });

  it.each([
    ["unknown client flags", [encodeU32(0xff)]],
    ["an option with a wrong magic", [encodeU32(3), Buffer.alloc(16, 0x41)]],
    ["a huge option", [encodeU32(3), encodeOption(7, new Uint8Array(0)).fill(0xff, 12)]],
    ["old newstyle with an option", [encodeU32(0), encodeOption(3, new Uint8Array(0))]],
    ["a wrong export name", [encodeU32(3), encodeOption(1, Buffer.from("other"))]],
    ["ABORT", [encodeU32(3), encodeOption(2, new Uint8Array(0))]],
  ])("%s ends the connection", async (_name, parts) => {
    await using device = memoryDevice(new Uint8Array(SIZE));
    await using server = await serveNbd({ device, socketPath: fresh(), readOnly: true });
    const { socket, reader } = await rawClient(server.socketPath);
    for (const part of parts) socket.write(part);
    await ended(reader);
    socket.destroy();
  });

  it.each([
    ["STARTTLS", 5, Buffer.alloc(0), 1],
    ["an unknown option", 99, Buffer.from("x"), 1],
    ["INFO with a lying length", 6, encodeU32(0xffff_ffff), 3],
    ["INFO for another export", 6, Buffer.concat([encodeU32(1), Buffer.from("x"), Buffer.alloc(2)]), 6],
    ["LIST with data", 3, Buffer.from("x"), 3],
    ["SET_META_CONTEXT before structured replies", 10, Buffer.alloc(8), 3],
  ])("%s is refused and the handshake goes on", async (_name, option, data, error) => {
    await using device = memoryDevice(new Uint8Array(SIZE));
    await using server = await serveNbd({ device, socketPath: fresh(), readOnly: true });
    const { socket, reader } = await rawClient(server.socketPath);
    await reader.read(18);
    socket.write(encodeU32(3));
    socket.write(encodeOption(option, data));
    const head = await reader.read(20);
    expect(head.readUInt32BE(12)).toBe(0x8000_0000 + error);
    await reader.read(head.readUInt32BE(16));
    socket.write(encodeOption(2, new Uint8Array(0)));
    expect((await reader.read(20)).readUInt32BE(12)).toBe(1);
    socket.destroy();
  });
});

describe("the socket", () => {
  it("is the owner's alone, in a folder that is left as it was", async () => {
    const inside = join(folder.path, "inside");
    mkdirSync(inside);
    await using device = memoryDevice(new Uint8Array(SIZE));
    const server = await serveNbd({ device, socketPath: join(inside, "s"), readOnly: true });
    expect(lstatSync(server.socketPath).mode & 0o777).toBe(0o600);
    expect(readdirSync(inside)).toEqual(["s"]);
    await server.close();
    await server.closed;
    expect(readdirSync(inside)).toEqual([]);
  });

  it("does not replace a file, nor follow a path that is too long or leads nowhere", async () => {
    await using device = memoryDevice(new Uint8Array(SIZE));
    const file = join(folder.path, "file");
    writeFileSync(file, "precious");
    for (const [socketPath, code] of [
      [file, "usage"],
      [join(folder.path, "x".repeat(100)), "usage"],
      [join(folder.path, "no", "such"), "io"],
    ]) {
      await expect(serveNbd({ device, socketPath: socketPath!, readOnly: true })).rejects.toMatchObject({ code });
    }
  });

  it("goes when the signal fires", async () => {
    await using device = memoryDevice(new Uint8Array(SIZE));
    const stop = new AbortController();
    const server = await serveNbd({ device, socketPath: fresh(), readOnly: true, signal: stop.signal });
    stop.abort();
    await server.closed;
    expect(lstatSync(server.socketPath, { throwIfNoEntry: false })).toBeUndefined();
  });
});

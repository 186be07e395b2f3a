import { constants } from "node:os";
import { describe, expect, it } from "vitest";
import { altered } from "../../test/helpers/altered.ts";
import { OP, serve } from "../../test/helpers/fuse-kernel.ts";
import type { BlockDevice, Extent } from "../core/device.ts";
import { StorageError } from "../core/errors.ts";
import { memoryDevice } from "../core/memory-device.ts";

const { ENOSYS, EACCES, EIO, EROFS, EFBIG, EPERM, ENXIO, ENOSPC, EOPNOTSUPP } = constants.errno;

function init(major: number, minor: number, flags: number): Buffer {
  const body = Buffer.alloc(64);
  [major, minor, 128 * 1024, flags].forEach((v, i) => {
    body.writeUInt32LE(v >>> 0, 4 * i);
  });
  return body;
}

const opening = (flags: number): Buffer => {
  const body = Buffer.alloc(8);
  body.writeUInt32LE(flags, 0);
  return body;
};

const failing = (error: StorageError): BlockDevice =>
  altered(memoryDevice(new Uint8Array(8192)), {
    read: () => Promise.reject(error),
    write: () => Promise.reject(error),
    flush: () => Promise.reject(error),
  });

describe("INIT", () => {
  it("takes big requests where the kernel offers them, and no flag that it does not", async () => {
    const [kernel] = serve(memoryDevice(new Uint8Array(4096)));
    const all = await kernel.ask(OP.INIT, init(7, 45, 0xffffffff));
    expect(all.error).toBe(0);
    expect([all.body.readUInt32LE(0), all.body.readUInt32LE(4)]).toEqual([7, 31]);
    // ASYNC_READ, BIG_WRITES, MAX_PAGES
    expect(all.body.readUInt32LE(12)).toBe((1 << 0) + (1 << 5) + (1 << 22));
    expect([all.body.readUInt32LE(20), all.body.readUInt16LE(28)]).toEqual([1024 * 1024, 256]);
    const old = await kernel.ask(OP.INIT, init(7, 27, 1 << 5));
    expect(old.body.readUInt32LE(12)).toBe(1 << 5);
    expect([old.body.readUInt32LE(20), old.body.readUInt16LE(28)]).toEqual([128 * 1024, 0]);
    kernel.unmount();
  });

  it("names a kernel that is too old as the error of the run", async () => {
    const [kernel, server] = serve(memoryDevice(new Uint8Array(4096)));
    expect((await kernel.ask(OP.INIT, init(7, 12, 0))).error).toBe(EIO);
    kernel.unmount();
    expect((await server.done).firstError).toMatchObject({ code: "unsupported", feature: "FUSE 7.12" });
  });
});

describe("the file", () => {
  it("is a regular file of the device's size; the size cannot be changed", async () => {
    const [kernel, server] = serve(memoryDevice(new Uint8Array(10_000)));
    const { body } = await kernel.ask(OP.GETATTR, Buffer.alloc(16));
    expect(body.length).toBe(104);
    expect(Number(body.readBigUInt64LE(24))).toBe(10_000);
    expect(body.readUInt32LE(76).toString(8)).toBe("100600");
    expect((await kernel.setSize(10_000)).error).toBe(0);
    expect((await kernel.setSize(0)).error).toBe(EPERM);
    expect((await kernel.setSize(10_001)).error).toBe(EFBIG);
    expect((await kernel.ask(OP.STATFS, Buffer.alloc(0))).body.length).toBe(80);
    expect((await kernel.ask(OP.GETXATTR, Buffer.alloc(8))).error).toBe(ENOSYS);
    expect((await kernel.ask(9999, Buffer.alloc(0))).error).toBe(ENOSYS);
    kernel.unmount();
    // None of the refusals is an error of the device.
    expect((await server.done).firstError).toBeNull();
    expect(kernel.closed).toBe(true);
  });

  it("ends where the device ends", async () => {
    const content = Buffer.from("0123456789");
    const [kernel] = serve(memoryDevice(Uint8Array.from(content)));
    expect((await kernel.read(4, 100)).body.toString()).toBe("456789");
    expect((await kernel.read(10, 100)).body.length).toBe(0);
    expect((await kernel.read(2n ** 63n, 100)).body.length).toBe(0);
    expect((await kernel.write(8, Buffer.from("abc"))).error).toBe(EFBIG);
    expect((await kernel.read(0, 10)).body.toString()).toBe("0123456789");
    const written = await kernel.write(7, Buffer.from("abc"));
    expect([written.error, written.body.readUInt32LE(0)]).toEqual([0, 3]);
    expect((await kernel.read(0, 10)).body.toString()).toBe("0123456abc");
    kernel.unmount();
  });

  it("zeroes punched ranges and refuses other ways of allocating", async () => {
    const device = memoryDevice(new Uint8Array(1000).fill(1));
    const [kernel] = serve(device);
    expect((await kernel.fallocate(0x03, 100, 50)).error).toBe(0);
    expect((await kernel.fallocate(0x10, 200, 50)).error).toBe(0);
    expect((await kernel.fallocate(0x03, 990, 500)).error).toBe(0);
    expect((await kernel.fallocate(0x10, 990, 500)).error).toBe(EFBIG);
    expect((await kernel.fallocate(0x00, 0, 1001)).error).toBe(EFBIG);
    expect((await kernel.fallocate(0x08, 0, 100)).error).toBe(EOPNOTSUPP);
    const zeros = [...device.bytes()].flatMap((b, i) => (b === 0 ? [i] : []));
    const run = (from: number, length: number) => Array.from({ length }, (_, i) => from + i);
    expect(zeros).toEqual([...run(100, 50), ...run(200, 50), ...run(990, 10)]);
    kernel.unmount();
  });

  it("finds data and holes by the device's extents", async () => {
    const device: BlockDevice = altered(memoryDevice(new Uint8Array(1000), { extents: true }), {
      async *extents(offset, length): AsyncIterable<Extent> {
        const pieces: Extent[] = [
          { offset: 0, length: 100, kind: "hole" },
          { offset: 100, length: 200, kind: "data" },
          { offset: 300, length: 700, kind: "zero" },
        ];
        for (const p of pieces) {
          const from = Math.max(p.offset, offset);
          const to = Math.min(p.offset + p.length, offset + length);
          if (from < to) yield { offset: from, length: to - from, kind: p.kind };
        }
      },
    });
    const [kernel] = serve(device);
    expect(await kernel.seek(3, 0)).toBe(100);
    expect(await kernel.seek(3, 150)).toBe(150);
    expect(await kernel.seek(3, 300)).toBe(-ENXIO);
    expect(await kernel.seek(4, 0)).toBe(0);
    expect(await kernel.seek(4, 150)).toBe(300);
    expect(await kernel.seek(4, 1000)).toBe(-ENXIO);
    kernel.unmount();
    const [other] = serve(memoryDevice(new Uint8Array(1000)));
    expect(await other.seek(3, 0)).toBe(-ENOSYS);
    other.unmount();
  });

  it("is not written when it is read-only", async () => {
    const device = memoryDevice(new Uint8Array(1000).fill(5));
    const [kernel] = serve(device, { readOnly: true });
    expect((await kernel.ask(OP.OPEN, opening(0))).error).toBe(0);
    expect((await kernel.ask(OP.OPEN, opening(2))).error).toBe(EACCES);
    expect((await kernel.write(0, Buffer.alloc(4))).error).toBe(EROFS);
    expect((await kernel.fallocate(0x03, 0, 10)).error).toBe(EROFS);
    expect(device.bytes().every((b) => b === 5)).toBe(true);
    kernel.unmount();
  });
});

describe("errors of the device", () => {
  it("become EIO, and the first one is kept", async () => {
    const error = new StorageError("io", "bad sector", { layer: "file", offset: 512 });
    const [kernel, server] = serve(failing(error));
    expect((await kernel.read(0, 100)).error).toBe(EIO);
    expect((await kernel.write(0, Buffer.alloc(10))).error).toBe(EIO);
    expect((await kernel.ask(OP.FSYNC, Buffer.alloc(16))).error).toBe(EIO);
    expect(server.firstError).toBe(error);
    kernel.unmount();
    expect((await server.done).firstError).toBe(error);
  });

  it("keep a full disk's errno", async () => {
    const cause = Object.assign(new Error("ENOSPC"), { code: "ENOSPC" });
    const [kernel] = serve(failing(new StorageError("io", "no space", { cause })));
    expect((await kernel.write(0, Buffer.alloc(10))).error).toBe(ENOSPC);
    kernel.unmount();
  });

  it("are kept also when a device throws what it should not", async () => {
    const [kernel, server] = serve(
      altered(memoryDevice(new Uint8Array(4096)), {
        read: () => Promise.reject(new TypeError("a bug")),
      }),
    );
    expect((await kernel.read(0, 100)).error).toBe(EIO);
    kernel.unmount();
    expect((await server.done).firstError?.message).toContain("a bug");
  });
});

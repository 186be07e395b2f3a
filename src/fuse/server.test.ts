import { constants } from "node:os";
import { describe, expect, it } from "vitest";
import type { BlockDevice, Extent } from "../core/device.ts";
import { StorageError } from "../core/errors.ts";
import { memoryDevice } from "../core/memory-device.ts";
import type { FuseChannel } from "./channel.ts";
import { type FuseServer, serveFuse } from "./server.ts";

const { ENOSYS, EIO, EROFS, EFBIG, EPERM, ENXIO, ENOSPC, EOPNOTSUPP } = constants.errno;
// Numbers of include/uapi/linux/fuse.h, written out here so that a slip in protocol.ts is seen.
const OP = { GETATTR: 3, SETATTR: 4, OPEN: 14, READ: 15, WRITE: 16, STATFS: 17, FSYNC: 20, GETXATTR: 22, INIT: 26 };
const FALLOCATE = 43;
const LSEEK = 46;

interface Reply {
  readonly error: number;
  readonly body: Buffer;
}

/** Plays the kernel: sends requests, matches replies by their unique number. */
class Kernel implements FuseChannel {
  readonly #requests: Buffer[] = [];
  readonly #replies = new Map<bigint, (reply: Reply) => void>();
  #wake: (() => void) | null = null;
  #gone = false;
  #unique = 2n;
  /** Replies to requests that nobody waits for (any more). */
  unexpected = 0;
  closed = false;

  async receive(into: Uint8Array): Promise<number> {
    while (this.#requests.length === 0 && !this.#gone) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    const next = this.#requests.shift();
    if (!next) return 0;
    into.set(next);
    return next.length;
  }

  send(message: Uint8Array): boolean {
    const reply = Buffer.from(message);
    expect(reply.readUInt32LE(0)).toBe(reply.length);
    const unique = reply.readBigUInt64LE(8);
    const waiting = this.#replies.get(unique);
    this.#replies.delete(unique);
    if (!waiting) this.unexpected++;
    waiting?.({ error: Math.abs(reply.readInt32LE(4)), body: reply.subarray(16) });
    return waiting !== undefined;
  }

  /** What was pushed: offset and data of each store. */
  readonly stored: { offset: number; bytes: Buffer }[] = [];

  async sendAside(message: Uint8Array, rest: Uint8Array): Promise<boolean> {
    const header = Buffer.from(message);
    // fuse_out_header with FUSE_NOTIFY_STORE (4) as its error and no unique; fuse_notify_store_out for the root.
    expect([header.length, header.readUInt32LE(0), header.readInt32LE(4)]).toEqual([40, 40 + rest.length, 4]);
    expect([header.readBigUInt64LE(8), header.readBigUInt64LE(16)]).toEqual([0n, 1n]);
    expect(header.readUInt32LE(32)).toBe(rest.length);
    this.stored.push({ offset: Number(header.readBigUInt64LE(24)), bytes: Buffer.from(rest) });
    return true;
  }

  async close(): Promise<void> {
    this.closed = true;
  }

  ask(opcode: number, body: Uint8Array): Promise<Reply> {
    const unique = this.#unique;
    const answer = new Promise<Reply>((resolve) => this.#replies.set(unique, resolve));
    this.tell(opcode, body);
    return answer;
  }

  tell(opcode: number, body: Uint8Array): void {
    const request = Buffer.alloc(40 + body.length);
    request.writeUInt32LE(request.length, 0);
    request.writeUInt32LE(opcode, 4);
    request.writeBigUInt64LE(this.#unique, 8);
    this.#unique += 2n;
    request.writeBigUInt64LE(1n, 16);
    request.set(body, 40);
    this.#requests.push(request);
    this.#wake?.();
  }

  unmount(): void {
    this.#gone = true;
    this.#wake?.();
  }

  read(offset: number | bigint, size: number): Promise<Reply> {
    const body = Buffer.alloc(40);
    body.writeBigUInt64LE(BigInt(offset), 8);
    body.writeUInt32LE(size, 16);
    return this.ask(OP.READ, body);
  }

  write(offset: number, data: Uint8Array): Promise<Reply> {
    const body = Buffer.alloc(40 + data.length);
    body.writeBigUInt64LE(BigInt(offset), 8);
    body.writeUInt32LE(data.length, 16);
    body.set(data, 40);
    return this.ask(OP.WRITE, body);
  }

  fallocate(mode: number, offset: number, length: number): Promise<Reply> {
    const body = Buffer.alloc(32);
    body.writeBigUInt64LE(BigInt(offset), 8);
    body.writeBigUInt64LE(BigInt(length), 16);
    body.writeUInt32LE(mode, 24);
    return this.ask(FALLOCATE, body);
  }

  async seek(whence: number, offset: number): Promise<number> {
    const body = Buffer.alloc(24);
    body.writeBigUInt64LE(BigInt(offset), 8);
    body.writeUInt32LE(whence, 16);
    const reply = await this.ask(LSEEK, body);
    return reply.error === 0 ? Number(reply.body.readBigUInt64LE(0)) : -reply.error;
  }

  setSize(size: number): Promise<Reply> {
    const body = Buffer.alloc(88);
    body.writeUInt32LE(1 << 3, 0);
    body.writeBigUInt64LE(BigInt(size), 16);
    return this.ask(OP.SETATTR, body);
  }
}

function serve(device: BlockDevice, options: { readOnly?: boolean; signal?: AbortSignal } = {}): [Kernel, FuseServer] {
  const kernel = new Kernel();
  return [kernel, serveFuse({ channel: kernel, device, readOnly: options.readOnly ?? false, signal: options.signal })];
}

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

const failing = (error: StorageError): BlockDevice => ({
  ...plain(memoryDevice(new Uint8Array(8192))),
  read: () => Promise.reject(error),
  write: () => Promise.reject(error),
  flush: () => Promise.reject(error),
});

/** The same device with its methods as own properties, so that some can be replaced. */
function plain(device: BlockDevice): BlockDevice {
  return {
    size: device.size,
    caps: device.caps,
    read: (into, offset) => device.read(into, offset),
    write: (from, offset) => device.write(from, offset),
    zero: (offset, length) => device.zero(offset, length),
    discard: (offset, length) => device.discard(offset, length),
    extents: (offset, length) => device.extents(offset, length),
    flush: () => device.flush(),
    [Symbol.asyncDispose]: () => device[Symbol.asyncDispose](),
  };
}

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
    const device: BlockDevice = {
      ...plain(memoryDevice(new Uint8Array(1000), { extents: true })),
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
    };
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
    expect((await kernel.ask(OP.OPEN, opening(2))).error).toBe(EROFS);
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
    const [kernel, server] = serve({
      ...plain(memoryDevice(new Uint8Array(4096))),
      read: () => Promise.reject(new TypeError("a bug")),
    });
    expect((await kernel.read(0, 100)).error).toBe(EIO);
    kernel.unmount();
    expect((await server.done).firstError?.message).toContain("a bug");
  });
});

describe("requests in flight", () => {
  it("answers reads out of order, and holds a write back until they are done", async () => {
    const base = memoryDevice(Uint8Array.from([1, 2, 3, 4]));
    const gates = new Map<number, () => void>();
    const [kernel, server] = serve({
      ...plain(base),
      read: async (into, offset) => {
        if (offset === 0) await new Promise<void>((resolve) => gates.set(offset, resolve));
        await base.read(into, offset);
      },
    });
    const slow = kernel.read(0, 1);
    const fast = await kernel.read(1, 1);
    expect([...fast.body]).toEqual([2]);
    const write = kernel.write(0, Uint8Array.from([9]));
    await new Promise((resolve) => setImmediate(resolve));
    expect(base.bytes()[0]).toBe(1);
    gates.get(0)!();
    expect([...(await slow).body]).toEqual([1]);
    expect((await write).error).toBe(0);
    expect(base.bytes()[0]).toBe(9);
    kernel.unmount();
    expect((await server.done).firstError).toBeNull();
  });

  it("serves more reads at once than it has buffers for", async () => {
    const bytes = Uint8Array.from({ length: 100 }, (_, i) => i);
    const base = memoryDevice(bytes);
    const [kernel, server] = serve({
      ...plain(base),
      read: async (into, offset) => {
        await new Promise((resolve) => setImmediate(resolve));
        await base.read(into, offset);
      },
    });
    const replies = await Promise.all(Array.from({ length: 100 }, (_, i) => kernel.read(i, 1)));
    expect(replies.map((r) => r.body[0])).toEqual([...bytes]);
    expect(server.stats).toMatchObject({ reads: 100, bytesRead: 100 });
    kernel.unmount();
  });

  it("answers everything with EIO once aborted, also what the device never answers", async () => {
    const controller = new AbortController();
    const [kernel, server] = serve(
      {
        ...plain(memoryDevice(new Uint8Array(4096))),
        read: () => new Promise(() => undefined),
        write: () => new Promise(() => undefined),
      },
      { signal: controller.signal },
    );
    const pending = [kernel.read(0, 10), kernel.write(0, Buffer.alloc(4))];
    await new Promise((resolve) => setImmediate(resolve));
    controller.abort();
    for (const reply of await Promise.all(pending)) expect(reply.error).toBe(EIO);
    expect((await kernel.read(0, 10)).error).toBe(EIO);
    kernel.unmount();
    // Stopping is the caller's doing, not the device's failure.
    expect((await server.done).firstError).toBeNull();
    expect(kernel.unexpected).toBe(0);
  });

  it("does not answer what wants no answer", async () => {
    const [kernel] = serve(memoryDevice(new Uint8Array(4096)));
    for (const opcode of [2, 36, 42]) kernel.tell(opcode, Buffer.alloc(16));
    expect((await kernel.read(0, 4)).error).toBe(0);
    expect(kernel.unexpected).toBe(0);
    kernel.unmount();
  });
});

describe("pushing ahead", () => {
  const page = (n: number) => ({ offset: n * 4096, bytes: new Uint8Array(4096).fill(n) });

  async function* pages(count: number, before: (n: number) => Promise<unknown>) {
    for (let n = 0; n < count; n++) {
      await before(n);
      yield page(n);
    }
  }

  it("stores each piece at its place", async () => {
    const [kernel, server] = serve(memoryDevice(new Uint8Array(65536)));
    await server.push(pages(3, async () => undefined));
    expect(kernel.stored).toEqual([0, 1, 2].map((n) => ({ offset: n * 4096, bytes: Buffer.alloc(4096, n) })));
    expect(server.stats.bytesPushed).toBe(3 * 4096);
    kernel.unmount();
    await server.done;
  });

  it.each([
    ["read", (kernel: Kernel) => kernel.read(0, 512)],
    ["written", (kernel: Kernel) => kernel.write(0, new Uint8Array(512))],
  ])("stops for good when the file is %s", async (_, use) => {
    const [kernel, server] = serve(memoryDevice(new Uint8Array(65536)));
    let used: Promise<Reply> | undefined;
    const useIt = async (n: number) => {
      if (n !== 2) return;
      used = use(kernel);
      await new Promise((resolve) => setImmediate(resolve));
    };
    await server.push(pages(5, useIt));
    expect((await used!).error).toBe(0);
    expect(kernel.stored.length).toBe(2);
    await server.push(pages(5, async () => undefined));
    expect(kernel.stored.length).toBe(2);
    kernel.unmount();
    await server.done;
  });

  it("is ended by abort, by the end of the mount and by a failing device, without an error of its own", async () => {
    const stop = new AbortController();
    const [kernel, server] = serve(memoryDevice(new Uint8Array(65536)), { signal: stop.signal });
    await server.push(pages(5, async (n) => n === 1 && stop.abort()));
    expect(kernel.stored.length).toBe(1);
    kernel.unmount();
    expect((await server.done).firstError).toBeNull();
    const [gone, ended] = serve(memoryDevice(new Uint8Array(65536)));
    gone.unmount();
    await ended.done;
    await ended.push(pages(5, async () => undefined));
    expect(gone.stored).toEqual([]);
    const [other, third] = serve(memoryDevice(new Uint8Array(65536)));
    await third.push(pages(5, async (n) => n === 1 && Promise.reject(new StorageError("io", "no"))));
    expect(other.stored.length).toBe(1);
    other.unmount();
    expect((await third.done).firstError).toBeNull();
  });
});

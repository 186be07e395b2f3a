import { constants } from "node:os";
import { describe, expect, it } from "vitest";
import { altered } from "../../test/helpers/altered.ts";
import { serve } from "../../test/helpers/fuse-kernel.ts";
import { memoryDevice } from "../core/memory-device.ts";

const { EIO } = constants.errno;

describe("requests in flight", () => {
  it("answers reads out of order, and holds a write back until they are done", async () => {
    const base = memoryDevice(Uint8Array.from([1, 2, 3, 4]));
    const gates = new Map<number, () => void>();
    const [kernel, server] = serve(
      altered(base, {
        read: async (into, offset) => {
          if (offset === 0) await new Promise<void>((resolve) => gates.set(offset, resolve));
          await base.read(into, offset);
        },
      }),
    );
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
    const [kernel, server] = serve(
      altered(base, {
        read: async (into, offset) => {
          await new Promise((resolve) => setImmediate(resolve));
          await base.read(into, offset);
        },
      }),
    );
    const replies = await Promise.all(Array.from({ length: 100 }, (_, i) => kernel.read(i, 1)));
    expect(replies.map((r) => r.body[0])).toEqual([...bytes]);
    expect(server.stats).toMatchObject({ reads: 100, bytesRead: 100 });
    kernel.unmount();
  });

  it("answers everything with EIO once aborted, also what the device never answers", async () => {
    const controller = new AbortController();
    const [kernel, server] = serve(
      altered(memoryDevice(new Uint8Array(4096)), {
        read: () => new Promise(() => undefined),
        write: () => new Promise(() => undefined),
      }),
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

import { describe, expect, it } from "vitest";
import { type Kernel, type Reply, serve } from "../../test/helpers/fuse-kernel.ts";
import { StorageError } from "../core/errors.ts";
import { memoryDevice } from "../core/memory-device.ts";

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

import { describe, expect, it } from "vitest";
import { Outgoing } from "./outgoing.ts";
import type { SocketWriter } from "./socket-io.ts";

const SIZE = 4096;

/** A connection whose messages are taken when the test says so. */
function connection() {
  const waiting: { readonly parts: readonly Uint8Array[]; take(): void; fail(): void }[] = [];
  const sendWhole = (...parts: Uint8Array[]) =>
    new Promise<void>((resolve, reject) => {
      waiting.push({ parts, take: resolve, fail: () => reject(new Error("gone")) });
    });
  return { waiting, outgoing: new Outgoing({ sendWhole } as unknown as SocketWriter, SIZE) };
}

describe("replies with data", () => {
  it("are made in two buffers, and in none that is still being sent", async () => {
    const { waiting, outgoing } = connection();
    const memory = new Set<ArrayBufferLike>();
    for (let n = 0; n < 20; n++) {
      const bytes = outgoing.take(SIZE - n).fill(n);
      expect(bytes.length).toBe(SIZE - n);
      memory.add(bytes.buffer);
      const sent = outgoing.send(bytes);
      if (n > 0) {
        // It waits for the one before, which went out as it was when it was sent.
        expect(waiting.length).toBe(1);
        expect(waiting[0]!.parts[0]!.every((byte) => byte === n - 1)).toBe(true);
        waiting.shift()!.take();
      }
      await sent;
      expect(waiting[0]!.parts[0]!.every((byte) => byte === n)).toBe(true);
      expect(outgoing.take(SIZE).buffer).not.toBe(bytes.buffer);
    }
    expect(memory.size).toBe(2);
  });

  it("take memory again that was not sent, because it could not be filled", async () => {
    const { waiting, outgoing } = connection();
    const first = outgoing.take(SIZE);
    await outgoing.send(first);
    const second = outgoing.take(SIZE);
    expect(outgoing.take(SIZE).buffer).toBe(second.buffer);
    expect(second.buffer).not.toBe(first.buffer);
    expect(waiting.length).toBe(1);
  });

  it("have memory of their own when they are large", () => {
    const { outgoing } = connection();
    expect(outgoing.take(SIZE + 1).buffer).not.toBe(outgoing.take(SIZE + 1).buffer);
  });

  it("tell the next that the connection is gone", async () => {
    const { waiting, outgoing } = connection();
    await outgoing.send(outgoing.take(1));
    waiting[0]!.fail();
    await expect(outgoing.send(outgoing.take(1))).rejects.toThrow("gone");
  });
});

import { describe, expect, it } from "vitest";
import { RequestOrder } from "./order.ts";

function gate(): { open: () => void; passed: Promise<void> } {
  let open = (): void => undefined;
  const passed = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { open, passed };
}

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("RequestOrder", () => {
  it("runs reads beside each other and holds a change back until they are done", async () => {
    const order = new RequestOrder();
    const log: string[] = [];
    const first = gate();
    const a = order.read(async () => {
      log.push("a starts");
      await first.passed;
      log.push("a ends");
    });
    const b = order.read(async () => {
      log.push("b");
    });
    const w = order.change(async () => {
      log.push("write");
    });
    const c = order.read(async () => {
      log.push("c");
    });
    await settle();
    expect(log).toEqual(["a starts", "b"]);
    first.open();
    await Promise.all([a, b, w, c]);
    expect(log).toEqual(["a starts", "b", "a ends", "write", "c"]);
  });

  it("keeps changes in their order and goes on after one that failed", async () => {
    const order = new RequestOrder();
    const log: number[] = [];
    const failing = order.change(async () => {
      await settle();
      log.push(1);
      throw new Error("no");
    });
    const second = order.change(async () => {
      log.push(2);
    });
    await expect(failing).rejects.toThrow("no");
    await second;
    await order.idle();
    expect(log).toEqual([1, 2]);
  });
});

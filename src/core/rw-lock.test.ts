import { describe, expect, it } from "vitest";
import { RwLock } from "./rw-lock.ts";

describe("RwLock", () => {
  it("lets readers run together, writers alone, in the order of asking", async () => {
    const lock = new RwLock();
    const log: string[] = [];
    const task = (name: string) => async () => {
      log.push(`${name}+`);
      await new Promise((r) => setTimeout(r, 1));
      log.push(`${name}-`);
    };
    await Promise.all([
      lock.shared(task("r1")),
      lock.shared(task("r2")),
      lock.exclusive(task("w1")),
      lock.shared(task("r3")),
      lock.exclusive(task("w2")),
    ]);
    expect(log.join(" ")).toBe("r1+ r2+ r1- r2- w1+ w1- r3+ r3- w2+ w2-");
  });

  it("is free again after a failure", async () => {
    const lock = new RwLock();
    await expect(lock.exclusive(() => Promise.reject(new Error("x")))).rejects.toThrow("x");
    await expect(lock.shared(async () => 7)).resolves.toBe(7);
  });
});

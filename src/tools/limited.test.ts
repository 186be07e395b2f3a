import { describe, expect, it } from "vitest";
import { type LimitedOptions, runLimited } from "./limited.ts";

const sh = (script: string, options: LimitedOptions = {}) =>
  runLimited("/bin/sh", ["-c", script], process.env, options);

describe("a command with a limit", () => {
  it("tells its exit code and what it said, and gets its input", async () => {
    const input = new TextEncoder().encode("in");
    expect(await sh("cat; echo out; echo err >&2; exit 3", { input, limitMs: 60_000 })).toEqual({
      code: 3,
      output: "inout\n",
      errors: "err\n",
    });
  });

  it("is asked to end when it takes longer, and its partial words count for nothing", async () => {
    await expect(sh("echo half; exec sleep 600", { limitMs: 100 })).rejects.toMatchObject({
      code: "io",
      message: "sh took longer than 0.1 s: it was ended",
    });
  });

  it("is killed when it does not listen", async () => {
    const stubborn = sh("trap '' TERM; sleep 3; sleep 3", { limitMs: 300, graceMs: 200 });
    await expect(stubborn).rejects.toThrow(/took longer than/);
  });

  it("is left to itself when it does not even end then", async () => {
    // Killed, but its output stays open, as that of a program which hangs in the kernel.
    const script = "trap '' TERM; sleep 30 & sleep 30";
    const hung = sh(script, { limitMs: 100, graceMs: 200 });
    await expect(hung).rejects.toThrow(/it does not end, also when it is killed \(pid \d+\)/);
  });

  it.each([undefined, 600_000])("is asked to end by Ctrl-C, with a limit of %s ms", async (limitMs) => {
    const signal = AbortSignal.timeout(50);
    const result = await sh("exec sleep 600", { signal, ...(limitMs === undefined ? {} : { limitMs }) });
    expect(result.code).toBeNull();
  });
});

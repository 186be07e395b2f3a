import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bundleScript } from "./bundle.ts";

let script: ReturnType<typeof bundleScript>;
let directory: string;
beforeAll(() => {
  script = bundleScript("full-child.ts");
  directory = mkdtempSync(join(tmpdir(), "unterbau-full-"));
  for (const name of ["small", "large"]) mkdirSync(join(directory, name));
});
afterAll(() => {
  script.cleanup();
  rmSync(directory, { recursive: true });
});

/** Runs the script where `small` is a file system of 1 MiB; in a mount namespace of its own, so that nothing stays mounted. */
function onSmallDisk(what: string): unknown {
  const [small, large] = [join(directory, "small"), join(directory, "large")];
  const command = `mount -t tmpfs -o size=1m none "$1" && exec "$2" "$3" "$1" "$4" "$5"`;
  const result = spawnSync(
    "unshare",
    ["--map-root-user", "--mount", "sh", "-c", command, "sh", small, process.execPath, script.path, large, what],
    { encoding: "utf8" },
  );
  if (result.status !== 0) throw new Error(result.stderr || String(result.error));
  return JSON.parse(result.stdout);
}

const noRoom = (message: string, hint: string) =>
  expect.objectContaining({
    code: "io",
    message: expect.stringContaining(message),
    hint: expect.stringContaining(hint),
  });

describe("a full disk", () => {
  it("under the undo log: nothing of the source is changed, and the run can go on", () => {
    expect(onSmallDisk("log")).toEqual({
      error: noRoom("undo log", "UNTERBAU_STATE_DIR"),
      second: null,
      unchanged: true,
      undone: true,
    });
  });

  it("under a sparse source: what was written is taken back at once", () => {
    expect(onSmallDisk("source")).toEqual({
      error: noRoom("disk", "full"),
      second: null,
      unchanged: true,
      undone: true,
    });
  });

  it("under a source that grows: it gets its old size back", () => {
    expect(onSmallDisk("growth")).toEqual({
      error: noRoom("disk", "full"),
      second: null,
      unchanged: true,
      undone: true,
    });
  });

  it("under an overlay's scratch file: says so, and leaves nothing behind", () => {
    expect(onSmallDisk("spill")).toEqual({ error: noRoom("scratch", "TMPDIR"), left: [] });
  });
});

import { spawn } from "node:child_process";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { mountFolder, sweep } from "../../src/host/mount-folder.ts";
import { bundleScript } from "../faults/bundle.ts";
import { temporaryFolder } from "../helpers/programs.ts";

let folder: ReturnType<typeof temporaryFolder>;
let parent: string;
beforeEach(() => {
  folder = temporaryFolder();
  parent = join(folder.path, "tmp");
  mkdirSync(parent);
});
afterEach(() => folder.remove());

/** What a killed process leaves. */
function stale(name: string): string {
  const path = join(parent, name);
  mkdirSync(path, { mode: 0o700 });
  writeFileSync(join(path, "lock"), "", { mode: 0o600 });
  writeFileSync(join(path, "disk"), "", { mode: 0o600 });
  return path;
}

describe("the folder of a private mount", () => {
  it("goes when it is disposed of", () => {
    {
      using made = mountFolder(parent);
      expect(readFileSync(made.path).length).toBe(0);
    }
    expect(readdirSync(parent)).toEqual([]);
  });

  it("is never taken away while it is made, however many processes sweep", async () => {
    const script = bundleScript("mount-folder-child.ts");
    const children = Array.from({ length: 6 }, () =>
      spawn(process.execPath, [script.path, parent], { stdio: ["ignore", "ignore", "pipe"] }),
    );
    const errors = await Promise.all(
      children.map(async (child) => {
        let text = "";
        child.stderr.on("data", (chunk: Buffer) => {
          text += chunk.toString();
        });
        await new Promise((resolve) => child.once("close", resolve));
        return text;
      }),
    );
    script.cleanup();
    expect(errors).toEqual(errors.map(() => ""));
    expect(readdirSync(parent)).toEqual([]);
  });

  it("of a dead process is swept away, that of a living one is not", async () => {
    const dead = stale("unterbau-dEadOn");
    const living = stale("unterbau-aLiveX");
    const hold =
      "import fcntl,sys; f=open(sys.argv[1],'r+'); fcntl.lockf(f, fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()";
    const child = spawn("python3", ["-c", hold, join(living, "lock")], { stdio: ["pipe", "pipe", "inherit"] });
    const ended = new Promise((resolve) => child.once("close", resolve));
    try {
      await new Promise((resolve) => child.stdout.once("data", resolve));
      using own = mountFolder(parent);
      sweep(parent);
      expect([dead, living, own.path].map((p) => existsSync(p))).toEqual([false, true, true]);
      child.kill("SIGKILL");
      await ended;
      sweep(parent);
      expect(existsSync(living)).toBe(false);
      expect(existsSync(own.path)).toBe(true);
    } finally {
      child.kill("SIGKILL");
      await ended;
    }
  });

  it("is left when it is not surely ours", () => {
    const target = join(folder.path, "target");
    mkdirSync(target, { mode: 0o700 });
    writeFileSync(join(target, "lock"), "");
    writeFileSync(join(target, "disk"), "precious");
    symlinkSync(target, join(parent, "unterbau-liNked"));
    const lockLink = stale("unterbau-loCkLn");
    writeFileSync(join(folder.path, "elsewhere"), "");
    unlinkSync(join(lockLink, "lock"));
    symlinkSync(join(folder.path, "elsewhere"), join(lockLink, "lock"));
    const open = stale("unterbau-oPenTo");
    chmodSync(open, 0o755);
    const foreign = stale("unterbau-foReig");
    chownSync(foreign, 65534, 65534);
    const named = stale("unterbau-test-x");
    const more = stale("unterbau-moReIn");
    writeFileSync(join(more, "other"), "x");
    sweep(parent);
    expect(readFileSync(join(target, "disk"), "utf8")).toBe("precious");
    for (const path of [lockLink, open, foreign, named]) expect(existsSync(join(path, "disk"))).toBe(true);
    expect(readFileSync(join(more, "other"), "utf8")).toBe("x");
  });
});

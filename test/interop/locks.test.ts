import { execFileSync, spawn, spawnSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { StorageError } from "../../src/core/errors.ts";
import { findHolders, guestName } from "../../src/host/culprit.ts";
import { type LockMode, lockSource } from "../../src/host/locks.ts";

let directory: string;
let image: string;
const fds: number[] = [];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "unterbau-locks-"));
  image = join(directory, "disk.qcow2");
  execFileSync("qemu-img", ["create", "-q", "-f", "qcow2", image, "8M"]);
});
afterEach(() => {
  for (const fd of fds.splice(0)) closeSync(fd);
  rmSync(directory, { recursive: true });
});

function lock(mode: LockMode) {
  const fd = openSync(image, mode === "write" ? "r+" : "r");
  fds.push(fd);
  return lockSource(fd, image, mode);
}

function refusal(mode: LockMode): StorageError | null {
  try {
    lock(mode).release();
    return null;
  } catch (error) {
    return error as StorageError;
  }
}

/** qemu-io that keeps the image open until its input ends. */
async function withQemuIo(args: string[], work: (pid: number) => void): Promise<void> {
  const child = spawn("qemu-io", [...args, image], { stdio: ["pipe", "pipe", "inherit"] });
  const ended = new Promise((resolve) => child.once("close", resolve));
  try {
    // It answers once the image is open.
    child.stdin.write("length\n");
    await new Promise<void>((resolve, reject) => {
      child.stdout.on("data", (text: Buffer) => {
        if (text.toString().includes("MiB")) resolve();
      });
      child.once("close", () => reject(new Error("qemu-io ended early")));
    });
    work(child.pid!);
  } finally {
    child.stdin.end("quit\n");
    await ended;
  }
}

const qemuIo = (...args: string[]) => {
  const { status, stdout, stderr } = spawnSync("qemu-io", [...args, "-c", "read 0 512", image], { encoding: "utf8" });
  return { status, text: stdout + stderr };
};

describe("locks as QEMU has them", () => {
  it("refuses to read or write beside a QEMU that writes, and names it", async () => {
    await withQemuIo([], (pid) => {
      for (const mode of ["read", "write"] as const) {
        const error = refusal(mode);
        expect(error?.code).toBe("locked");
        expect(error?.message).toContain(`qemu-io (pid ${pid})`);
        expect(error?.hint).toContain("shut the guest down");
      }
    });
    expect(refusal("write")).toBeNull();
  });

  it("reads beside a QEMU that reads, but does not write", async () => {
    await withQemuIo(["-r"], () => {
      expect(refusal("read")).toBeNull();
      expect(refusal("write")?.code).toBe("locked");
    });
  });

  it("keeps QEMU out while it writes", () => {
    const held = lock("write");
    const writer = qemuIo();
    expect(writer.status).not.toBe(0);
    expect(writer.text).toContain('Failed to get "write" lock');
    const reader = qemuIo("-r");
    expect(reader.status).not.toBe(0);
    expect(reader.text).toContain("lock");
    held.release();
    expect(qemuIo().status).toBe(0);
  });

  it("lets QEMU read while it reads, and keeps it from writing", () => {
    const held = lock("read");
    expect(qemuIo("-r").status).toBe(0);
    const writer = qemuIo();
    expect(writer.status).not.toBe(0);
    expect(writer.text).toContain("lock");
    held.release();
  });

  it("is refused, not failed, where somebody holds the whole file exclusively", async () => {
    const hold =
      "import fcntl,sys; f=open(sys.argv[1],'r+'); fcntl.lockf(f, fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()";
    const child = spawn("python3", ["-c", hold, image], { stdio: ["pipe", "pipe", "inherit"] });
    const ended = new Promise((resolve) => child.once("close", resolve));
    try {
      await new Promise((resolve) => child.stdout.once("data", resolve));
      for (const mode of ["read", "write"] as const) {
        expect(refusal(mode)).toMatchObject({ code: "locked", message: expect.stringContaining(`pid ${child.pid}`) });
      }
    } finally {
      child.stdin.end();
      await ended;
    }
    expect(refusal("write")).toBeNull();
  });

  it("allows several readers, one writer, and no reader beside a writer", () => {
    const a = lock("read");
    const b = lock("read");
    expect(refusal("write")?.code).toBe("locked");
    a.release();
    b.release();
    lock("write");
    expect(refusal("write")?.code).toBe("locked");
    expect(refusal("read")?.code).toBe("locked");
  });

  it("keeps its lock when another descriptor of the file is closed, and loses it with its own", () => {
    const fd = openSync(image, "r+");
    lockSource(fd, image, "write");
    closeSync(openSync(image, "r+"));
    expect(qemuIo().status).not.toBe(0);
    closeSync(fd);
    expect(qemuIo().status).toBe(0);
  });
});

describe("who holds a file", () => {
  it("finds the process", async () => {
    await withQemuIo(["-r"], (pid) => {
      expect(findHolders(image)).toEqual([{ pid, command: "qemu-io", guest: null }]);
    });
    expect(findHolders(image)).toEqual([]);
  });

  it("takes the guest's name from QEMU's arguments", () => {
    expect(guestName(["qemu", "-name", "guest=web1,debug-threads=on"])).toBe("web1");
    expect(guestName(["qemu", "-name", "guest=a,,b,process=x"])).toBe("a,b");
    expect(guestName(["qemu", "-name", "plain"])).toBe("plain");
    expect(guestName(["qemu", "-name", "debug-threads=on"])).toBeNull();
    expect(guestName(["qemu"])).toBeNull();
  });
});

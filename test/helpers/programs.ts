import { spawnSync } from "node:child_process";
import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Administrators' tools are not in every user's PATH. */
const ENV = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin`, LC_ALL: "C", TZ: "UTC" };

/** Runs a program that must be there and succeed; its standard output. */
export function run(program: string, ...args: string[]): string {
  const result = spawnSync(program, args, { env: ENV, encoding: "utf8", maxBuffer: 64 * 1024 * 1024 });
  if (result.error) throw result.error;
  if (result.status !== 0) throw new Error(`${program} ${args.join(" ")}: status ${result.status}: ${result.stderr}`);
  return result.stdout;
}

/**
 * QEMU times PBKDF2 when it makes a LUKS container, and gives up where the thread's clock is too coarse for a fast machine ("Unable to get
 * accurate CPU usage"): then it is asked again.
 */
export async function untilQemuCanTell(create: () => Promise<unknown>): Promise<void> {
  for (let left = 50; ; left--) {
    try {
      await create();
      return;
    } catch (error) {
      if (left === 0 || !String(error).includes("accurate CPU usage")) throw error;
    }
  }
}

/** A temporary folder and how to remove it. */
export function temporaryFolder(): { path: string; remove: () => void } {
  const path = mkdtempSync(join(tmpdir(), "unterbau-test-"));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/** A sparse file of `size` bytes with some pieces written into it. */
export function sparseFile(path: string, size: number, pieces: readonly (readonly [number, Uint8Array])[] = []): void {
  const fd = openSync(path, "w");
  ftruncateSync(fd, size);
  for (const [offset, bytes] of pieces) writeSync(fd, bytes, 0, bytes.length, offset);
  closeSync(fd);
}

/** What `blkid -p` says, with its udev encoding undone; null when it finds nothing or calls it ambivalent. */
export function blkid(
  path: string,
): { type: string; uuid: string | null; label: string | null; version: string | null } | null {
  const result = spawnSync("blkid", ["-p", "-o", "udev", path], { env: ENV, encoding: "utf8" });
  const found = new Map(
    result.stdout
      .trim()
      .split("\n")
      .map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)] as const),
  );
  const value = (key: string) => {
    const text = found.get(key);
    if (text === undefined) return null;
    const bytes = text.replace(/\\x([0-9a-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
    return bytes;
  };
  const type = value("ID_FS_TYPE");
  if (type === null) return null;
  return { type, uuid: value("ID_FS_UUID_ENC"), label: value("ID_FS_LABEL_ENC"), version: value("ID_FS_VERSION") };
}

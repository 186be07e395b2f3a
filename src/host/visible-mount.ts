import { spawn, spawnSync } from "node:child_process";
import { existsSync, statSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { StorageError } from "../core/errors.ts";
import { takeDescriptor } from "./pidfd.ts";

/** $1: mode of the root in octal, $2: rw or ro, $3: the mount point. */
const MOUNT = `
exec 3<>/dev/fuse || exit 125
mount -i -t fuse -o "fd=3,rootmode=$1,user_id=0,group_id=0,$2" unterbau "$3" || exit 125
echo ready
read -r go
`;

export interface VisibleMount {
  /** The open /dev/fuse; belongs to the caller. */
  readonly fuseFd: number;
  /** Takes the mount away. A program that still has the file open keeps what it opened until it closes it. */
  unmount(): void;
}

/**
 * Mounts a FUSE file system whose root is one regular file on `path`, for every program of the host to see. Only root may
 * (`unsupported` for others); an empty file is made when none is there, and one with content is refused (`usage`).
 */
export async function mountVisibly(path: string, mode: number, readOnly: boolean): Promise<VisibleMount> {
  if (process.getuid?.() !== 0) {
    throw new StorageError("unsupported", "only root may show a file to the whole host", {
      feature: "export --fuse without root",
      hint: "use --nbd SOCKET, or exec, which shows the file to one program; or run it with sudo",
    });
  }
  const target = resolve(path);
  if (!existsSync(target)) writeFileSync(target, "", { mode: 0o600, flag: "wx" });
  const stat = statSync(target);
  if (!stat.isFile() || stat.size > 0) {
    throw new StorageError("usage", `${path} is there already and not an empty file`, {
      hint: "name a file that does not exist yet",
    });
  }
  const child = spawn("sh", ["-c", MOUNT, "sh", mode.toString(8), readOnly ? "ro" : "rw", target], {
    stdio: ["pipe", "pipe", "pipe"],
  });
  let messages = "";
  child.stderr.on("data", (c: Buffer) => {
    messages += c.toString();
  });
  await new Promise<void>((done, fail) => {
    child.stdout.once("data", () => done());
    child.once("error", fail);
    child.once("close", () =>
      fail(new StorageError("io", `cannot mount ${path}: ${messages.trim() || "mount failed"}`, { layer: "fuse" })),
    );
  });
  const unmount = (): void => {
    spawnSync("umount", ["-i", "-l", target], { stdio: "ignore" });
  };
  try {
    const fuseFd = takeDescriptor(child.pid!, 3);
    child.stdin.end("\n");
    return { fuseFd, unmount };
  } catch (error) {
    child.stdin.end("\n");
    unmount();
    throw error;
  }
}

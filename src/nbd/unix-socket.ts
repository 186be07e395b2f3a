import { chmodSync, linkSync, lstatSync, mkdtempSync, rmSync, type Stats } from "node:fs";
import { connect, type Server } from "node:net";
import { dirname, join } from "node:path";
import { ioError, StorageError } from "../core/errors.ts";

/** sizeof(sockaddr_un.sun_path) - 1 on Linux (unix(7)). */
const MAX_PATH_BYTES = 107;
/** Where the socket is bound before it gets its name: a folder that only its owner can enter. */
const PRIVATE_PREFIX = ".nbd-";

/**
 * Binds `server` to a Unix socket that nobody but its owner can connect to, at no moment: it is bound inside a private folder,
 * gets mode 0600, and only then its name. A socket file that nobody listens on any more is replaced; anything else at
 * `path` is refused. Returns how to remove the name again, which leaves what others put there alone.
 */
export async function listenPrivate(server: Server, path: string): Promise<() => void> {
  await removeStale(path);
  let folder: string;
  try {
    folder = mkdtempSync(join(dirname(path), PRIVATE_PREFIX));
  } catch (error) {
    throw ioError(error, `cannot make the socket ${path}`, { layer: "nbd", hint: "check that its folder exists" });
  }
  try {
    const hidden = join(folder, "s");
    for (const candidate of [path, hidden]) {
      if (Buffer.byteLength(candidate) > MAX_PATH_BYTES)
        throw new StorageError("usage", `the socket path ${path} is too long`, {
          layer: "nbd",
          hint: `the system allows ${MAX_PATH_BYTES} bytes: choose a shorter path`,
        });
    }
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen({ path: hidden }, () => {
        server.off("error", reject);
        resolve();
      });
    });
    chmodSync(hidden, 0o600);
    const mine = lstatSync(hidden);
    linkSync(hidden, path);
    return () => removeIfSame(path, mine);
  } catch (error) {
    server.close();
    throw ioError(error, `cannot make the socket ${path}`, { layer: "nbd" });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function statOrNull(path: string): Stats | null {
  return lstatSync(path, { throwIfNoEntry: false }) ?? null;
}

function removeIfSame(path: string, mine: Stats): void {
  const there = statOrNull(path);
  if (there && there.ino === mine.ino && there.dev === mine.dev) rmSync(path, { force: true });
}

async function removeStale(path: string): Promise<void> {
  const there = statOrNull(path);
  if (!there) return;
  if (!there.isSocket())
    throw new StorageError("usage", `${path} exists and is not a socket`, {
      layer: "nbd",
      hint: "choose another path",
    });
  if (await answers(path))
    throw new StorageError("locked", `another program listens on ${path}`, {
      layer: "nbd",
      hint: "choose another path, or end that program",
    });
  removeIfSame(path, there);
}

/** False only when the system says that nobody listens. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(path);
    probe.once("connect", () => {
      probe.destroy();
      resolve(true);
    });
    probe.once("error", (error: NodeJS.ErrnoException) => resolve(error.code !== "ECONNREFUSED"));
  });
}

import { closeSync, readSync, writeSync, writev } from "node:fs";
import { errnoName, libc, type NativeFunction, systemError } from "./ffi.ts";

/** fcntl(2) and poll(2) on Linux; the same numbers on every architecture that Node runs on. */
const F_GETFL = 3;
const F_SETFL = 4;
const O_NONBLOCK = 0o4000;
const POLLIN = 1;
const POLLERR = 8;
/** struct pollfd: int fd; short events; short revents. */
const POLLFD_SIZE = 8;

/**
 * A program that reads a disk in small steps sends its next request within microseconds of the last reply. Waiting this long
 * for it right here saves two changes of thread for each request. The event loop stands still meanwhile, so it is done
 * only while nothing else is under way.
 */
const LINGER_MS = 1;
/** At most this long without letting timers, signals and pipes have their turn. */
const TURN_MS = 5;

interface Poll extends NativeFunction {
  async(...args: [...Parameters<NativeFunction>, (error: Error | null, result: number) => void]): void;
}

let poll: Poll | undefined;

/** The kernel's side of a FUSE mount on an open /dev/fuse, which it owns. See `FuseChannel` in fuse/channel.ts. */
export function fuseChannel(fd: number): {
  receive(into: Uint8Array, busy: () => boolean): Promise<number>;
  send(message: Uint8Array): boolean;
  sendAside(message: Uint8Array, rest: Uint8Array): Promise<boolean>;
  close(): Promise<void>;
} {
  try {
    poll ??= libc().libc.func("int poll(uint8_t *, unsigned long, int)") as Poll;
    nonBlocking(fd);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  // The native call may still use this while the loop waits: one buffer for each kind of call.
  const now = pollfd(fd);
  const later = pollfd(fd);
  let turn = performance.now();
  let closed = false;
  const aside = new Set<Promise<unknown>>();

  const whenReady = (): Promise<void> =>
    new Promise((resolve, reject) => {
      poll!.async(later, 1, -1, (error) => (error ? reject(error) : resolve()));
    });

  return {
    async receive(into, busy) {
      for (;;) {
        if (performance.now() - turn > TURN_MS) {
          await new Promise<void>((resolve) => setImmediate(resolve));
          turn = performance.now();
        }
        if (Number(poll!(now, 1, busy() ? 0 : LINGER_MS)) <= 0) {
          await whenReady();
          turn = performance.now();
        }
        const length = tryRead(fd, into);
        if (length !== null) return length;
      }
    },
    send(message) {
      try {
        writeSync(fd, message);
        return true;
      } catch (error) {
        if (unwanted(error)) return false;
        throw error;
      }
    },
    async sendAside(message, rest) {
      if (closed) return false;
      const sent = new Promise<boolean>((resolve, reject) => {
        writev(fd, [message, rest], (error) => {
          if (error && !unwanted(error)) reject(error);
          else resolve(error === null);
        });
      });
      aside.add(sent);
      const settled = (): void => void aside.delete(sent);
      sent.then(settled, settled);
      return sent;
    },
    async close() {
      closed = true;
      // The number of the descriptor may be given to another file at once.
      await Promise.allSettled(aside);
      closeSync(fd);
    },
  };
}

/** The mount is gone (ENODEV), or the connection was ended from outside. */
const GONE = new Set(["ENODEV", "ECONNABORTED", "ENOTCONN"]);

/** ENOENT: the program was killed meanwhile and its request dropped. */
function unwanted(error: unknown): boolean {
  const code = codeOf(error);
  return code === "ENOENT" || GONE.has(code);
}

/** The length of one request, 0 when the mount is gone, null when there is none (any more): fuse(4), "ERRORS". */
function tryRead(fd: number, into: Uint8Array): number | null {
  try {
    return readSync(fd, into, 0, into.length, null);
  } catch (error) {
    const code = codeOf(error);
    if (GONE.has(code)) return 0;
    // ENOENT: it was interrupted before it could be read.
    if (code === "ENOENT" || code === "EINTR" || code === "EAGAIN") return null;
    throw error;
  }
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? "";
}

function pollfd(fd: number): Uint8Array {
  const out = new Uint8Array(POLLFD_SIZE);
  const view = new DataView(out.buffer);
  view.setInt32(0, fd, true);
  view.setInt16(4, POLLIN + POLLERR, true);
  return out;
}

/** A request can be withdrawn between poll and read; the read must not block then. */
function nonBlocking(fd: number): void {
  const { libc: c, errno } = libc();
  const fcntl = c.func("int fcntl(int, int, long)");
  const flags = Number(fcntl(fd, F_GETFL, 0));
  if (flags >= 0 && Number(fcntl(fd, F_SETFL, flags | O_NONBLOCK)) === 0) return;
  throw systemError(`cannot prepare /dev/fuse (${errnoName(errno())})`, errno());
}

import { closeSync } from "node:fs";
import { errnoName, libc, type NativeFunction, systemError } from "./ffi.ts";

/**
 * Numbers from the kernel's include/uapi/asm-generic/unistd.h: both calls are younger than the split of the tables, so they
 * are the same on every architecture that Node runs on.
 */
const SYS_PIDFD_OPEN = 434;
const SYS_PIDFD_GETFD = 438;

let call: NativeFunction | undefined;

function syscall(number: number, a: number, b: number, c: number): number {
  call ??= libc().libc.func("long syscall(long, long, long, long, long, long, long)");
  return Number(call(number, a, b, c, 0, 0, 0));
}

/**
 * A duplicate, in this process and closed on exec, of descriptor `fd` of a child process (pidfd_getfd(2), Linux 5.6).
 * Both then share one open file description. Needs the right to trace the child.
 */
export function takeDescriptor(pid: number, fd: number): number {
  const pidfd = syscall(SYS_PIDFD_OPEN, pid, 0, 0);
  if (pidfd < 0) throw systemError(`cannot open the process ${pid}`, libc().errno());
  try {
    const taken = syscall(SYS_PIDFD_GETFD, pidfd, fd, 0);
    if (taken >= 0) return taken;
    const errno = libc().errno();
    throw systemError("cannot take over a descriptor of a child process", errno, hintFor(errnoName(errno)));
  } finally {
    closeSync(pidfd);
  }
}

function hintFor(name: string): string | undefined {
  switch (name) {
    case "ENOSYS":
      return "pidfd_getfd(2) needs Linux 5.6";
    case "EPERM":
    case "EACCES":
      return "this host forbids tracing even one's own children: see sysctl kernel.yama.ptrace_scope, or run with sudo";
    default:
      return undefined;
  }
}

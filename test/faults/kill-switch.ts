import { createRequire, syncBuiltinESMExports } from "node:module";

type Call = (...args: unknown[]) => unknown;

/**
 * Ends this process by SIGKILL at the n-th moment at which it changes a file: before each changing system call, and in the middle of a
 * write that spans pages, where a kernel may stop too. Moments are counted from 1; a number beyond the last kills nothing.
 */
export function killAtChange(n: number): void {
  const fs = createRequire(import.meta.url)("node:fs") as Record<string, Call>;
  let moment = 0;
  const here = () => {
    if (++moment === n) process.kill(process.pid, "SIGKILL");
  };
  for (const name of ["fsyncSync", "fdatasyncSync", "ftruncateSync", "renameSync", "mkdirSync", "writeFileSync"]) {
    const original = fs[name]!;
    fs[name] = (...args) => {
      here();
      return original(...args);
    };
  }
  const open = fs.openSync!;
  fs.openSync = (...args) => {
    if (typeof args[1] === "number" && (args[1] & 0o100) !== 0) here();
    return open(...args);
  };
  const write = fs.writeSync!;
  fs.writeSync = (...args) => {
    here();
    const [fd, bytes, from, length, position] = args as [number, Uint8Array, number, number, number];
    const cut = 4096 - (position % 4096) + 4096 * Math.floor(length / 8192);
    if (cut < length) {
      if (moment + 1 === n) write(fd, bytes, from, cut, position);
      here();
    }
    return write(...args);
  };
  syncBuiltinESMExports();
}

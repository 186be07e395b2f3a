import { readFileSync, type Stats } from "node:fs";

/**
 * False: nobody holds a lock on the file. True: somebody may. From /proc/locks, which takes a tenth of the time of a question with
 * fcntl(2) from here. It names files by device and inode (Linux, Documentation/filesystems/proc.rst, "locks"), which are those of stat(2)
 * on file systems of one block device only; and locks that another machine holds on a network file system are not in it.
 */
export function mayBeLocked({ dev, ino }: Stats, list: () => string = systemLocks): boolean {
  const major = (dev >>> 8) & 0xfff;
  if (major === 0) return true;
  let text: string;
  try {
    text = list();
  } catch {
    return true;
  }
  // `1: OFDLCK ADVISORY  READ -1 fd:01:1234 100 100`; who waits for a lock comes with `->` after the number.
  const file = new RegExp(`(POSIX|OFDLCK).* [0-9a-f]+:[0-9a-f]+:${ino} `);
  return file.test(text);
}

function systemLocks(): string {
  return readFileSync("/proc/locks", "latin1");
}

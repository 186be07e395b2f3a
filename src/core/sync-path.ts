import { closeSync, fsyncSync, openSync } from "node:fs";

/** fsync(2) of a file, or of a folder: that makes the names in it durable. Throws the system's error. */
export function syncPath(path: string): void {
  const fd = openSync(path, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

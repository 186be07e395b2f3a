import { libc, type NativeFunction } from "./ffi.ts";

/** sync_file_range(2): starts to write dirty pages, and waits for none. */
const SYNC_FILE_RANGE_WRITE = 2;

interface SyncFileRange extends NativeFunction {
  async(...args: [...Parameters<NativeFunction>, (error: Error | null, result: number) => void]): void;
}

let syncFileRange: SyncFileRange | undefined;

/**
 * Has the kernel begin to write a file's bytes to the disk. It makes nothing durable, and reports no error: what fails is told by the next
 * fdatasync of the file.
 */
export function systemWriteBack(fd: number, offset: number, length: number): Promise<void> {
  syncFileRange ??= libc().libc.func("int sync_file_range(int, int64_t, int64_t, unsigned int)") as SyncFileRange;
  const call = syncFileRange;
  // On another thread: it finds places on the disk for what is new, and puts requests into a queue that may be full.
  return new Promise((resolve) => call.async(fd, offset, length, SYNC_FILE_RANGE_WRITE, () => resolve()));
}

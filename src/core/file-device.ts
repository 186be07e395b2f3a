import {
  closeSync,
  fdatasync,
  fdatasyncSync,
  fstatSync,
  ftruncateSync,
  openSync,
  read,
  readSync,
  type Stats,
  statSync,
  write,
  writeSync,
} from "node:fs";
import { checked } from "./checked.ts";
import type { BlockDevice, Capabilities, Extent } from "./device.ts";
import { ioError, StorageError } from "./errors.ts";

/** Requests are cut into pieces of this many bytes, so that an abort is seen and the event loop runs between them. */
const CHUNK = 8 * 1024 * 1024;
const ZEROS = new Uint8Array(1024 * 1024);
/** From so many bytes on, the way to the thread pool and back costs little beside the request itself. */
const LARGE = 256 * 1024;

const PIECE = 1024 * 1024;
/** In the background, so many written bytes are sent on to the disk while the next are made: the last flush then has little left to wait for. */
const EARLY = 64 * 1024 * 1024;
/** The same where a file grows: the disk is to have work from early on. */
const EARLY_GROWING = 16 * 1024 * 1024;

/** Finds the next data or hole at or after an offset (lseek(2) SEEK_DATA and SEEK_HOLE). */
export interface HoleFinder {
  /** Offset of the next data byte, or null when only a hole follows. */
  nextData(fd: number, offset: number): number | null;
  /** Offset of the next hole; the file's end counts as one. */
  nextHole(fd: number, offset: number): number;
}

/** Has a file's bytes brought into the page cache while the caller goes on (posix_fadvise(2), POSIX_FADV_WILLNEED). Whether it works does not matter. */
export type Prefetcher = (fd: number, offset: number, length: number) => void;

/** Has the system begin to write a file's bytes to the disk (sync_file_range(2)). Makes nothing durable and hides no error from a flush; never rejects. */
export type WriteBack = (fd: number, offset: number, length: number) => Promise<void>;

export interface FileDeviceOptions {
  readonly writable?: boolean;
  /** Bytes, for block devices (their stat size is 0). Default: the file's size. */
  readonly size?: number;
  readonly sectorSize?: number;
  readonly holes?: HoleFinder | undefined;
  readonly prefetcher?: Prefetcher | undefined;
  /** For `background`, while a file grows. */
  readonly writeBack?: WriteBack | undefined;
  /**
   * Large reads go to the thread pool, and what was written is sent on to the disk from there, so that the caller can work on other data
   * meanwhile: for copying. So do writes while a file grows; where its blocks are there already they are done in place, with the data still in
   * this processor's cache.
   */
  readonly background?: boolean | undefined;
  /** Open with O_EXCL: on a block device the kernel refuses while it is mounted or held. */
  readonly exclusive?: boolean;
}

/**
 * A regular file or block device. Reads and writes are plain synchronous pread/pwrite: for local storage that takes less time
 * than a thread-pool round trip, and the program has nothing else to do meanwhile.
 */
export interface FileDevice extends BlockDevice {
  readonly fd: number;
  readonly stat: Stats;
}

/** Opens `path`. Throws `io` with the system's reason. */
export function openFileDevice(path: string, options: FileDeviceOptions = {}): FileDevice {
  const { O_RDONLY, O_RDWR, O_EXCL, O_CLOEXEC } = FLAGS;
  let fd: number;
  try {
    refuseOthers(path, statSync(path));
    fd = openSync(path, (options.writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | (options.exclusive ? O_EXCL : 0));
  } catch (error) {
    throw ioError(error, `cannot open ${path}`, { layer: "file", hint: hintFor(error) });
  }
  try {
    const stat = fstatSync(fd);
    refuseOthers(path, stat);
    const bare = new BareFile(fd, path, stat, options);
    return Object.assign(checked(bare, "file"), { fd, stat });
  } catch (error) {
    closeSync(fd);
    throw ioError(error, `cannot use ${path}`, { layer: "file" });
  }
}

/** Asked before opening too: to open a pipe waits for its other end, and to open a character device may do anything. */
function refuseOthers(path: string, stat: Stats): void {
  if (stat.isFile() || stat.isBlockDevice()) return;
  const kind = stat.isDirectory() ? "a directory" : "neither a regular file nor a block device";
  throw new StorageError("usage", `${path} is ${kind}`, {
    layer: "file",
    hint: "name an image file or a block device",
  });
}

const FLAGS = { O_RDONLY: 0, O_RDWR: 2, O_EXCL: 0o200, O_CLOEXEC: 0o2000000 };

function hintFor(error: unknown): string | undefined {
  switch ((error as NodeJS.ErrnoException).code) {
    case "EACCES":
    case "EPERM":
      return "read permission is missing: run it as the file's owner, as a member of its group (disk, kvm, libvirt-qemu), or with sudo";
    case "ENOENT":
      return "check the path";
    case "EBUSY":
      return "something on this host uses the device: see lsblk, findmnt and fuser";
    default:
      return undefined;
  }
}

type Aside = (fd: number, bytes: Uint8Array, at: number, length: number, offset: number) => Promise<number>;

const readAside: Aside = (fd, bytes, at, length, offset) =>
  new Promise((resolve, reject) => {
    read(fd, bytes, at, length, offset, (error, n) => (error ? reject(error) : resolve(n)));
  });
const writeAside: Aside = (fd, bytes, at, length, offset) =>
  new Promise((resolve, reject) => {
    write(fd, bytes, at, length, offset, (error, n) => (error ? reject(error) : resolve(n)));
  });

class BareFile implements BlockDevice {
  readonly caps: Capabilities;
  readonly resize?: (size: number) => Promise<void>;
  readonly prefetch?: (offset: number, length: number) => Promise<void>;
  #size: number;
  readonly #fd: number;
  readonly #path: string;
  readonly #holes: HoleFinder | undefined;
  readonly #background: boolean;
  /** All blocks are there already. While a file grows, flushing it and writing to it are in each other's way. */
  readonly #sendsEarly: boolean;
  readonly #writeBack: WriteBack | undefined;
  /** What was written since the last write-back began, from its first byte to its last. */
  #dirty: { start: number; end: number } | null = null;
  /** Bytes written since the last flush began. */
  #unsent = 0;
  /** A flush that goes on beside the writing; it never rejects. */
  #early: Promise<void> | null = null;
  /** What such a flush failed with. The kernel tells of an error once, so it is kept for the flush that somebody waits for. */
  #lost: Error | null = null;

  constructor(fd: number, path: string, stat: Stats, options: FileDeviceOptions) {
    this.#fd = fd;
    this.#path = path;
    this.#size = options.size ?? stat.size;
    this.#background = options.background ?? false;
    this.#writeBack = options.writeBack;
    this.#sendsEarly = stat.isBlockDevice() || (stat.size > 0 && stat.blocks * 512 >= stat.size);
    this.#holes = stat.isFile() ? options.holes : undefined;
    this.caps = {
      writable: options.writable ?? false,
      alignment: 1,
      sectorSize: options.sectorSize ?? 512,
      optimalIo: 1024 * 1024,
      extents: this.#holes !== undefined,
      zero: false,
      discard: false,
    };
    const { prefetcher } = options;
    if (prefetcher) this.prefetch = async (offset, length) => prefetcher(fd, offset, length);
    if (stat.isFile()) {
      this.resize = async (size) => {
        this.#guard("resize", size, () => ftruncateSync(fd, size));
        this.#size = size;
      };
    }
  }

  get size(): number {
    return this.#size;
  }

  async read(into: Uint8Array, offset: number): Promise<void> {
    if (this.#background && into.length >= LARGE) return this.#aside(readAside, "read", into, offset);
    this.#guard("read", offset, () => {
      for (let done = 0; done < into.length; ) {
        const n = readSync(this.#fd, into, done, Math.min(CHUNK, into.length - done), offset + done);
        if (n === 0) throw new Error("the file ended early: it was truncated while it was open");
        done += n;
      }
    });
  }

  async write(from: Uint8Array, offset: number): Promise<void> {
    if (this.#background && !this.#sendsEarly && from.length >= LARGE) {
      await this.#aside(writeAside, "write", from, offset);
      this.#sendGrown(offset, from.length);
      return;
    }
    this.#guard("write", offset, () => {
      for (let done = 0; done < from.length; ) {
        done += writeSync(this.#fd, from, done, Math.min(CHUNK, from.length - done), offset + done);
      }
    });
    if (this.#background) this.#sendEarly(from.length);
  }

  async zero(offset: number, length: number): Promise<void> {
    for (let done = 0; done < length; done += ZEROS.length) {
      await this.write(ZEROS.subarray(0, Math.min(ZEROS.length, length - done)), offset + done);
    }
  }

  async discard(): Promise<void> {}

  async *extents(offset: number, length: number): AsyncIterable<Extent> {
    const holes = this.#holes;
    const end = offset + length;
    if (!holes) {
      yield { offset, length, kind: "data" };
      return;
    }
    for (let at = offset; at < end; ) {
      const data = Math.min(holes.nextData(this.#fd, at) ?? end, end);
      if (data > at) yield { offset: at, length: data - at, kind: "hole" };
      if (data >= end) return;
      const hole = Math.min(Math.max(holes.nextHole(this.#fd, data), data + 1), end);
      yield { offset: data, length: hole - data, kind: "data" };
      at = hole;
    }
  }

  async flush(): Promise<void> {
    if (this.#background) {
      await this.#early;
      await this.#send();
    }
    this.#guard("flush", undefined, () => {
      if (this.#lost) throw this.#lost;
      if (!this.#background) fdatasyncSync(this.#fd);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Its descriptor must not become another file's.
    await this.#early;
    closeSync(this.#fd);
  }

  /** A flush on the thread pool. */
  #send(): Promise<void> {
    this.#unsent = 0;
    return new Promise((resolve) => {
      fdatasync(this.#fd, (error) => {
        this.#lost ??= error;
        resolve();
      });
    });
  }

  #sendEarly(written: number): void {
    this.#unsent += written;
    if (!this.#sendsEarly || this.#unsent < EARLY || this.#early) return;
    this.#early = this.#send().then(() => {
      this.#early = null;
    });
  }

  #sendGrown(offset: number, length: number): void {
    if (!this.#writeBack) return;
    this.#unsent += length;
    this.#dirty = {
      start: Math.min(this.#dirty?.start ?? offset, offset),
      end: Math.max(this.#dirty?.end ?? 0, offset + length),
    };
    if (this.#unsent < EARLY_GROWING || this.#early) return;
    const { start, end } = this.#dirty;
    this.#unsent = 0;
    this.#dirty = null;
    this.#early = this.#writeBack(this.#fd, start, end - start).then(() => {
      this.#early = null;
    });
  }

  async #aside(act: Aside, what: "read" | "write", bytes: Uint8Array, offset: number): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      try {
        const n = await act(this.#fd, bytes, done, Math.min(bytes.length - done, PIECE), offset + done);
        if (n === 0) throw new Error("the file ended early: it was truncated while it was open");
        done += n;
      } catch (error) {
        this.#guard(what, offset, () => {
          throw error;
        });
      }
    }
  }

  #guard<T>(what: string, offset: number | undefined, act: () => T): T {
    try {
      return act();
    } catch (error) {
      const full = (error as NodeJS.ErrnoException).code === "ENOSPC";
      throw ioError(error, `cannot ${what} ${this.#path}`, {
        layer: "file",
        offset,
        hint: full ? "the file system that holds it is full: free space there and repeat" : undefined,
      });
    }
  }
}

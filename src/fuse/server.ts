import { constants } from "node:os";
import type { BlockDevice } from "../core/device.ts";
import { ioError, type StorageError } from "../core/errors.ts";
import type { FuseChannel } from "./channel.ts";
import { MAX_TRANSFER, negotiate } from "./init.ts";
import * as ops from "./operations.ts";
import { RequestOrder } from "./order.ts";
import * as P from "./protocol.ts";
import { type FilePiece, pushPieces } from "./push.ts";

export interface FuseOptions {
  /**
   * Of a mount whose root is a regular file (`rootmode=100600`, see `fileMode`). The server closes it.
   */
  readonly channel: FuseChannel;
  readonly device: BlockDevice;
  /** The file is shown with mode 0400 and opens for writing are refused (EACCES). */
  readonly readOnly: boolean;
  /** From then on every request, also one that the device still works on, is answered with EIO. */
  readonly signal?: AbortSignal | undefined;
}

export interface FuseStats {
  requests: number;
  reads: number;
  bytesRead: number;
  /** WRITE and FALLOCATE. */
  writes: number;
  bytesWritten: number;
  flushes: number;
  /** Put into the kernel's cache before the program asked. */
  bytesPushed: number;
}

export interface FuseEnd {
  /**
   * The first thing that went wrong below the file. The program got an errno for it and may have gone on: whatever it
   * concluded after that is no verdict on the device.
   */
  readonly firstError: StorageError | null;
}

export interface FuseServer {
  /** Resolves when the mount is gone and no request runs any more; never rejects. */
  readonly done: Promise<FuseEnd>;
  readonly stats: Readonly<FuseStats>;
  /** What `done` will report so far. */
  readonly firstError: StorageError | null;
  /**
   * Puts pieces of the file into the kernel's cache, until the first READ or change arrives. The program must not have begun (see
   * pushPieces), and somebody must have asked for the file's size. Never rejects: what cannot be read now will fail when the program asks for it.
   */
  push(pieces: AsyncIterable<FilePiece>): Promise<void>;
}

/** A READ's or WRITE's data and the headers before it. */
const REQUEST_BUFFER = MAX_TRANSFER + P.IN_HEADER_SIZE + P.WRITE_IN_SIZE + 4096;
/** READs answered at the same time; each holds a reply buffer of a MiB. */
const READS_IN_FLIGHT = 8;

const { ENOSYS, EIO } = constants.errno;

/** Requests during which the kernel may hold pages of the file. */
const USES = new Set<number>([P.Opcode.READ, P.Opcode.WRITE, P.Opcode.FALLOCATE, P.Opcode.SETATTR]);

/**
 * Shows `device` as one regular file: answers the kernel's requests until the mount is gone.
 * Reads run beside each other, changes run alone and in order; the device is not disposed of.
 */
export function serveFuse(options: FuseOptions): FuseServer {
  return new Server(options);
}

class Server implements FuseServer {
  readonly done: Promise<FuseEnd>;
  readonly stats: FuseStats = {
    requests: 0,
    reads: 0,
    bytesRead: 0,
    writes: 0,
    bytesWritten: 0,
    flushes: 0,
    bytesPushed: 0,
  };
  firstError: StorageError | null = null;
  readonly #channel: FuseChannel;
  readonly #file: ops.ServedFile;
  readonly #signal: AbortSignal | undefined;
  readonly #order = new RequestOrder();
  readonly #buffers: Uint8Array[] = [];
  /** Requests without an answer yet; on abort they are answered before the device is done with them. */
  readonly #open = new Set<bigint>();
  #reading = 0;
  #pushing = false;
  /** A program has read or changed the file. */
  #used = false;
  #readDone: (() => void) | null = null;
  readonly #aborted = signalled();
  #ended = false;

  constructor(options: FuseOptions) {
    this.#channel = options.channel;
    this.#file = { device: options.device, readOnly: options.readOnly };
    this.#signal = options.signal;
    this.done = this.#run();
  }

  async #run(): Promise<FuseEnd> {
    const abort = (): void => this.#abort();
    this.#signal?.addEventListener("abort", abort, { once: true });
    let request = new Uint8Array(REQUEST_BUFFER);
    let abandoned = false;
    const busy = (): boolean => this.#open.size > 0 || this.#pushing;
    try {
      for (;;) {
        const length = await this.#channel.receive(request, busy);
        if (length === 0) break;
        await Promise.race([this.#dispatch(request.subarray(0, length)), this.#aborted.promise]);
        if (this.#signal?.aborted && !abandoned) {
          // A write that the device still works on goes on reading its data from the old buffer.
          request = new Uint8Array(REQUEST_BUFFER);
          abandoned = true;
        }
      }
    } catch (error) {
      this.#remember(ioError(error, "the connection to the kernel failed", { layer: "fuse" }));
    } finally {
      this.#signal?.removeEventListener("abort", abort);
      this.#ended = true;
      if (!this.#signal?.aborted) await this.#order.idle();
      // Also ends the connection, should something still hold the mount: its programs get errors, not silence.
      await this.#channel.close();
    }
    return { firstError: this.firstError };
  }

  async push(pieces: AsyncIterable<FilePiece>): Promise<void> {
    this.#pushing = true;
    try {
      await this.#order.read(() => pushPieces(this.#channel, this.#counted(pieces), () => this.#mayPush()));
    } catch {
      // Nothing is lost: the program's own read of the same bytes tells what is wrong with them.
    } finally {
      this.#pushing = false;
    }
  }

  #mayPush(): boolean {
    return !this.#used && !this.#ended && !this.#signal?.aborted;
  }

  async *#counted(pieces: AsyncIterable<FilePiece>): AsyncGenerator<FilePiece> {
    for await (const piece of pieces) {
      yield piece;
      this.stats.bytesPushed += piece.bytes.length;
    }
  }

  /** Resolves when `request` may be overwritten and the next one should be taken. */
  async #dispatch(request: Uint8Array): Promise<void> {
    const { opcode, unique } = P.inHeader.decode(request);
    const body = request.subarray(P.IN_HEADER_SIZE);
    this.stats.requests++;
    if (opcode === P.Opcode.FORGET || opcode === P.Opcode.BATCH_FORGET || opcode === P.Opcode.INTERRUPT) return;
    this.#open.add(unique);
    if (this.#signal?.aborted) return this.#reply(unique, EIO);
    if (USES.has(opcode)) this.#used = true;
    if (opcode !== P.Opcode.READ) {
      try {
        this.#reply(unique, 0, await this.#answer(opcode, body));
      } catch (error) {
        this.#fail(unique, error);
      }
      return;
    }
    const range = ops.readRange(this.#file, body);
    this.#reading++;
    void this.#order.read(() => this.#read(unique, range));
    if (this.#reading >= READS_IN_FLIGHT) {
      await new Promise<void>((resolve) => {
        this.#readDone = resolve;
      });
    }
  }

  /** Everything but READ. The result is the reply's body. */
  async #answer(opcode: number, body: Uint8Array): Promise<Uint8Array | undefined> {
    const file = this.#file;
    switch (opcode) {
      case P.Opcode.INIT:
        return negotiate(body);
      case P.Opcode.GETATTR:
        return ops.attributes(file);
      case P.Opcode.SETATTR:
        return ops.setAttributes(file, body);
      case P.Opcode.OPEN:
        return ops.open(file, body);
      case P.Opcode.STATFS:
        return ops.statfs(file);
      case P.Opcode.WRITE: {
        const out = await this.#order.change(() => ops.write(file, body));
        this.stats.writes++;
        this.stats.bytesWritten += body.length - P.WRITE_IN_SIZE;
        return out;
      }
      case P.Opcode.FALLOCATE:
        await this.#order.change(() => ops.allocate(file, body));
        this.stats.writes++;
        return undefined;
      case P.Opcode.FSYNC:
      case P.Opcode.SYNCFS:
        this.stats.flushes++;
        if (!file.readOnly) await this.#order.change(() => file.device.flush());
        return undefined;
      case P.Opcode.LSEEK:
        return this.#order.read(() => ops.seek(file, body));
      case P.Opcode.ACCESS:
      case P.Opcode.FLUSH:
      case P.Opcode.RELEASE:
      case P.Opcode.DESTROY:
        return undefined;
      default:
        // For most operations (extended attributes, ioctl, poll) the kernel takes this as "never ask again".
        throw new ops.Refused(ENOSYS);
    }
  }

  /** Data go from the device straight behind the reply's header. */
  async #read(unique: bigint, range: { offset: number; length: number }): Promise<void> {
    const buffer = this.#buffers.pop() ?? new Uint8Array(P.OUT_HEADER_SIZE + MAX_TRANSFER);
    const whole = P.OUT_HEADER_SIZE + range.length;
    const message = whole <= buffer.length ? buffer.subarray(0, whole) : new Uint8Array(whole);
    try {
      if (range.length > 0) {
        await this.#file.device.read(message.subarray(P.OUT_HEADER_SIZE), range.offset, { signal: this.#signal });
      }
      this.stats.reads++;
      this.stats.bytesRead += range.length;
      this.#send(unique, 0, message);
    } catch (error) {
      this.#fail(unique, error);
    } finally {
      this.#buffers.push(buffer);
      this.#reading--;
      this.#readDone?.();
      this.#readDone = null;
    }
  }

  #fail(unique: bigint, error: unknown): void {
    const { errno, deviceError } = ops.failure(error);
    if (deviceError && !this.#signal?.aborted) this.#remember(deviceError);
    this.#reply(unique, errno);
  }

  #reply(unique: bigint, errno: number, body?: Uint8Array): void {
    const message = new Uint8Array(P.OUT_HEADER_SIZE + (body?.length ?? 0));
    if (body) message.set(body, P.OUT_HEADER_SIZE);
    this.#send(unique, errno, message);
  }

  #send(unique: bigint, errno: number, message: Uint8Array): void {
    if (!this.#open.delete(unique)) return;
    P.outHeader.encode({ len: message.length, error: -errno, unique }, message);
    try {
      this.#channel.send(message);
    } catch (error) {
      this.#remember(ioError(error, "cannot answer the kernel", { layer: "fuse" }));
    }
  }

  #remember(error: StorageError): void {
    this.firstError ??= error;
  }

  #abort(): void {
    for (const unique of [...this.#open]) this.#reply(unique, EIO);
    this.#aborted.fire();
  }
}

function signalled(): { promise: Promise<void>; fire: () => void } {
  let fire = (): void => undefined;
  const promise = new Promise<void>((resolve) => {
    fire = resolve;
  });
  return { promise, fire };
}

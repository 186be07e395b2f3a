import { connect, type Socket } from "node:net";
import { checked } from "../core/checked.ts";
import type { BlockDevice, Capabilities, Extent, ExtentKind, IoOptions } from "../core/device.ts";
import { ioError, StorageError } from "../core/errors.ts";
import { type Call, ClientConnection } from "./client-connection.ts";
import { ClientHandshake, type ServerOffer } from "./client-handshake.ts";
import { AllocationState, Command, CommandFlag, TransmissionFlag } from "./protocol.ts";
import { connectionLost, SocketReader, SocketWriter } from "./socket-io.ts";

export { parseNbdUri } from "./uri.ts";

export interface OpenNbdOptions {
  readonly socketPath: string;
  /** Empty: the server's default export. */
  readonly exportName: string;
  readonly writable?: boolean;
  /** Milliseconds for connecting and the handshake. */
  readonly timeoutMs?: number;
  /** Milliseconds without a byte from the server, while it owes an answer, after which the connection is given up. */
  readonly requestTimeoutMs?: number;
}

const TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 120_000;
const CLOSE_GRACE_MS = 2_000;
/** Reads and writes are cut into pieces of this many bytes, several of which are under way at a time. */
const PIECE = 2 * 1024 * 1024;
/** Bytes of one request to zero or discard, so that each is answered within the timeout. */
const ZERO_PIECE = 128 * 1024 * 1024;
const STATUS_PIECE = 1024 * 1024 * 1024;

/** Opens an export on a Unix socket. Errors: `io`, `usage` (no such export), `read-only`, `unsupported` (TLS, old servers, no flush). */
export async function openNbd(options: OpenNbdOptions): Promise<BlockDevice> {
  const socket = await connectTo(options);
  const reader = new SocketReader(socket);
  const writer = new SocketWriter(socket);
  try {
    const handshake = new ClientHandshake(reader, writer, options.exportName);
    const offer = await within(options.timeoutMs ?? TIMEOUT_MS, socket, handshake.run());
    const writable = options.writable ?? false;
    if (writable) refuseUnwritable(offer);
    const timeout = options.requestTimeoutMs ?? REQUEST_TIMEOUT_MS;
    const connection = new ClientConnection(socket, reader, writer, offer.structured, timeout);
    return checked(new NbdDevice(connection, offer, writable), "nbd");
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

async function connectTo({ socketPath, timeoutMs = TIMEOUT_MS }: OpenNbdOptions): Promise<Socket> {
  const socket = connect(socketPath);
  try {
    await within(
      timeoutMs,
      socket,
      new Promise<void>((resolve, reject) => {
        socket.once("connect", resolve);
        socket.once("error", reject);
      }),
    );
    return socket;
  } catch (error) {
    socket.on("error", () => undefined);
    socket.destroy();
    throw ioError(error, `cannot connect to ${socketPath}`, {
      layer: "nbd",
      hint: "check that the NBD server runs and that the path is its socket's",
    });
  }
}

/** `work`, or `io` after that many milliseconds. */
async function within<T>(milliseconds: number, socket: Socket, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(connectionLost(`no answer within ${milliseconds / 1000} s`));
      socket.destroy();
    }, milliseconds);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

function refuseUnwritable({ flags }: ServerOffer): void {
  if (flags & TransmissionFlag.READ_ONLY)
    throw new StorageError("read-only", "the NBD server exports it for reading only", { layer: "nbd" });
  if ((flags & (TransmissionFlag.SEND_FLUSH | TransmissionFlag.SEND_FUA)) === 0)
    throw new StorageError("unsupported", "the NBD server cannot make writes durable (neither flush nor FUA)", {
      layer: "nbd",
      feature: "NBD_FLAG_SEND_FLUSH",
    });
}

class NbdDevice implements BlockDevice {
  readonly size: number;
  readonly caps: Capabilities;
  readonly #connection: ClientConnection;
  readonly #offer: ServerOffer;
  readonly #piece: number;
  /** FUA on every write, where the server has no flush. */
  readonly #flags: number;

  constructor(connection: ClientConnection, offer: ServerOffer, writable: boolean) {
    this.#connection = connection;
    this.#offer = offer;
    this.size = offer.size;
    this.#piece = Math.min(PIECE, offer.maximumPayload);
    this.#flags = this.#has(TransmissionFlag.SEND_FLUSH) ? 0 : CommandFlag.FUA;
    this.caps = {
      writable,
      alignment: offer.minimumBlock,
      sectorSize: 512,
      optimalIo: offer.preferredBlock,
      extents: offer.allocationId !== null,
      zero: this.#has(TransmissionFlag.SEND_WRITE_ZEROES),
      discard: this.#has(TransmissionFlag.SEND_TRIM),
    };
  }

  async read(into: Uint8Array, offset: number, options?: IoOptions): Promise<void> {
    await this.#inPieces(into.length, this.#piece, options, (at, length) => ({
      type: Command.READ,
      offset: offset + at,
      length,
      into: into.subarray(at, at + length),
    }));
  }

  async write(from: Uint8Array, offset: number, options?: IoOptions): Promise<void> {
    await this.#inPieces(from.length, this.#piece, options, (at, length) => ({
      type: Command.WRITE,
      flags: this.#flags,
      offset: offset + at,
      length,
      payload: from.subarray(at, at + length),
    }));
  }

  async zero(offset: number, length: number, options?: IoOptions): Promise<void> {
    if (!this.caps.zero) {
      const zeros = new Uint8Array(Math.min(length, this.#piece));
      for (let at = 0; at < length; at += zeros.length)
        await this.write(zeros.subarray(0, Math.min(zeros.length, length - at)), offset + at, options);
      return;
    }
    await this.#inPieces(length, ZERO_PIECE, options, (at, part) => ({
      type: Command.WRITE_ZEROES,
      flags: this.#flags,
      offset: offset + at,
      length: part,
    }));
  }

  async discard(offset: number, length: number): Promise<void> {
    if (!this.caps.discard) return;
    await this.#inPieces(length, ZERO_PIECE, undefined, (at, part) => ({
      type: Command.TRIM,
      offset: offset + at,
      length: part,
    }));
  }

  async *extents(offset: number, length: number, options?: IoOptions): AsyncIterable<Extent> {
    const end = offset + length;
    for (let at = offset; at < end; ) {
      if (options?.signal?.aborted) throw cancelled();
      const ask = Math.min(end - at, STATUS_PIECE);
      if (!this.caps.extents) {
        yield { offset: at, length: end - at, kind: "data" };
        return;
      }
      const status = await this.#connection.call({ type: Command.BLOCK_STATUS, offset: at, length: ask });
      const limit = at + ask;
      for (const run of this.#descriptors(status)) {
        if (at >= limit) break;
        // The last descriptor may reach beyond what was asked.
        const part = Math.min(run.length, limit - at);
        yield { offset: at, length: part, kind: run.kind };
        at += part;
      }
    }
  }

  async flush(): Promise<void> {
    // Without flush every write carried FUA and is durable already.
    if (this.#has(TransmissionFlag.SEND_FLUSH))
      await this.#connection.call({ type: Command.FLUSH, offset: 0, length: 0 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#connection.close(CLOSE_GRACE_MS);
  }

  #has(flag: number): boolean {
    return (this.#offer.flags & flag) !== 0;
  }

  #descriptors(status: Buffer): { length: number; kind: ExtentKind }[] {
    if (status.readUInt32BE(0) !== this.#offer.allocationId) throw malformedStatus();
    const runs: { length: number; kind: ExtentKind }[] = [];
    for (let at = 4; at < status.length; at += 8) {
      const length = status.readUInt32BE(at);
      if (length === 0) throw malformedStatus();
      runs.push({ length, kind: kindOf(status.readUInt32BE(at + 4)) });
    }
    return runs;
  }

  /**
   * Makes one call per piece, several under way. Returns only when all are over, so that nothing touches the caller's buffer
   * afterwards; throws the first failure.
   */
  async #inPieces(
    length: number,
    piece: number,
    options: IoOptions | undefined,
    callFor: (at: number, length: number) => Call,
  ): Promise<void> {
    const calls: Promise<unknown>[] = [];
    let failure: unknown = null;
    const AHEAD = 8;
    for (let at = 0; at < length && failure === null; at += piece) {
      if (options?.signal?.aborted) failure ??= cancelled();
      else
        calls.push(
          this.#connection.call(callFor(at, Math.min(piece, length - at))).catch((error: unknown) => {
            failure ??= error;
          }),
        );
      if (calls.length >= AHEAD) await calls.shift();
    }
    await Promise.all(calls);
    if (failure !== null) throw failure;
  }
}

/** A hole without the mark for zeros may read as anything: it is data. */
function kindOf(state: number): ExtentKind {
  if ((state & AllocationState.ZERO) === 0) return "data";
  return state & AllocationState.HOLE ? "hole" : "zero";
}

function cancelled(): StorageError {
  return new StorageError("cancelled", "cancelled", { layer: "nbd" });
}

function malformedStatus(): StorageError {
  return new StorageError("io", "NBD: the server sends a malformed block status", { layer: "nbd" });
}

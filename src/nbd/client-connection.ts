import type { Socket } from "node:net";
import { StorageError } from "../core/errors.ts";
import { protocolError } from "./client-handshake.ts";
import {
  Chunk,
  ChunkFlag,
  Command,
  encodeRequest,
  MAX_PAYLOAD,
  NbdError,
  SIMPLE_REPLY_MAGIC,
  STRUCTURED_REPLY_MAGIC,
} from "./protocol.ts";
import { ReadCoverage } from "./read-coverage.ts";
import { connectionLost, type SocketReader, type SocketWriter } from "./socket-io.ts";

/** Requests under way; qemu-nbd itself takes 16 at a time. */
const IN_FLIGHT = 16;
/** An error chunk is small; a server that announces more is lying. */
const MAX_CHUNK_BODY = 64 * 1024;
/** A block status has at most 2^20 runs in nbdkit (server/extents.c, MAX_EXTENTS), 2^17 in qemu-nbd (NBD_MAX_BLOCK_STATUS_EXTENTS). */
const MAX_STATUS_BODY = 4 + 8 * 1024 * 1024;
/** Chunks of one reply that carry neither bytes nor its end, so that a server cannot answer for ever. */
const MAX_ERROR_CHUNKS = 1024;

export interface Call {
  readonly type: number;
  readonly flags?: number;
  readonly offset: number;
  readonly length: number;
  /** For a write. */
  readonly payload?: Uint8Array;
  /** For a read: filled before `call` resolves, and not touched afterwards. */
  readonly into?: Uint8Array;
}

interface Pending extends Call {
  readonly coverage: ReadCoverage | null;
  /** Words of block status descriptors. */
  status: Buffer | null;
  failure: StorageError | null;
  errors: number;
  settle(error: StorageError | null): void;
}

/**
 * Requests and replies on one connection, several at a time. When the connection breaks, is silent for too long, or carries something
 * that the protocol forbids, every request fails at once and all later ones too.
 */
export class ClientConnection {
  readonly #socket: Socket;
  readonly #reader: SocketReader;
  readonly #writer: SocketWriter;
  readonly #structured: boolean;
  readonly #timeoutMs: number;
  #timer: NodeJS.Timeout | null = null;
  readonly #pending = new Map<bigint, Pending>();
  readonly #waiting: (() => void)[] = [];
  #active = 0;
  #cookie = 0n;
  #dead: StorageError | null = null;
  /** Requests are sent one after another, each whole. */
  #sending: Promise<unknown> = Promise.resolve();

  constructor(socket: Socket, reader: SocketReader, writer: SocketWriter, structured: boolean, timeoutMs: number) {
    this.#socket = socket;
    this.#reader = reader;
    this.#writer = writer;
    this.#structured = structured;
    this.#timeoutMs = timeoutMs;
    void this.#receive();
  }

  /** For a block status call the descriptors, else an empty buffer. Rejects with the server's error as a StorageError. */
  async call(call: Call): Promise<Buffer> {
    while (this.#active >= IN_FLIGHT) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#active++;
    try {
      return await this.#exchange(call);
    } finally {
      this.#active--;
      this.#waiting.shift()?.();
    }
  }

  /** Says goodbye and waits until the socket is closed, at most `graceMs`. */
  async close(graceMs: number): Promise<void> {
    const socket = this.#socket;
    if (!this.#dead) {
      this.#dead = new StorageError("io", "the NBD connection is closed already", { layer: "nbd" });
      const request = { flags: 0, type: Command.DISC, cookie: 0n, offset: 0n, length: 0 };
      await this.#writer.send(encodeRequest(request)).catch(() => undefined);
      socket.end();
    }
    if (socket.closed) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => socket.destroy(), graceMs);
      socket.once("close", () => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  async #exchange(call: Call): Promise<Buffer> {
    if (this.#dead) throw this.#dead;
    const cookie = this.#cookie++;
    return new Promise<Buffer>((resolve, reject) => {
      const pending: Pending = {
        ...call,
        coverage: call.into ? new ReadCoverage(call.offset, call.length) : null,
        status: null,
        failure: null,
        errors: 0,
        settle: (error) => {
          this.#pending.delete(cookie);
          if (error) reject(error);
          else resolve(pending.status ?? Buffer.alloc(0));
        },
      };
      this.#pending.set(cookie, pending);
      const { type, flags = 0, length } = call;
      const header = encodeRequest({ flags, type, cookie, offset: BigInt(call.offset), length });
      const parts = call.payload ? [header, call.payload] : [header];
      this.#sending = this.#sending
        .then(() => (this.#dead ? undefined : this.#writer.send(...parts)))
        .catch((error: StorageError) => this.#fail(error));
      this.#watch();
    });
  }

  /** Gives the connection up when, while an answer is owed, not a byte has moved in either direction for the whole time. */
  #watch(): void {
    const moved = () => this.#socket.bytesRead + this.#socket.bytesWritten;
    const before = moved();
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      if (this.#pending.size === 0) return;
      if (moved() === before) this.#fail(connectionLost(`no answer for ${this.#timeoutMs / 1000} s`));
      else this.#watch();
    }, this.#timeoutMs).unref();
  }

  #fail(error: StorageError): void {
    this.#dead ??= error;
    if (this.#timer) clearTimeout(this.#timer);
    this.#socket.destroy();
    for (const pending of [...this.#pending.values()]) pending.settle(this.#dead);
  }

  async #receive(): Promise<void> {
    try {
      for (;;) await this.#reply();
    } catch (error) {
      this.#fail(error instanceof StorageError ? error : connectionLost(String(error)));
    }
  }

  async #reply(): Promise<void> {
    const start = await this.#reader.read(16);
    const magic = start.readUInt32BE(0);
    const cookie = start.readBigUInt64BE(8);
    const pending = this.#pending.get(cookie);
    if (!pending) throw protocolError("the server answers a request that was not made");
    if (magic === SIMPLE_REPLY_MAGIC) return this.#simple(pending, start.readUInt32BE(4));
    if (magic !== STRUCTURED_REPLY_MAGIC || !this.#structured)
      throw protocolError("the server sends a malformed reply");
    const length = (await this.#reader.read(4)).readUInt32BE();
    const type = start.readUInt16BE(6);
    await this.#chunk(pending, type, length);
    if ((start.readUInt16BE(4) & ChunkFlag.DONE) === 0) {
      // "MUST always be used with the NBD_REPLY_FLAG_DONE bit set".
      if (type === Chunk.NONE) throw protocolError("an empty chunk that does not end its reply");
      return;
    }
    if (pending.failure) return pending.settle(pending.failure);
    if (pending.coverage && !pending.coverage.complete()) throw protocolError("the server left out a part of a read");
    if (pending.type === Command.BLOCK_STATUS && !pending.status) throw protocolError("a block status without content");
    pending.settle(null);
  }

  async #simple(pending: Pending, error: number): Promise<void> {
    if (error !== 0) return pending.settle(serverError(error, "", pending));
    if (this.#structured && (pending.into || pending.type === Command.BLOCK_STATUS))
      throw protocolError("the server answers a read without structure");
    if (pending.into) await this.#reader.readInto(pending.into);
    pending.settle(null);
  }

  async #chunk(pending: Pending, type: number, length: number): Promise<void> {
    if (type === Chunk.OFFSET_DATA && pending.into && length > 8 && length - 8 <= MAX_PAYLOAD) {
      const at = (await this.#reader.read(8)).readBigUInt64BE();
      const part = this.#place(pending, at, length - 8);
      return this.#reader.readInto(part);
    }
    if (length > (type === Chunk.BLOCK_STATUS ? MAX_STATUS_BODY : MAX_CHUNK_BODY))
      throw protocolError(`the server announces a chunk of ${length} bytes`);
    const body = await this.#reader.read(length);
    if (type === Chunk.NONE && length === 0) return;
    if (type === Chunk.OFFSET_HOLE && pending.into && length === 12) {
      this.#place(pending, body.readBigUInt64BE(0), body.readUInt32BE(8)).fill(0);
    } else if (
      type === Chunk.BLOCK_STATUS &&
      pending.type === Command.BLOCK_STATUS &&
      !pending.status &&
      isStatus(body)
    ) {
      pending.status = body;
    } else if (type >= 0x8000 && length >= 6 && body.readUInt32BE(0) !== 0) {
      if (++pending.errors > MAX_ERROR_CHUNKS) throw protocolError("the server sends errors without end");
      const text = body.toString("utf8", 6, 6 + Math.min(body.readUInt16BE(4), length - 6));
      pending.failure ??= serverError(body.readUInt32BE(0), text, pending);
    } else {
      throw protocolError(`a chunk of type ${type} with ${length} bytes does not belong here`);
    }
  }

  #place(pending: Pending, at: bigint, length: number): Uint8Array {
    const start = pending.coverage!.add(at, length);
    if (start === null) throw protocolError("the server sends bytes that were not asked for");
    return pending.into!.subarray(start, start + length);
  }
}

/** Context id, then at least one pair of length and state. */
function isStatus(body: Buffer): boolean {
  return body.length >= 12 && (body.length - 4) % 8 === 0;
}

function serverError(value: number, message: string, { type, offset }: Call): StorageError {
  const name = Object.entries(NbdError).find(([, number]) => number === value)?.[0] ?? `error ${value}`;
  const verb =
    Object.entries(Command)
      .find(([, number]) => number === type)?.[0]
      .toLowerCase() ?? "request";
  const detail = message === "" ? "" : `: ${message.slice(0, 300)}`;
  const code = value === NbdError.EPERM ? "read-only" : "io";
  return new StorageError(code, `the NBD server refused a ${verb} (${name})${detail}`, { layer: "nbd", offset });
}

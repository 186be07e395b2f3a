import { connect, type Socket } from "node:net";
import { checked } from "../core/checked.ts";
import type { BlockDevice, Capabilities, Extent, ExtentKind } from "../core/device.ts";
import { StorageError } from "../core/errors.ts";
import { type Connected, handshake } from "./client-handshake.ts";
import {
  AllocationState,
  CHUNK_HEADER_BYTES,
  Chunk,
  ChunkFlag,
  Command,
  encodeRequest,
  TransmissionFlag as Flag,
  MAX_PAYLOAD,
  NbdError,
  SIMPLE_REPLY_MAGIC,
  STRUCTURED_REPLY_MAGIC,
} from "./protocol.ts";
import { connectionLost, SocketReader, SocketWriter } from "./socket-io.ts";

/** Default for connecting, the handshake, and the longest silence while a request waits. */
const TIMEOUT_MS = 30_000;
/** Bytes of one READ or WRITE; larger requests are cut and go out together. */
const PIECE = 1024 * 1024;
/** Bytes of one range without payload; the protocol's length is a u32, and servers may limit it. */
const STEP = 1024 * 1024 * 1024;
/** READs of one request under way at the same time. */
const PIPELINE = 8;

export interface NbdAddress {
  readonly socketPath: string;
  readonly exportName: string;
}

export interface NbdClientOptions extends NbdAddress {
  /** Ask for a device that can be written; the export must allow it. Default: false. */
  readonly writable?: boolean | undefined;
  readonly timeoutMs?: number | undefined;
}

/** `nbd+unix:///EXPORT?socket=PATH` (the NBD URI specification, "NBD URI components"). Throws `usage`. */
export function parseNbdUri(uri: string): NbdAddress {
  const refuse = (what: string) =>
    new StorageError("usage", `${uri}: ${what}`, {
      layer: "nbd",
      hint: "write nbd+unix:///EXPORT?socket=/path/to/socket",
    });
  let url: URL;
  try {
    url = new URL(uri);
  } catch {
    throw refuse("this is no URI");
  }
  if (url.protocol !== "nbd+unix:") throw refuse("only nbd+unix is supported");
  if (url.host !== "") throw refuse("three slashes are wanted");
  const socketPath = url.searchParams.get("socket");
  if (!socketPath) throw refuse("the socket's path is missing");
  try {
    return { socketPath, exportName: decodeURIComponent(url.pathname.replace(/^\//, "")) };
  } catch {
    throw refuse("the export's name is not encoded properly");
  }
}

/**
 * Connects to an NBD server on a Unix socket: fixed newstyle with NBD_OPT_GO, structured replies and base:allocation where offered.
 * The server's end, silence or nonsense is an `io` error of every request under way and of all later ones.
 */
export async function openNbd(options: NbdClientOptions): Promise<BlockDevice> {
  const timeoutMs = options.timeoutMs ?? TIMEOUT_MS;
  const socket = await connected(options.socketPath, timeoutMs);
  const timer = setTimeout(() => socket.destroy(new Error(`no answer within ${timeoutMs / 1000} s`)), timeoutMs);
  try {
    const reader = new SocketReader(socket);
    const writer = new SocketWriter(socket);
    const agreed = await handshake(reader, writer, options.exportName);
    clearTimeout(timer);
    return checked(new NbdDevice(socket, reader, writer, agreed, options.writable ?? false, timeoutMs), "nbd");
  } catch (error) {
    clearTimeout(timer);
    socket.destroy();
    throw error;
  }
}

function connected(path: string, timeoutMs: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    const timer = setTimeout(() => socket.destroy(new Error("it does not answer")), timeoutMs);
    socket.once("error", (error) => {
      clearTimeout(timer);
      reject(
        new StorageError("io", `cannot connect to ${path}: ${error.message}`, {
          layer: "nbd",
          hint: "is an NBD server listening there?",
          cause: error,
        }),
      );
    });
    socket.once("connect", () => {
      clearTimeout(timer);
      socket.removeAllListeners("error");
      socket.on("error", () => undefined);
      resolve(socket);
    });
  });
}

interface Pending {
  /** READ: where the data goes; bytes that no chunk has filled yet. */
  readonly into: Uint8Array | null;
  readonly offset: number;
  left: number;
  /** BLOCK_STATUS: what came. */
  readonly extents: { length: number; state: number }[];
  error: StorageError | null;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

class NbdDevice implements BlockDevice {
  readonly size: number;
  readonly caps: Capabilities;
  readonly #socket: Socket;
  readonly #reader: SocketReader;
  readonly #writer: SocketWriter;
  readonly #agreed: Connected;
  readonly #timeoutMs: number;
  readonly #pending = new Map<bigint, Pending>();
  #cookie = 0n;
  #dead: StorageError | null = null;
  #sending: Promise<void> = Promise.resolve();

  constructor(
    socket: Socket,
    reader: SocketReader,
    writer: SocketWriter,
    agreed: Connected,
    writable: boolean,
    timeoutMs: number,
  ) {
    const may = (flag: number) => (agreed.flags & flag) !== 0;
    if (writable && may(Flag.READ_ONLY))
      throw new StorageError("read-only", "the export is read-only", { layer: "nbd" });
    this.#socket = socket;
    this.#reader = reader;
    this.#writer = writer;
    this.#agreed = agreed;
    this.#timeoutMs = timeoutMs;
    const alignment = agreed.minimumBlock;
    this.size = agreed.size - (agreed.size % alignment);
    this.caps = {
      writable,
      alignment,
      sectorSize: 512,
      optimalIo: PIECE,
      extents: agreed.allocationId !== null,
      zero: may(Flag.SEND_WRITE_ZEROES),
      discard: may(Flag.SEND_TRIM),
    };
    void this.#receive();
  }

  async read(into: Uint8Array, offset: number): Promise<void> {
    const piece = Math.min(PIECE, this.#agreed.maximumBlock);
    const starts: number[] = [];
    for (let at = 0; at < into.length; at += piece) starts.push(at);
    let next = 0;
    const lane = async (): Promise<void> => {
      for (let i = next++; i < starts.length; i = next++) {
        const at = starts[i]!;
        const part = into.subarray(at, Math.min(at + piece, into.length));
        await this.#request(Command.READ, 0, offset + at, part.length, null, part);
      }
    };
    await Promise.all(Array.from({ length: Math.min(PIPELINE, starts.length) }, lane));
  }

  async write(from: Uint8Array, offset: number): Promise<void> {
    const piece = Math.min(PIECE, this.#agreed.maximumBlock);
    for (let at = 0; at < from.length; at += piece) {
      // A copy: the socket may hold the bytes longer than the caller lends them.
      const part = Buffer.from(from.subarray(at, Math.min(at + piece, from.length)));
      await this.#request(Command.WRITE, 0, offset + at, part.length, part, null);
    }
  }

  async zero(offset: number, length: number): Promise<void> {
    if (!this.caps.zero) {
      const zeros = new Uint8Array(Math.min(PIECE, length));
      for (let at = 0; at < length; at += PIECE) {
        await this.write(zeros.subarray(0, Math.min(PIECE, length - at)), offset + at);
      }
      return;
    }
    await this.#steps(Command.WRITE_ZEROES, offset, length);
  }

  async discard(offset: number, length: number): Promise<void> {
    if (this.caps.discard) await this.#steps(Command.TRIM, offset, length);
  }

  async *extents(offset: number, length: number): AsyncIterable<Extent> {
    const end = offset + length;
    if (this.#agreed.allocationId === null) {
      yield { offset, length, kind: "data" };
      return;
    }
    for (let at = offset; at < end; ) {
      const found = await this.#request(Command.BLOCK_STATUS, 0, at, Math.min(STEP, end - at), null, null);
      const before = at;
      for (const e of found) {
        // The last extent may reach beyond the request (NBD_REPLY_TYPE_BLOCK_STATUS).
        const n = Math.min(e.length, end - at);
        if (n <= 0) break;
        yield { offset: at, length: n, kind: kindOf(e.state) };
        at += n;
      }
      if (at === before) throw this.#nonsense("an empty block status");
    }
  }

  async flush(): Promise<void> {
    if ((this.#agreed.flags & Flag.SEND_FLUSH) === 0) return;
    await this.#request(Command.FLUSH, 0, 0, 0, null, null);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#dead) return;
    this.#dead = new StorageError("io", "the NBD connection is closed", { layer: "nbd" });
    const header = encodeRequest({ flags: 0, type: Command.DISC, cookie: 0n, offset: 0n, length: 0 });
    await this.#writer.send(header).catch(() => undefined);
    this.#socket.end();
    this.#socket.destroySoon();
  }

  async #steps(type: number, offset: number, length: number): Promise<void> {
    for (let at = 0; at < length; at += STEP) {
      await this.#request(type, 0, offset + at, Math.min(STEP, length - at), null, null);
    }
  }

  async #request(
    type: number,
    flags: number,
    offset: number,
    length: number,
    payload: Uint8Array | null,
    into: Uint8Array | null,
  ): Promise<readonly { length: number; state: number }[]> {
    if (this.#dead) throw this.#dead;
    const cookie = ++this.#cookie;
    const extents: Pending["extents"] = [];
    const done = new Promise<void>((resolve, reject) => {
      this.#pending.set(cookie, { into, offset, left: into?.length ?? 0, extents, error: null, resolve, reject });
    });
    done.catch(() => undefined);
    const timer = setTimeout(() => this.#die(`no answer within ${this.#timeoutMs / 1000} s`), this.#timeoutMs);
    try {
      const header = encodeRequest({ flags, type, cookie, offset: BigInt(offset), length });
      // Header and payload of one request stay together.
      const send = this.#sending.then(() => this.#writer.send(header, ...(payload ? [payload] : [])));
      this.#sending = send.catch(() => undefined);
      await send;
      await done;
      return extents;
    } finally {
      clearTimeout(timer);
      this.#pending.delete(cookie);
    }
  }

  async #receive(): Promise<void> {
    try {
      for (;;) {
        const magic = (await this.#reader.read(4)).readUInt32BE();
        if (magic === SIMPLE_REPLY_MAGIC) await this.#simpleReply();
        else if (magic === STRUCTURED_REPLY_MAGIC && this.#agreed.structured) await this.#chunk();
        else throw this.#nonsense("a reply with a wrong magic");
      }
    } catch (error) {
      this.#die(error instanceof Error ? error.message : String(error), error);
    }
  }

  async #simpleReply(): Promise<void> {
    const rest = await this.#reader.read(12);
    const error = rest.readUInt32BE(0);
    const cookie = rest.readBigUInt64BE(4);
    const pending = this.#expect(cookie);
    if (error !== 0) pending.error = refused(error, pending.offset, "");
    else if (pending.into) {
      if (this.#agreed.structured) throw this.#nonsense("a simple reply to a read");
      await this.#reader.readInto(pending.into);
      pending.left = 0;
    }
    this.#finish(cookie, pending);
  }

  async #chunk(): Promise<void> {
    const rest = await this.#reader.read(CHUNK_HEADER_BYTES - 4);
    const flags = rest.readUInt16BE(0);
    const type = rest.readUInt16BE(2);
    const cookie = rest.readBigUInt64BE(4);
    const length = rest.readUInt32BE(12);
    const pending = this.#expect(cookie);
    if (length > MAX_PAYLOAD + 8) throw this.#nonsense("a chunk that is too long");
    switch (type) {
      case Chunk.NONE:
        if (length !== 0) throw this.#nonsense("an empty chunk with content");
        break;
      case Chunk.OFFSET_DATA: {
        if (length < 8) throw this.#nonsense("a short data chunk");
        const at = (await this.#reader.read(8)).readBigUInt64BE();
        await this.#reader.readInto(this.#target(pending, at, length - 8));
        break;
      }
      case Chunk.OFFSET_HOLE: {
        if (length !== 12) throw this.#nonsense("a hole chunk of a wrong length");
        const body = await this.#reader.read(12);
        this.#target(pending, body.readBigUInt64BE(0), body.readUInt32BE(8)).fill(0);
        break;
      }
      case Chunk.BLOCK_STATUS: {
        const body = await this.#reader.read(length);
        if (length < 12 || (length - 4) % 8 !== 0) throw this.#nonsense("a block status of a wrong length");
        if (body.readUInt32BE(0) !== this.#agreed.allocationId) break;
        for (let at = 4; at < length; at += 8) {
          pending.extents.push({ length: body.readUInt32BE(at), state: body.readUInt32BE(at + 4) });
        }
        break;
      }
      default: {
        const body = await this.#reader.read(length);
        // "Chunk types with the high bit set are errors": also those that are not known yet.
        if (type < 0x8000) throw this.#nonsense(`a chunk of type ${type}`);
        const text = length >= 6 ? body.toString("utf8", 6, Math.min(length, 6 + body.readUInt16BE(4))) : "";
        pending.error ??= refused(length >= 4 ? body.readUInt32BE(0) : NbdError.EIO, pending.offset, text);
      }
    }
    if ((flags & ChunkFlag.DONE) !== 0) this.#finish(cookie, pending);
  }

  #target(pending: Pending, at: bigint, length: number): Uint8Array {
    const from = Number(at - BigInt(pending.offset));
    const { into } = pending;
    if (!into || from < 0 || length === 0 || from + length > into.length || length > pending.left) {
      throw this.#nonsense("data that nobody asked for");
    }
    pending.left -= length;
    return into.subarray(from, from + length);
  }

  #expect(cookie: bigint): Pending {
    const pending = this.#pending.get(cookie);
    if (!pending) throw this.#nonsense("a reply to no request");
    return pending;
  }

  #finish(cookie: bigint, pending: Pending): void {
    this.#pending.delete(cookie);
    if (pending.error) pending.reject(pending.error);
    else if (pending.left > 0) pending.reject(this.#nonsense("a read that was not answered whole"));
    else pending.resolve();
  }

  #nonsense(what: string): StorageError {
    return new StorageError("io", `the NBD server sent ${what}`, { layer: "nbd" });
  }

  #die(detail: string, cause?: unknown): void {
    this.#dead ??= cause instanceof StorageError ? cause : connectionLost(detail);
    for (const pending of this.#pending.values()) pending.reject(this.#dead);
    this.#pending.clear();
    this.#socket.destroy();
  }
}

/** What reads as zeros is said by ZERO alone; a HOLE without it may read as anything. */
function kindOf(state: number): ExtentKind {
  if ((state & AllocationState.ZERO) === 0) return "data";
  return (state & AllocationState.HOLE) === 0 ? "zero" : "hole";
}

function refused(value: number, offset: number, text: string): StorageError {
  const name = Object.entries(NbdError).find(([, n]) => n === value)?.[0] ?? `error ${value}`;
  const code = value === NbdError.EPERM ? "read-only" : value === NbdError.EINVAL ? "range" : "io";
  return new StorageError(code, `the NBD server refuses: ${name}${text ? ` (${text})` : ""}`, { layer: "nbd", offset });
}

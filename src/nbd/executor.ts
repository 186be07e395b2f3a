import type { BlockDevice, Extent } from "../core/device.ts";
import { describeError, StorageError } from "../core/errors.ts";
import type { Agreement } from "./negotiation.ts";
import {
  AllocationState,
  Chunk,
  ChunkFlag,
  Command,
  CommandFlag,
  encodeChunkHeader,
  encodeSimpleReply,
  encodeU16,
  encodeU32,
  encodeU64,
  MAX_PAYLOAD,
  MAX_STRING,
  NbdError,
  type Request,
} from "./protocol.ts";
import type { SocketWriter } from "./socket-io.ts";

/** Pieces in which structured reads are made and sent, so that other clients get their turn. */
const PIECE = 1024 * 1024;
/** Pieces in which ranges without payload (zero, trim) are carried out. */
const STEP = 64 * 1024 * 1024;
/** A run of zeros shorter than this is sent as bytes: a chunk costs 32 bytes and the client a call. */
const MIN_HOLE = 4096;
/** Extents in one answer to NBD_CMD_BLOCK_STATUS; the client asks again for the rest. */
const MAX_EXTENTS = 8192;

/** Flags that each command may carry; FUA is accepted with all of them ("Command flags"). */
const FLAGS: Record<number, number> = {
  [Command.READ]: CommandFlag.FUA | CommandFlag.DF,
  [Command.WRITE]: CommandFlag.FUA,
  [Command.FLUSH]: CommandFlag.FUA,
  [Command.TRIM]: CommandFlag.FUA,
  [Command.WRITE_ZEROES]: CommandFlag.FUA | CommandFlag.NO_HOLE | CommandFlag.FAST_ZERO,
  [Command.BLOCK_STATUS]: CommandFlag.FUA | CommandFlag.REQ_ONE,
};
const MODIFYING: ReadonlySet<number> = new Set([Command.WRITE, Command.TRIM, Command.WRITE_ZEROES]);

/** A refusal with one of the protocol's error values. */
class Refusal extends Error {
  readonly value: number;

  constructor(value: number, message: string) {
    super(message);
    this.value = value;
  }
}

/** The connection broke while a reply was sent: nothing more can be said on it. */
class SendFailed extends Error {}

/** What all clients of one server share: the device, one at a time, and how to make it durable. */
export interface Shared {
  readonly device: BlockDevice;
  readonly readOnly: boolean;
  /** Runs `work` when no other client's is running. */
  exclusively<T>(work: () => Promise<T>): Promise<T>;
  flush(): Promise<void>;
}

/** Carries out requests of one client and sends the replies. Throws only when a reply cannot be sent. */
export class Executor {
  readonly #shared: Shared;
  readonly #writer: SocketWriter;

  constructor(shared: Shared, writer: SocketWriter) {
    this.#shared = shared;
    this.#writer = writer;
  }

  async execute(request: Request, payload: Buffer | null, agreement: Agreement): Promise<void> {
    try {
      await this.#carryOut(request, payload, agreement);
    } catch (error) {
      if (error instanceof SendFailed) throw error;
      await this.#refuse(request, error, agreement);
    }
  }

  async #refuse(request: Request, error: unknown, agreement: Agreement): Promise<void> {
    const value = errorValue(error);
    if (!agreement.structured) return this.#send(encodeSimpleReply(request.cookie, value));
    const text = Buffer.from(describeError(error)).subarray(0, MAX_STRING);
    const body = Buffer.concat([encodeU32(value), encodeU16(text.length), text]);
    await this.#send(encodeChunkHeader(request.cookie, Chunk.ERROR, ChunkFlag.DONE, body.length), body);
  }

  async #carryOut(request: Request, payload: Buffer | null, agreement: Agreement): Promise<void> {
    const { type, flags, length } = request;
    const allowed = FLAGS[type];
    if (allowed === undefined) throw new Refusal(NbdError.EINVAL, `command ${type} is not supported`);
    if ((flags & ~allowed) !== 0) throw new Refusal(NbdError.EINVAL, "a flag that this command does not have");
    if (MODIFYING.has(type) && this.#shared.readOnly) throw new Refusal(NbdError.EPERM, "the export is read-only");
    if (type === Command.FLUSH) {
      await this.#shared.exclusively(() => this.#shared.flush());
      return this.#done(request, agreement);
    }
    const offset = this.#offset(request);
    switch (type) {
      case Command.READ:
        if (length > MAX_PAYLOAD) throw new Refusal(NbdError.EINVAL, `more than ${MAX_PAYLOAD} bytes at once`);
        return this.#read(request, offset, agreement);
      case Command.BLOCK_STATUS:
        return this.#blockStatus(request, offset, agreement);
      case Command.WRITE:
        if (!payload) throw new Refusal(NbdError.EINVAL, `more than ${MAX_PAYLOAD} bytes at once`);
        await this.#shared.exclusively(() => this.#shared.device.write(payload, offset));
        break;
      case Command.TRIM:
        await this.#steps(offset, length, (at, n) => this.#shared.device.discard(at, n));
        break;
      default:
        await this.#writeZeroes(flags, offset, length);
    }
    if ((flags & CommandFlag.FUA) !== 0) await this.#shared.exclusively(() => this.#shared.flush());
    return this.#done(request, agreement);
  }

  /** The request's offset, with its whole range inside the export ("Error values": ENOSPC for writes beyond, EINVAL else). */
  #offset(request: Request): number {
    const { size } = this.#shared.device;
    if (request.offset + BigInt(request.length) <= BigInt(size)) return Number(request.offset);
    const value = MODIFYING.has(request.type) ? NbdError.ENOSPC : NbdError.EINVAL;
    throw new Refusal(value, `the range reaches beyond the ${size} bytes of the export`);
  }

  async #steps(offset: number, length: number, act: (at: number, length: number) => Promise<void>): Promise<void> {
    for (let done = 0; done < length; done += STEP) {
      await this.#shared.exclusively(() => act(offset + done, Math.min(STEP, length - done)));
    }
  }

  async #writeZeroes(flags: number, offset: number, length: number): Promise<void> {
    const { device } = this.#shared;
    if ((flags & CommandFlag.FAST_ZERO) !== 0 && !device.caps.zero) {
      throw new Refusal(NbdError.ENOTSUP, "zeroing is not faster than writing here");
    }
    if ((flags & CommandFlag.NO_HOLE) === 0) return this.#steps(offset, length, (at, n) => device.zero(at, n));
    // The client wants space to be there afterwards: real zeros are written.
    const zeros = new Uint8Array(Math.min(PIECE, length));
    for (let done = 0; done < length; done += PIECE) {
      const part = zeros.subarray(0, Math.min(PIECE, length - done));
      await this.#shared.exclusively(() => device.write(part, offset + done));
    }
  }

  async #read(request: Request, offset: number, agreement: Agreement): Promise<void> {
    const { cookie, flags, length } = request;
    if (!agreement.structured || (flags & CommandFlag.DF) !== 0) {
      const data = Buffer.allocUnsafe(length);
      if (length > 0) await this.#shared.exclusively(() => this.#shared.device.read(data, offset));
      if (!agreement.structured) return this.#send(encodeSimpleReply(cookie, 0), data);
      if (length > 0) await this.#dataChunk(cookie, offset, data);
      return this.#done(request, agreement);
    }
    for (let at = offset; at < offset + length; ) {
      const piece = Math.min(PIECE, offset + length - at);
      const start = at;
      const runs = await this.#shared.exclusively(() => this.#readRuns(start, piece));
      for (const run of runs) {
        if (run.data) await this.#dataChunk(cookie, run.offset, run.data);
        else await this.#holeChunk(cookie, run.offset, run.length);
      }
      at += piece;
    }
    await this.#done(request, agreement);
  }

  /** Data and runs of zeros worth a chunk of their own. */
  async #readRuns(
    offset: number,
    length: number,
  ): Promise<{ offset: number; length: number; data: Uint8Array | null }[]> {
    const { device } = this.#shared;
    const runs: { offset: number; length: number; zero: boolean }[] = [];
    for await (const e of device.caps.extents ? device.extents(offset, length) : [whole(offset, length)]) {
      const zero = e.kind !== "data" && e.length >= MIN_HOLE;
      const last = runs.at(-1);
      if (last && last.zero === zero) last.length += e.length;
      else runs.push({ offset: e.offset, length: e.length, zero });
    }
    const out = [];
    for (const run of runs) {
      if (run.zero) {
        out.push({ offset: run.offset, length: run.length, data: null });
        continue;
      }
      const data = Buffer.allocUnsafe(run.length);
      await device.read(data, run.offset);
      out.push({ offset: run.offset, length: run.length, data });
    }
    return out;
  }

  async #blockStatus(request: Request, offset: number, agreement: Agreement): Promise<void> {
    const { cookie, flags, length } = request;
    if (agreement.allocationId === null) throw new Refusal(NbdError.EINVAL, "base:allocation was not agreed on");
    if (length === 0) throw new Refusal(NbdError.EINVAL, "a length of zero");
    const most = (flags & CommandFlag.REQ_ONE) === 0 ? MAX_EXTENTS : 1;
    const found = await this.#shared.exclusively(() => this.#extents(offset, length, most));
    const body = encodeU32(agreement.allocationId, ...found.flatMap((e) => [e.length, e.state]));
    await this.#send(encodeChunkHeader(cookie, Chunk.BLOCK_STATUS, ChunkFlag.DONE, body.length), body);
  }

  async #extents(offset: number, length: number, most: number): Promise<{ length: number; state: number }[]> {
    const found: { length: number; state: number }[] = [];
    for await (const e of this.#shared.device.extents(offset, length)) {
      const state = e.kind === "data" ? 0 : AllocationState.ZERO + (e.kind === "hole" ? AllocationState.HOLE : 0);
      const last = found.at(-1);
      if (last && last.state === state) last.length += e.length;
      else if (found.length === most) break;
      else found.push({ length: e.length, state });
    }
    return found;
  }

  #dataChunk(cookie: bigint, offset: number, data: Uint8Array): Promise<void> {
    const header = encodeChunkHeader(cookie, Chunk.OFFSET_DATA, 0, 8 + data.length);
    return this.#send(header, encodeU64(BigInt(offset)), data);
  }

  #holeChunk(cookie: bigint, offset: number, length: number): Promise<void> {
    const header = encodeChunkHeader(cookie, Chunk.OFFSET_HOLE, 0, 12);
    return this.#send(header, encodeU64(BigInt(offset)), encodeU32(length));
  }

  #done(request: Request, agreement: Agreement): Promise<void> {
    if (!agreement.structured) return this.#send(encodeSimpleReply(request.cookie, 0));
    return this.#send(encodeChunkHeader(request.cookie, Chunk.NONE, ChunkFlag.DONE, 0));
  }

  async #send(...parts: Uint8Array[]): Promise<void> {
    try {
      await this.#writer.send(...parts);
    } catch (cause) {
      throw new SendFailed("the reply cannot be sent", { cause });
    }
  }
}

function whole(offset: number, length: number): Extent {
  return { offset, length, kind: "data" };
}

/** Error values of the protocol for what went wrong below. */
function errorValue(error: unknown): number {
  if (error instanceof Refusal) return error.value;
  if (!(error instanceof StorageError)) return NbdError.EIO;
  if (error.code === "read-only") return NbdError.EPERM;
  if (error.code === "range") return NbdError.EINVAL;
  if (error.code === "unsupported") return NbdError.ENOTSUP;
  if (error.code === "cancelled") return NbdError.ESHUTDOWN;
  return (error.cause as NodeJS.ErrnoException | undefined)?.code === "ENOSPC" ? NbdError.ENOSPC : NbdError.EIO;
}

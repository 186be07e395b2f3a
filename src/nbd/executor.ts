import type { BlockDevice, Extent } from "../core/device.ts";
import { allocationStatus, runsOf } from "./allocation.ts";
import type { Agreement } from "./negotiation.ts";
import { Outgoing } from "./outgoing.ts";
import {
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
import { Refusal, refusing } from "./refusal.ts";
import type { SocketWriter } from "./socket-io.ts";

/** Pieces in which reads are made and sent, and zeros written, so that other clients get their turn. */
const PIECE = 1024 * 1024;
/** A run of zeros shorter than this is sent as bytes: a chunk costs the client more than that. */
const MIN_HOLE = 4096;
/** Content chunks of one read; beyond, the rest is sent as bytes. */
const MAX_CHUNKS = 256;
const ZEROS = new Uint8Array(PIECE);

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

/** What all clients of one server share: the device, one at a time, and how to make it durable. */
export interface Shared {
  readonly device: BlockDevice;
  readonly readOnly: boolean;
  /** Runs `work` when no other client's is running. */
  exclusively<T>(work: () => Promise<T>): Promise<T>;
  flush(): Promise<void>;
}

interface Range {
  readonly offset: number;
  readonly length: number;
}

/** Carries out requests of one client and sends the replies. Throws only when a reply cannot be sent. */
export class Executor {
  readonly #shared: Shared;
  readonly #writer: SocketWriter;
  readonly #data: Outgoing;

  constructor(shared: Shared, writer: SocketWriter) {
    this.#shared = shared;
    this.#writer = writer;
    this.#data = new Outgoing(writer, PIECE);
  }

  /** `payload`: what a write brought, or null when it was longer than allowed. */
  async execute(request: Request, payload: Buffer | null, agreement: Agreement): Promise<void> {
    try {
      await this.#perform(request, payload, agreement);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      if (!agreement.structured) return this.#writer.send(encodeSimpleReply(request.cookie, error.value));
      const text = Buffer.from(error.message).subarray(0, MAX_STRING);
      await this.#chunk(request, Chunk.ERROR, ChunkFlag.DONE, encodeU32(error.value), encodeU16(text.length), text);
    }
  }

  async #perform(request: Request, payload: Buffer | null, agreement: Agreement): Promise<void> {
    const range = this.#validate(request, agreement);
    switch (request.type) {
      case Command.READ:
        return agreement.structured ? this.#readStructured(request, range) : this.#readSimple(request, range);
      case Command.BLOCK_STATUS:
        return this.#blockStatus(request, range, agreement);
      case Command.FLUSH:
        await this.#onDevice(() => this.#shared.flush());
        break;
      default:
        await this.#modify(request, range, payload);
    }
    await this.#writer.send(encodeSimpleReply(request.cookie, 0));
  }

  #validate(request: Request, agreement: Agreement): Range {
    const allowed = FLAGS[request.type];
    if (allowed === undefined) throw new Refusal(NbdError.EINVAL, `command ${request.type} is not known`);
    if (request.flags & ~allowed)
      throw new Refusal(NbdError.EINVAL, `flags 0x${request.flags.toString(16)} not allowed`);
    const modifying = MODIFYING.has(request.type);
    if (modifying && this.#shared.readOnly) throw new Refusal(NbdError.EPERM, "the export is read-only");
    if (request.type === Command.FLUSH) return { offset: 0, length: 0 };
    if (request.offset + BigInt(request.length) > BigInt(this.#shared.device.size))
      throw new Refusal(modifying ? NbdError.ENOSPC : NbdError.EINVAL, "the range ends beyond the export");
    const carries = request.type === Command.READ || request.type === Command.WRITE;
    if (carries && request.length > MAX_PAYLOAD)
      throw new Refusal(NbdError.EINVAL, `more than ${MAX_PAYLOAD} bytes in one request`);
    if (request.type === Command.BLOCK_STATUS && (agreement.allocationId === null || request.length === 0))
      throw new Refusal(NbdError.EINVAL, "block status needs a metadata context and a length");
    return { offset: Number(request.offset), length: request.length };
  }

  #onDevice<T>(work: () => Promise<T>): Promise<T> {
    return refusing(() => this.#shared.exclusively(work));
  }

  #chunk(request: Request, type: number, flags: number, ...body: Uint8Array[]): Promise<void> {
    const length = body.reduce((sum, part) => sum + part.length, 0);
    return this.#writer.send(encodeChunkHeader(request.cookie, type, flags, length), ...body);
  }

  async #readSimple(request: Request, { offset, length }: Range): Promise<void> {
    const out = this.#data.take(length);
    await this.#onDevice(() => this.#shared.device.read(out, offset));
    await this.#data.send(encodeSimpleReply(request.cookie, 0), out);
  }

  /** Each chunk's bytes are read before its header is sent, so that a failure is an error chunk and never a padded one. The last chunk says that it is. */
  async #readStructured(request: Request, range: Range): Promise<void> {
    const runs = await this.#contentOf(request, range);
    if (runs.length === 0) return this.#chunk(request, Chunk.NONE, ChunkFlag.DONE);
    const step = request.flags & CommandFlag.DF ? MAX_PAYLOAD : PIECE;
    for (const [i, run] of runs.entries()) {
      const end = run.offset + run.length;
      const flags = (stop: number) => (i === runs.length - 1 && stop === end ? ChunkFlag.DONE : 0);
      if (run.kind !== "data") {
        await this.#chunk(request, Chunk.OFFSET_HOLE, flags(end), encodeU64(BigInt(run.offset)), encodeU32(run.length));
        continue;
      }
      for (let at = run.offset; at < end; at += step) {
        const bytes = this.#data.take(Math.min(step, end - at));
        await this.#onDevice(() => this.#shared.device.read(bytes, at));
        const header = encodeChunkHeader(request.cookie, Chunk.OFFSET_DATA, flags(at + bytes.length), 8 + bytes.length);
        await this.#data.send(header, encodeU64(BigInt(at)), bytes);
      }
    }
  }

  /** The range as runs of data and of zeros worth a chunk of their own. */
  async #contentOf(request: Request, { offset, length }: Range): Promise<Extent[]> {
    const { device } = this.#shared;
    const whole: Extent = { offset, length, kind: "data" };
    if (length === 0) return [];
    if (!device.caps.extents || request.flags & CommandFlag.DF) return [whole];
    return this.#onDevice(async () => {
      const runs: Extent[] = [];
      let at = offset;
      const data = (end: number) => {
        if (end > at) runs.push({ offset: at, length: end - at, kind: "data" });
      };
      for await (const run of runsOf(device, offset, length)) {
        if (run.kind === "data" || run.length < MIN_HOLE) continue;
        data(run.offset);
        runs.push(run);
        at = run.offset + run.length;
        if (runs.length >= MAX_CHUNKS) break;
      }
      data(offset + length);
      return runs;
    });
  }

  async #blockStatus(request: Request, { offset, length }: Range, agreement: Agreement): Promise<void> {
    const one = (request.flags & CommandFlag.REQ_ONE) !== 0;
    const id = agreement.allocationId ?? 0;
    const body = await this.#onDevice(() => allocationStatus(this.#shared.device, offset, length, one, id));
    await this.#chunk(request, Chunk.BLOCK_STATUS, ChunkFlag.DONE, body);
  }

  async #modify(request: Request, { offset, length }: Range, payload: Buffer | null): Promise<void> {
    const { device } = this.#shared;
    if (request.type === Command.WRITE) await this.#onDevice(() => device.write(payload!, offset));
    else if (request.type === Command.TRIM) await this.#onDevice(() => device.discard(offset, length));
    else await this.#writeZeroes(request, offset, length);
    if (request.flags & CommandFlag.FUA) await this.#onDevice(() => this.#shared.flush());
  }

  /** With NO_HOLE the zeros are written out: what `zero()` does to the allocation is the device's affair. */
  async #writeZeroes(request: Request, offset: number, length: number): Promise<void> {
    const { device } = this.#shared;
    const explicit = (request.flags & CommandFlag.NO_HOLE) !== 0;
    const cheap = device.caps.zero && !explicit;
    if (request.flags & CommandFlag.FAST_ZERO && !cheap)
      throw new Refusal(NbdError.ENOTSUP, "zeroing is no faster than writing here");
    if (cheap) return this.#onDevice(() => device.zero(offset, length));
    for (let done = 0; done < length; done += PIECE) {
      const part = ZEROS.subarray(0, Math.min(PIECE, length - done));
      await this.#onDevice(() => device.write(part, offset + done));
    }
  }
}

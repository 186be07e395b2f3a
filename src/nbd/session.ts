import type { Executor } from "./executor.ts";
import type { Agreement } from "./negotiation.ts";
import { Command, decodeRequest, MAX_PAYLOAD, REQUEST_BYTES, type Request } from "./protocol.ts";
import type { SocketReader } from "./socket-io.ts";

/** Requests and bytes of payload that one client may have waiting; then its socket is not read until some are done. */
const MAX_WAITING = 64;
const MAX_WAITING_BYTES = 2 * MAX_PAYLOAD;

/** Commands that only have a reply. */
const READING: ReadonlySet<number> = new Set([Command.READ, Command.BLOCK_STATUS]);

interface Waiting {
  readonly request: Request;
  /** What a write brought; null when it was longer than allowed and thrown away. */
  readonly payload: Buffer | null;
}

/**
 * The transmission phase of one client: reads requests ahead and carries them out in the order of their arrival, so that
 * overlapping writes keep it. Returns after NBD_CMD_DISC, a lost connection, a malformed request, or `stop()`; whatever was
 * received whole is carried out first.
 */
export class Session {
  readonly #reader: SocketReader;
  readonly #executor: Executor;
  readonly #agreement: Agreement;
  readonly #queue: Waiting[] = [];
  #bytes = 0;
  #ended = false;
  /** The client is gone: replies would go nowhere. */
  #lost = false;
  #stopped: (() => void) | null = null;
  #wakeWorker: (() => void) | null = null;
  #wakeReader: (() => void) | null = null;

  constructor(reader: SocketReader, executor: Executor, agreement: Agreement) {
    this.#reader = reader;
    this.#executor = executor;
    this.#agreement = agreement;
  }

  async run(): Promise<void> {
    const work = this.#work();
    const stopped = new Promise<void>((resolve) => {
      this.#stopped = resolve;
    });
    // Left behind by stop(), it ends with the socket, which the caller closes next.
    const received = this.#receive().catch(() => {
      this.#lost = true;
    });
    if (!this.#ended) await Promise.race([received, stopped]);
    this.stop();
    await work;
  }

  /** Takes no further requests. The one that is being received is dropped. */
  stop(): void {
    this.#ended = true;
    this.#stopped?.();
    this.#wakeWorker?.();
    this.#wakeReader?.();
  }

  async #receive(): Promise<void> {
    while (!this.#ended) {
      const request = decodeRequest(await this.#reader.read(REQUEST_BYTES));
      if (!request || request.type === Command.DISC || this.#ended) return;
      let payload: Buffer | null = null;
      if (request.type === Command.WRITE) {
        if (request.length > MAX_PAYLOAD) await this.#reader.skip(request.length);
        else payload = await this.#payload(request.length);
      }
      if (this.#ended) return;
      this.#queue.push({ request, payload });
      this.#bytes += payload?.length ?? 0;
      this.#wakeWorker?.();
      while (!this.#ended && this.#queue.length >= MAX_WAITING) await this.#room();
    }
  }

  async #payload(length: number): Promise<Buffer> {
    while (!this.#ended && this.#bytes > 0 && this.#bytes + length > MAX_WAITING_BYTES) await this.#room();
    return this.#reader.read(length);
  }

  #room(): Promise<void> {
    return new Promise((resolve) => {
      this.#wakeReader = resolve;
    });
  }

  async #work(): Promise<void> {
    for (;;) {
      const next = this.#queue[0];
      if (!next) {
        if (this.#ended) return;
        await new Promise<void>((resolve) => {
          this.#wakeWorker = resolve;
        });
        continue;
      }
      // What a lost client asked to change is changed all the same, in its order: it was received whole.
      if (!this.#lost || !READING.has(next.request.type))
        await this.#executor.execute(next.request, next.payload, this.#agreement).catch(() => {
          this.#lost = true;
        });
      this.#queue.shift();
      this.#bytes -= next.payload?.length ?? 0;
      this.#wakeReader?.();
    }
  }
}

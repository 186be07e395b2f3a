import type { SocketWriter } from "./socket-io.ts";

/**
 * Replies with data: the bytes of the next are read while the socket still takes those of the one before, and the memory of both is used
 * again and again. Fresh memory for each is faulted in page by page, which takes as long as to read what is in the page cache.
 */
export class Outgoing {
  readonly #writer: SocketWriter;
  readonly #size: number;
  readonly #buffers: (Buffer | undefined)[] = [undefined, undefined];
  #turn = 0;
  #sending: Promise<void> = Promise.resolve();

  /** `size`: bytes of what is kept; more is allocated anew. */
  constructor(writer: SocketWriter, size: number) {
    this.#writer = writer;
    this.#size = size;
  }

  /** Memory for the next message, to be filled whole. What was taken and not sent is taken again. */
  take(length: number): Buffer {
    if (length > this.#size) return Buffer.alloc(length);
    this.#buffers[this.#turn] ??= Buffer.allocUnsafeSlow(this.#size);
    return this.#buffers[this.#turn]!.subarray(0, length);
  }

  /** Returns when the message before is gone. Rejects when the connection is, for this message or the one before. */
  async send(...parts: Uint8Array[]): Promise<void> {
    // From here on the other buffer is taken: this one is free again when the next message is sent.
    this.#turn = 1 - this.#turn;
    await this.#sending;
    this.#sending = this.#writer.sendWhole(...parts);
    this.#sending.catch(() => undefined);
  }
}

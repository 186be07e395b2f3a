import type { Socket } from "node:net";
import { StorageError } from "../core/errors.ts";

/** The other side closed the connection, or it broke. */
export function connectionLost(detail = "the connection was closed"): StorageError {
  return new StorageError("io", `the NBD connection ended: ${detail}`, { layer: "nbd" });
}

/**
 * Reads exact numbers of bytes from a socket in paused mode, for one reader. What the kernel holds back is the limit:
 * nothing is buffered here beyond the stream's high-water mark.
 */
export class SocketReader {
  readonly #socket: Socket;
  #failure: Error | null = null;
  #ended = false;
  #wake: (() => void) | null = null;

  constructor(socket: Socket) {
    this.#socket = socket;
    const wake = () => this.#wake?.();
    socket.on("readable", wake);
    socket.on("error", (error) => {
      this.#failure ??= error;
      wake();
    });
    socket.on("end", () => {
      this.#ended = true;
      wake();
    });
    socket.on("close", () => {
      this.#ended = true;
      wake();
    });
  }

  async read(length: number): Promise<Buffer> {
    const out = Buffer.alloc(length);
    await this.readInto(out);
    return out;
  }

  /** Fills `into` or throws `io`. */
  async readInto(into: Uint8Array): Promise<void> {
    for (let done = 0; done < into.length; ) {
      const part = await this.#some(into.length - done);
      into.set(part, done);
      done += part.length;
    }
  }

  /** Reads and forgets. */
  async skip(length: number): Promise<void> {
    for (let done = 0; done < length; ) done += (await this.#some(length - done)).length;
  }

  async #some(most: number): Promise<Buffer> {
    for (;;) {
      const available = this.#socket.readableLength;
      const part = available > 0 ? (this.#socket.read(Math.min(available, most)) as Buffer | null) : null;
      if (part) return part;
      if (this.#failure) throw connectionLost(this.#failure.message);
      if (this.#ended || this.#socket.destroyed) throw connectionLost();
      // Asks the stream for more: without this a paused stream with an empty buffer stays silent.
      this.#socket.read(0);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = null;
    }
  }
}

/** Writes with backpressure: `send` returns once the socket wants more, so that a peer that does not read stops us. */
export class SocketWriter {
  readonly #socket: Socket;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** The parts go out in this order with nothing between them. They must not be changed afterwards. */
  async send(...parts: Uint8Array[]): Promise<void> {
    const socket = this.#socket;
    if (socket.destroyed || socket.writableEnded) throw connectionLost();
    socket.cork();
    let more = true;
    for (const part of parts) more = socket.write(part);
    socket.uncork();
    if (more) return;
    await new Promise<void>((resolve, reject) => {
      const settle = (act: () => void) => () => {
        socket.off("drain", drained);
        socket.off("close", closed);
        act();
      };
      const drained = settle(resolve);
      const closed = settle(() => reject(connectionLost()));
      socket.on("drain", drained);
      socket.on("close", closed);
    });
  }

  /** The same, but returns once the system has taken all of it: the parts may be changed then. */
  async sendWhole(...parts: Uint8Array[]): Promise<void> {
    const socket = this.#socket;
    if (socket.destroyed || socket.writableEnded) throw connectionLost();
    await new Promise<void>((resolve, reject) => {
      socket.cork();
      for (const [i, part] of parts.entries()) {
        if (i < parts.length - 1) socket.write(part);
        else socket.write(part, (error) => (error ? reject(connectionLost(error.message)) : resolve()));
      }
      socket.uncork();
    });
  }
}

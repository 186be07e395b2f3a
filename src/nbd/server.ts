import { createServer, type Socket } from "node:net";
import { isPowerOfTwo } from "../bytes/integers.ts";
import type { BlockDevice } from "../core/device.ts";
import { StorageError } from "../core/errors.ts";
import { Executor, type Shared } from "./executor.ts";
import { type Export, negotiate } from "./negotiation.ts";
import { MAX_PAYLOAD, MAX_STRING, TransmissionFlag } from "./protocol.ts";
import { Session } from "./session.ts";
import { SocketReader, SocketWriter } from "./socket-io.ts";
import { listenPrivate } from "./unix-socket.ts";

export interface ServeNbdOptions {
  /** Read through `checked()`. The server does not dispose of it. */
  readonly device: BlockDevice;
  readonly socketPath: string;
  /** The name under which it is listed; the empty name reaches it as well. Default: empty. */
  readonly exportName?: string;
  readonly readOnly: boolean;
  /** For NBD_INFO_DESCRIPTION. */
  readonly description?: string | undefined;
  /** Called after each `device.flush()` that a client asked for, before it is answered: a commit below. */
  readonly onFlush?: (() => Promise<void>) | undefined;
  /** Closes the server. */
  readonly signal?: AbortSignal | undefined;
  readonly maxConnections?: number;
  /** Milliseconds that a client has for its handshake. */
  readonly handshakeTimeoutMs?: number;
  /** Milliseconds that clients have to take their last replies when the server closes. */
  readonly closingTimeoutMs?: number;
  /** Is given each client's socket, as a descriptor, before anything is sent. */
  readonly onConnection?: ((fd: number) => void) | undefined;
}

export interface NbdServer extends AsyncDisposable {
  readonly socketPath: string;
  /** Resolves once the server has ended and its socket is gone. */
  readonly closed: Promise<void>;
  /** Takes no more clients and requests, finishes what was received, removes the socket. */
  close(): Promise<void>;
}

const MAX_CONNECTIONS = 16;
const HANDSHAKE_TIMEOUT_MS = 10_000;
const CLOSING_TIMEOUT_MS = 5_000;
const MIN_PREFERRED = 4096;

/**
 * Serves a device on a Unix socket (mode 0600): fixed newstyle, structured replies, `base:allocation`. Every client sees the
 * same device without a cache between, so a flush on one connection covers what all of them have written.
 */
export async function serveNbd(options: ServeNbdOptions): Promise<NbdServer> {
  const { socketPath, signal } = options;
  if (Buffer.byteLength(options.exportName ?? "") > MAX_STRING)
    throw new StorageError("usage", `an export's name has at most ${MAX_STRING} bytes`, { layer: "nbd" });
  if (signal?.aborted) throw new StorageError("cancelled", "cancelled", { layer: "nbd" });
  const shared = share(options);
  const exported = describeExport(options, shared);
  const clients = new Set<Client>();
  let closing: Promise<void> | null = null;

  const server = createServer((socket) => {
    if (closing || clients.size >= (options.maxConnections ?? MAX_CONNECTIONS)) {
      socket.destroy();
      return;
    }
    const fd = descriptorOf(socket);
    if (fd !== null) options.onConnection?.(fd);
    const client = new Client(socket, shared, exported, options.handshakeTimeoutMs ?? HANDSHAKE_TIMEOUT_MS);
    clients.add(client);
    void client.done.then(() => clients.delete(client));
  });
  const unlink = await listenPrivate(server, socketPath);
  // A connection that cannot be accepted (EMFILE) is that client's trouble; without a listener it would end the process.
  server.on("error", () => undefined);
  const ended = new Promise<void>((resolve) => server.once("close", resolve));

  const close = () => {
    closing ??= (async () => {
      signal?.removeEventListener("abort", onAbort);
      unlink();
      server.close();
      for (const client of clients) client.stop();
      await Promise.all([...clients].map((client) => client.finish(options.closingTimeoutMs ?? CLOSING_TIMEOUT_MS)));
      await ended;
    })();
    return closing;
  };
  const onAbort = () => void close();
  signal?.addEventListener("abort", onAbort, { once: true });
  return { socketPath, closed: ended, close, [Symbol.asyncDispose]: close };
}

/** Node has it, and tells nobody. */
function descriptorOf(socket: Socket): number | null {
  const fd = (socket as unknown as { readonly _handle?: { readonly fd?: unknown } })._handle?.fd;
  return typeof fd === "number" && fd >= 0 ? fd : null;
}

function share(options: ServeNbdOptions): Shared {
  const { device } = options;
  const readOnly = options.readOnly || !device.caps.writable;
  let tail: Promise<unknown> = Promise.resolve();
  return {
    device,
    readOnly,
    exclusively(work) {
      const run = tail.then(work);
      tail = run.catch(() => undefined);
      return run;
    },
    async flush() {
      if (readOnly) return;
      await device.flush();
      await options.onFlush?.();
    },
  };
}

function describeExport(options: ServeNbdOptions, shared: Shared): Export {
  const { caps, size } = shared.device;
  const T = TransmissionFlag;
  const writing = T.SEND_FUA | T.SEND_TRIM | T.SEND_WRITE_ZEROES | T.SEND_FAST_ZERO;
  const preferred = Math.min(Math.max(caps.optimalIo, MIN_PREFERRED), MAX_PAYLOAD);
  return {
    name: options.exportName ?? "",
    description: options.description ?? null,
    size,
    flags: T.HAS_FLAGS | T.SEND_FLUSH | T.CAN_MULTI_CONN | (shared.readOnly ? T.READ_ONLY : writing),
    structuredFlags: T.SEND_DF,
    preferredBlock: isPowerOfTwo(preferred) ? preferred : MIN_PREFERRED,
  };
}

/** One connection from its first byte to its end. */
class Client {
  /** Never rejects. */
  readonly done: Promise<void>;
  readonly #socket: Socket;
  #session: Session | null = null;
  #stopped = false;

  constructor(socket: Socket, shared: Shared, exported: Export, handshakeTimeoutMs: number) {
    this.#socket = socket;
    this.done = this.#run(shared, exported, handshakeTimeoutMs).catch(() => undefined);
  }

  /** Ends the handshake at once, and the transmission after what was received. */
  stop(): void {
    this.#stopped = true;
    if (this.#session) this.#session.stop();
    else this.#socket.destroy();
  }

  /** Waits for the end, but not for ever on a client that does not read. */
  async finish(timeoutMs: number): Promise<void> {
    const timer = setTimeout(() => this.#socket.destroy(), timeoutMs);
    await this.done;
    clearTimeout(timer);
  }

  async #run(shared: Shared, exported: Export, handshakeTimeoutMs: number): Promise<void> {
    const socket = this.#socket;
    const reader = new SocketReader(socket);
    const writer = new SocketWriter(socket);
    const timer = setTimeout(() => socket.destroy(), handshakeTimeoutMs);
    try {
      const agreement = await negotiate(reader, writer, exported);
      clearTimeout(timer);
      if (!agreement || this.#stopped) return;
      this.#session = new Session(reader, new Executor(shared, writer), agreement);
      await this.#session.run();
    } finally {
      clearTimeout(timer);
      socket.destroySoon();
    }
  }
}

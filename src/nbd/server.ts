import { createServer, type Socket } from "node:net";
import type { BlockDevice } from "../core/device.ts";
import { Executor, type Shared } from "./executor.ts";
import { type Export, negotiate } from "./negotiation.ts";
import { TransmissionFlag as Flag } from "./protocol.ts";
import { Session } from "./session.ts";
import { SocketReader, SocketWriter } from "./socket-io.ts";
import { listenPrivate } from "./unix-socket.ts";

/** A client that has not finished its handshake by then is dropped. */
const HANDSHAKE_MS = 10_000;
const MAX_CONNECTIONS = 16;

export interface NbdServerOptions {
  /** Not disposed of. */
  readonly device: BlockDevice;
  readonly socketPath: string;
  /** Clients may also ask for the empty name. Default: empty. */
  readonly exportName?: string | undefined;
  readonly description?: string | undefined;
  readonly readOnly: boolean;
  /** After the device's own flush, before a client's FLUSH or FUA is answered: makes it durable below. */
  readonly onFlush?: (() => Promise<void>) | undefined;
  readonly maxConnections?: number | undefined;
}

export interface NbdServer extends AsyncDisposable {
  readonly socketPath: string;
  /** Resolves when the server has ended. */
  readonly closed: Promise<void>;
  /** Takes no further clients and requests; what was received whole is carried out. The socket is removed. */
  close(): Promise<void>;
}

/**
 * Serves one device over NBD (fixed newstyle, structured replies, base:allocation) on a Unix socket that only its owner can connect to.
 * Throws `usage` or `locked` when the path is taken, `io` when the socket cannot be made.
 */
export async function serveNbd(options: NbdServerOptions): Promise<NbdServer> {
  const { device, readOnly, onFlush } = options;
  const writable = !readOnly && device.caps.writable;
  let tail: Promise<unknown> = Promise.resolve();
  const shared: Shared = {
    device,
    readOnly: !writable,
    exclusively<T>(work: () => Promise<T>): Promise<T> {
      const run = tail.then(work);
      tail = run.catch(() => undefined);
      return run;
    },
    async flush() {
      await device.flush();
      await onFlush?.();
    },
  };
  const exported = exportOf(options, writable);
  const running = new Set<Promise<void>>();
  const clients = new Set<{ socket: Socket; session: Session | null }>();

  const serve = async (socket: Socket): Promise<void> => {
    const client: { socket: Socket; session: Session | null } = { socket, session: null };
    clients.add(client);
    const timer = setTimeout(() => socket.destroy(), HANDSHAKE_MS);
    try {
      const reader = new SocketReader(socket);
      const writer = new SocketWriter(socket);
      const agreement = await negotiate(reader, writer, exported);
      clearTimeout(timer);
      if (!agreement) return;
      client.session = new Session(socket, reader, new Executor(shared, writer), agreement);
      await client.session.run();
    } catch {
      // A broken connection is the client's end, not the server's.
    } finally {
      clearTimeout(timer);
      clients.delete(client);
      socket.end();
      socket.destroySoon();
    }
  };

  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    const work = serve(socket);
    running.add(work);
    void work.finally(() => running.delete(work));
  });
  server.maxConnections = options.maxConnections ?? MAX_CONNECTIONS;
  const removeSocket = await listenPrivate(server, options.socketPath);
  const closed = new Promise<void>((resolve) => {
    server.once("close", () => resolve());
  });

  let closing: Promise<void> | null = null;
  const close = (): Promise<void> => {
    closing ??= (async () => {
      server.close();
      removeSocket();
      for (const { socket, session } of clients) {
        session?.stop();
        if (session === null) socket.destroy();
        // Ends the wait for the next request; what was received whole is still carried out and answered.
        else socket.emit("end");
      }
      await Promise.all(running);
      await tail;
      await closed;
    })();
    return closing;
  };
  return { socketPath: options.socketPath, closed, close, [Symbol.asyncDispose]: close };
}

function exportOf(options: NbdServerOptions, writable: boolean): Export {
  const { device } = options;
  // Every flush covers what all clients wrote before it: they share one device, so several connections are safe.
  let flags = Flag.HAS_FLAGS | Flag.SEND_FLUSH | Flag.CAN_MULTI_CONN;
  if (writable) {
    flags |= Flag.SEND_FUA | Flag.SEND_TRIM | Flag.SEND_WRITE_ZEROES | Flag.SEND_FAST_ZERO;
  } else {
    flags |= Flag.READ_ONLY;
  }
  return {
    name: options.exportName ?? "",
    description: options.description ?? null,
    size: device.size,
    flags,
    structuredFlags: Flag.SEND_DF,
    preferredBlock: Math.max(4096, Math.min(device.caps.optimalIo, 1024 * 1024)),
  };
}

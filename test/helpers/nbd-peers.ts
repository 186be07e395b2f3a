import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import {
  decodeRequest,
  encodeOption,
  encodeOptionReply,
  encodeU16,
  encodeU32,
  encodeU64,
  type Request,
} from "../../src/nbd/protocol.ts";
import { SocketReader } from "../../src/nbd/socket-io.ts";

export interface FakeServer {
  readonly options?: (option: number, data: Buffer) => Buffer[] | null;
  /** What goes back for a request; null ends the connection. */
  readonly reply: (request: Request, payload: Buffer) => Buffer | null;
  readonly flags?: number;
  readonly size?: bigint;
}

/** A server that answers the handshake as it should, unless told otherwise, and requests as the test says. */
export async function fakeServer(path: string, fake: FakeServer): Promise<{ close(): Promise<void> }> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    void serve(socket, fake)
      .catch(() => undefined)
      .finally(() => socket.destroy());
  });
  server.listen(path);
  await once(server, "listening");
  return {
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

async function serve(socket: Socket, fake: FakeServer): Promise<void> {
  const reader = new SocketReader(socket);
  const exported = Buffer.concat([encodeU64(fake.size ?? 65536n), encodeU16(fake.flags ?? 0x6d)]);
  socket.write(Buffer.concat([Buffer.from("NBDMAGICIHAVEOPT"), encodeU16(3)]));
  await reader.read(4);
  for (let going = true; going; ) {
    const head = await reader.read(16);
    const option = head.readUInt32BE(8);
    const data = await reader.read(head.readUInt32BE(12));
    const special = fake.options?.(option, data);
    if (special) {
      for (const part of special) socket.write(part);
      if (option === 1) going = false;
    } else if (option === 7) {
      socket.write(encodeOptionReply(7, 3, Buffer.concat([encodeU16(0), exported])));
      socket.write(encodeOptionReply(7, 1));
      going = false;
    } else if (option === 10) {
      socket.write(encodeOptionReply(10, 4, Buffer.concat([encodeU32(9), Buffer.from("base:allocation")])));
      socket.write(encodeOptionReply(10, 1));
    } else if (option === 1) {
      socket.write(exported);
      going = false;
    } else {
      socket.write(encodeOptionReply(option, 1));
    }
  }
  for (;;) {
    const request = decodeRequest(await reader.read(28))!;
    const payload = await reader.read(request.type === 1 ? request.length : 0);
    if (request.type === 2) return;
    const bytes = fake.reply(request, payload);
    if (!bytes) return;
    socket.write(bytes);
  }
}

/** A client that says exactly what it is told. */
export async function rawClient(path: string): Promise<{ socket: Socket; reader: SocketReader }> {
  const socket = connect(path);
  const reader = new SocketReader(socket);
  await once(socket, "connect");
  return { socket, reader };
}

/** The same, past the handshake, with structured replies when asked for. */
export async function transmittingClient(
  path: string,
  structured: boolean,
): Promise<{ socket: Socket; reader: SocketReader }> {
  const client = await rawClient(path);
  const { socket, reader } = client;
  await reader.read(18);
  socket.write(encodeU32(3));
  if (structured) {
    socket.write(encodeOption(8, new Uint8Array(0)));
    await reader.read(20);
  }
  socket.write(encodeOption(7, Buffer.alloc(6)));
  for (let type = 0; type !== 1; ) {
    const head = await reader.read(20);
    type = head.readUInt32BE(12);
    await reader.read(head.readUInt32BE(16));
  }
  return client;
}

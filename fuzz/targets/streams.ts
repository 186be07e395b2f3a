import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import { StorageError } from "../../src/core/errors.ts";
import type { FuseChannel } from "../../src/fuse/channel.ts";
import { serveFuse } from "../../src/fuse/server.ts";
import { ClientConnection } from "../../src/nbd/client-connection.ts";
import { ClientHandshake } from "../../src/nbd/client-handshake.ts";
import { Executor } from "../../src/nbd/executor.ts";
import { negotiate } from "../../src/nbd/negotiation.ts";
import {
  Command,
  encodeOption,
  encodeOptionReply,
  encodeRequest,
  encodeString,
  encodeU16,
  encodeU32,
  encodeU64,
  Option,
} from "../../src/nbd/protocol.ts";
import { Session } from "../../src/nbd/session.ts";
import { SocketReader, SocketWriter } from "../../src/nbd/socket-io.ts";
import { type Input, Sparse } from "../engine/sparse.ts";
import type { Target } from "../engine/target.ts";
import { watchedDevice } from "../engine/watched.ts";

const SIZE = 1024 * 1024;
/** A reply or request longer than this would only be zeros. */
const MOST = 256 * 1024;

/** A peer that says the bytes of an input and then leaves, and takes whatever it is sent. */
function peer(input: Input): Socket {
  const part = input[0]!;
  const bytes = part.read(0, Math.min(part.size, MOST));
  const stream = new Duplex({ allowHalfOpen: true, read: () => undefined, write: (_chunk, _encoding, done) => done() });
  stream.push(Buffer.from(bytes));
  stream.push(null);
  return Object.assign(stream, { bytesRead: 0, bytesWritten: 0 }) as unknown as Socket;
}

const stream = (...parts: Uint8Array[]): Input => [Sparse.of(Buffer.concat(parts))];
const request = (type: number, offset: number, length: number, flags = 0): Buffer =>
  encodeRequest({ type, flags, cookie: BigInt(type), offset: BigInt(offset), length });

const hello = encodeU32(3);
const go = encodeOption(Option.GO, Buffer.concat([encodeString(""), encodeU16(2, 3, 1)]));
const contexts = Buffer.concat([encodeString(""), encodeU32(1), encodeString("base:allocation")]);
const requests = [
  request(Command.READ, 0, 4096),
  request(Command.WRITE, 512, 16),
  Buffer.alloc(16, 9),
  request(Command.FLUSH, 0, 0),
  request(Command.WRITE_ZEROES, 4096, 8192),
  request(Command.TRIM, 0, 512),
  request(Command.BLOCK_STATUS, 0, SIZE),
  request(Command.DISC, 0, 0),
];

/** What a client sends to our server. */
const server: Target = {
  name: "nbd-server",
  seeds: () => [
    stream(hello, go, ...requests),
    stream(
      hello,
      encodeOption(Option.STRUCTURED_REPLY, Buffer.alloc(0)),
      encodeOption(Option.SET_META_CONTEXT, contexts),
      go,
      ...requests,
    ),
    stream(
      hello,
      encodeOption(Option.LIST, Buffer.alloc(0)),
      encodeOption(Option.LIST_META_CONTEXT, contexts),
      encodeOption(Option.ABORT, Buffer.alloc(0)),
    ),
    stream(encodeU32(0), encodeOption(Option.EXPORT_NAME, Buffer.alloc(0)), ...requests),
  ],
  async run(input, meter) {
    const socket = peer(input);
    const reader = new SocketReader(socket);
    const writer = new SocketWriter(socket);
    const device = watchedDevice(new Sparse(SIZE), meter, 1, true);
    const exported = {
      name: "e",
      description: "d",
      size: SIZE,
      flags: 0x16d,
      structuredFlags: 0x80,
      preferredBlock: 4096,
    };
    meter.count(0, 0, Math.min(input[0]!.size, MOST));
    const agreement = await negotiate(reader, writer, exported);
    if (!agreement) return;
    let tail: Promise<unknown> = Promise.resolve();
    const shared = {
      device,
      readOnly: false,
      flush: () => device.flush(),
      exclusively: <T>(work: () => Promise<T>): Promise<T> => {
        const run = tail.then(work);
        tail = run.catch(() => undefined);
        return run;
      },
    };
    await new Session(reader, new Executor(shared, writer), agreement).run();
    await tail;
  },
};

const magic = Buffer.concat([Buffer.from("NBDMAGICIHAVEOPT"), encodeU16(3)]);
const info = (...values: Buffer[]): Buffer => encodeOptionReply(Option.GO, 3, Buffer.concat(values));
const answers = [
  encodeOptionReply(Option.STRUCTURED_REPLY, 1),
  encodeOptionReply(Option.SET_META_CONTEXT, 4, Buffer.concat([encodeU32(9), Buffer.from("base:allocation")])),
  encodeOptionReply(Option.SET_META_CONTEXT, 1),
  info(encodeU16(0), encodeU64(BigInt(SIZE)), encodeU16(0x16d)),
  info(encodeU16(3), encodeU32(1, 4096, 1024 * 1024)),
  encodeOptionReply(Option.GO, 1),
];
const chunk = (flags: number, type: number, cookie: bigint, ...body: Buffer[]): Buffer => {
  const data = Buffer.concat(body);
  return Buffer.concat([
    encodeU32(0x668e33ef),
    encodeU16(flags, type),
    encodeU64(cookie),
    encodeU32(data.length),
    data,
  ]);
};
const replies = [
  chunk(0, 1, 0n, encodeU64(0n), Buffer.alloc(2048, 7)),
  chunk(1, 2, 0n, encodeU64(2048n), encodeU32(2048)),
  chunk(1, 5, 1n, encodeU32(9), encodeU32(4096, 0, 1_044_480, 3)),
  chunk(1, 0x8001, 2n, encodeU32(5), encodeU16(3), Buffer.from("bad")),
];

/** What a server answers to our client. */
const client: Target = {
  name: "nbd-client",
  seeds: () => [
    stream(magic, ...answers, ...replies),
    stream(
      magic,
      encodeOptionReply(Option.STRUCTURED_REPLY, 0x80000001),
      encodeOptionReply(Option.GO, 0x80000001),
      encodeU64(BigInt(SIZE)),
      encodeU16(1),
      encodeU32(0x67446698, 0),
      encodeU64(0n),
      Buffer.alloc(4096, 1),
    ),
  ],
  async run(input, meter) {
    const socket = peer(input);
    const reader = new SocketReader(socket);
    const writer = new SocketWriter(socket);
    meter.count(0, 0, Math.min(input[0]!.size, MOST));
    const offer = await new ClientHandshake(reader, writer, "").run();
    const connection = new ClientConnection(socket, reader, writer, offer.structured, 10_000);
    const calls = [
      { type: Command.READ, offset: 0, length: 4096, into: new Uint8Array(4096) },
      { type: Command.BLOCK_STATUS, offset: 0, length: SIZE },
      { type: Command.READ, offset: 8192, length: 512, into: new Uint8Array(512) },
      { type: Command.FLUSH, offset: 0, length: 0 },
    ];
    const results = await Promise.allSettled(calls.map((call) => connection.call(call)));
    for (const result of results)
      if (result.status === "rejected" && !(result.reason instanceof StorageError)) throw result.reason;
    await connection.close(0);
  },
};

function fuseRequest(opcode: number, body: Uint8Array): Buffer {
  const out = Buffer.alloc(40 + body.length);
  out.writeUInt32LE(out.length, 0);
  out.writeUInt32LE(opcode, 4);
  out.writeBigUInt64LE(BigInt(opcode), 8);
  out.writeBigUInt64LE(1n, 16);
  out.set(body, 40);
  return out;
}
const le64 = (...values: number[]): Buffer => Buffer.from(new BigUint64Array(values.map(BigInt)).buffer);
const le32 = (...values: number[]): Buffer => Buffer.from(new Uint32Array(values).buffer);
const FUSE_REQUESTS = [
  fuseRequest(26, le32(7, 31, 65536, 0)),
  fuseRequest(14, le32(2, 0)),
  fuseRequest(3, Buffer.alloc(16)),
  fuseRequest(15, Buffer.concat([le64(0, 0), le32(8192, 0), le64(0), le32(0, 0)])),
  fuseRequest(16, Buffer.concat([le64(0, 4096), le32(16, 0), le64(0), le32(0, 0), Buffer.alloc(16, 7)])),
  fuseRequest(43, Buffer.concat([le64(0, 0, 4096), le32(3, 0)])),
  fuseRequest(46, Buffer.concat([le64(0, 0), le32(4, 0)])),
  fuseRequest(4, Buffer.alloc(88)),
  fuseRequest(20, Buffer.alloc(16)),
  fuseRequest(22, Buffer.from("\0\0\0\0\0\0\0\0user.x\0", "latin1")),
];

/** Requests as the kernel hands them over: their length field is what the kernel read, so it is always right. */
class FuzzedKernel implements FuseChannel {
  readonly #bytes: Uint8Array;
  #at = 0;
  malformed: Error | null = null;

  constructor(input: Input) {
    this.#bytes = input[0]!.read(0, Math.min(input[0]!.size, MOST));
  }

  async receive(into: Uint8Array): Promise<number> {
    const rest = this.#bytes.length - this.#at;
    if (rest < 40) return 0;
    const said = new DataView(this.#bytes.buffer, this.#at).getUint32(0, true);
    const length = Math.max(40, Math.min(said, rest, into.length));
    into.set(this.#bytes.subarray(this.#at, this.#at + length));
    this.#at += length;
    return length;
  }

  send(message: Uint8Array): boolean {
    const said = new DataView(message.buffer, message.byteOffset).getUint32(0, true);
    if (said !== message.length) this.malformed = new Error(`a reply of ${message.length} bytes says ${said}`);
    return true;
  }

  async sendAside(): Promise<boolean> {
    return true;
  }

  async close(): Promise<void> {}
}

/** Requests of the kernel; its programs choose offsets and lengths. An error that is no StorageError would reach the program as EIO. */
const fuse: Target = {
  name: "fuse",
  seeds: () => [stream(...FUSE_REQUESTS), stream(...[...FUSE_REQUESTS].reverse())],
  async run(input, meter) {
    const channel = new FuzzedKernel(input);
    const device = watchedDevice(new Sparse(SIZE), meter, 1, true);
    meter.count(0, 0, Math.min(input[0]!.size, MOST));
    const { firstError } = await serveFuse({ channel, device, readOnly: false }).done;
    if (channel.malformed) throw channel.malformed;
    if (firstError) throw firstError;
  },
};

export const streamTargets: readonly Target[] = [server, client, fuse];

import { exactNumber, isPowerOfTwo } from "../bytes/integers.ts";
import { StorageError } from "../core/errors.ts";
import { Cursor } from "./cursor.ts";
import {
  BASE_ALLOCATION,
  encodeOption,
  encodeString,
  encodeU16,
  encodeU32,
  HandshakeFlag,
  INIT_MAGIC,
  Info,
  MAX_PAYLOAD,
  OPTION_MAGIC,
  OPTION_REPLY_MAGIC,
  Option,
  OptionReply,
} from "./protocol.ts";
import type { SocketReader, SocketWriter } from "./socket-io.ts";

/** What a server offers, as far as the device needs it. */
export interface ServerOffer {
  /** Bytes. */
  readonly size: number;
  /** TransmissionFlag bits. */
  readonly flags: number;
  readonly structured: boolean;
  /** Context id of `base:allocation`, or null. */
  readonly allocationId: number | null;
  /** Block size constraints in bytes. */
  readonly minimumBlock: number;
  readonly preferredBlock: number;
  readonly maximumPayload: number;
}

/** A server has no reason to answer an option with more than a name and some numbers. */
const MAX_REPLY_BYTES = 64 * 1024;
const MAX_REPLIES = 256;
/** "the client SHOULD assume a minimum of 1, a preferred size of 4096, and a maximum payload of 32 MiB". */
const DEFAULT_PREFERRED = 4096;
const MAX_MINIMUM = 65536;

interface Reply {
  readonly type: number;
  readonly data: Buffer;
}

/** The client's side of the fixed newstyle handshake: structured replies, base:allocation and GO, as far as the server has them. */
export class ClientHandshake {
  readonly #reader: SocketReader;
  readonly #writer: SocketWriter;
  readonly #exportName: string;

  constructor(reader: SocketReader, writer: SocketWriter, exportName: string) {
    this.#reader = reader;
    this.#writer = writer;
    this.#exportName = exportName;
  }

  async run(): Promise<ServerOffer> {
    const noZeroes = await this.#greet();
    const structured = await this.#structured();
    const allocationId = structured ? await this.#context() : null;
    const offer = (await this.#go()) ?? (await this.#exportNameOption(noZeroes));
    return { ...offer, structured, allocationId };
  }

  async #greet(): Promise<boolean> {
    const greeting = await this.#reader.read(18);
    if (greeting.readBigUInt64BE(0) !== INIT_MAGIC) throw protocolError("no NBD server answers on this socket");
    const flags = greeting.readUInt16BE(16);
    if (greeting.readBigUInt64BE(8) !== OPTION_MAGIC || (flags & HandshakeFlag.FIXED_NEWSTYLE) === 0) {
      throw new StorageError("unsupported", "the server speaks an old style of NBD", {
        layer: "nbd",
        feature: "oldstyle handshake",
        hint: "use a server that speaks fixed newstyle, such as qemu-nbd or nbdkit",
      });
    }
    const noZeroes = flags & HandshakeFlag.NO_ZEROES;
    await this.#writer.send(encodeU32(HandshakeFlag.FIXED_NEWSTYLE | noZeroes));
    return noZeroes !== 0;
  }

  async #structured(): Promise<boolean> {
    const [last] = await this.#ask(Option.STRUCTURED_REPLY, new Uint8Array(0));
    return last.type === OptionReply.ACK;
  }

  async #context(): Promise<number | null> {
    const data = Buffer.concat([encodeString(this.#exportName), encodeU32(1), encodeString(BASE_ALLOCATION)]);
    const [last, before] = await this.#ask(Option.SET_META_CONTEXT, data);
    if (last.type !== OptionReply.ACK) return null;
    for (const reply of before) {
      const cursor = new Cursor(reply.data);
      const id = cursor.u32();
      if (reply.type === OptionReply.META_CONTEXT && id !== null && cursor.rest() === BASE_ALLOCATION) return id;
    }
    return null;
  }

  async #go(): Promise<Omit<ServerOffer, "structured" | "allocationId"> | null> {
    const data = Buffer.concat([encodeString(this.#exportName), encodeU16(1, Info.BLOCK_SIZE)]);
    const [last, before] = await this.#ask(Option.GO, data);
    if (last.type === OptionReply.ERR_UNSUP) return null;
    if (last.type !== OptionReply.ACK) throw refused(last, this.#exportName);
    let exported: { size: bigint; flags: number } | null = null;
    let blocks: BlockSizes = DEFAULT_BLOCKS;
    for (const { type, data: info } of before) {
      if (type !== OptionReply.INFO || info.length < 2) continue;
      const kind = info.readUInt16BE(0);
      if (kind === Info.EXPORT && info.length === 12)
        exported = { size: info.readBigUInt64BE(2), flags: info.readUInt16BE(10) };
      if (kind === Info.BLOCK_SIZE && info.length === 14) blocks = decodeBlockSizes(info);
    }
    if (!exported) throw protocolError("the server did not say how large the export is");
    return { size: sizeOf(exported.size, blocks), flags: exported.flags, ...blocks };
  }

  async #exportNameOption(noZeroes: boolean): Promise<Omit<ServerOffer, "structured" | "allocationId">> {
    await this.#writer.send(encodeOption(Option.EXPORT_NAME, Buffer.from(this.#exportName)));
    const answer = await this.#reader.read(noZeroes ? 10 : 134);
    const size = sizeOf(answer.readBigUInt64BE(0), DEFAULT_BLOCKS);
    return { size, flags: answer.readUInt16BE(8), ...DEFAULT_BLOCKS };
  }

  /** Sends an option; the reply that ends it (ACK or an error) and those before it. */
  async #ask(option: number, data: Uint8Array): Promise<[Reply, Reply[]]> {
    await this.#writer.send(encodeOption(option, data));
    const before: Reply[] = [];
    while (before.length < MAX_REPLIES) {
      const header = await this.#reader.read(20);
      const length = header.readUInt32BE(16);
      if (header.readBigUInt64BE(0) !== OPTION_REPLY_MAGIC || header.readUInt32BE(8) !== option)
        throw protocolError("the server answered something else than the option");
      if (length > MAX_REPLY_BYTES) throw protocolError(`the server announces an answer of ${length} bytes`);
      const reply = { type: header.readUInt32BE(12), data: await this.#reader.read(length) };
      if (reply.type === OptionReply.ACK || reply.type >= 0x8000_0000) return [reply, before];
      before.push(reply);
    }
    throw protocolError("the server answers without end");
  }
}

type BlockSizes = Pick<ServerOffer, "minimumBlock" | "preferredBlock" | "maximumPayload">;

const DEFAULT_BLOCKS: BlockSizes = {
  minimumBlock: 1,
  preferredBlock: DEFAULT_PREFERRED,
  maximumPayload: MAX_PAYLOAD,
};

function decodeBlockSizes(info: Buffer): BlockSizes {
  const minimumBlock = info.readUInt32BE(2);
  const preferredBlock = info.readUInt32BE(6);
  const most = Math.min(info.readUInt32BE(10), MAX_PAYLOAD);
  const maximumPayload = most - (most % Math.max(minimumBlock, 1));
  if (!isPowerOfTwo(minimumBlock) || minimumBlock > MAX_MINIMUM || maximumPayload < minimumBlock)
    throw protocolError(`impossible block sizes ${minimumBlock} to ${most}`);
  const fits = isPowerOfTwo(preferredBlock) && preferredBlock >= minimumBlock && preferredBlock <= maximumPayload;
  return {
    minimumBlock,
    preferredBlock: fits ? preferredBlock : Math.max(minimumBlock, DEFAULT_PREFERRED),
    maximumPayload,
  };
}

function sizeOf(size: bigint, { minimumBlock }: BlockSizes): number {
  const exact = exactNumber(size);
  if (exact === null) throw protocolError(`the export's size of ${size} bytes is beyond what can be addressed`);
  if (exact % minimumBlock !== 0) {
    throw new StorageError(
      "unsupported",
      `the export has ${exact} bytes, no multiple of the server's block of ${minimumBlock}`,
      {
        layer: "nbd",
        feature: "size off the minimum block size",
      },
    );
  }
  return exact;
}

function refused(reply: Reply, exportName: string): StorageError {
  const text = reply.data.toString("utf8").slice(0, 200);
  const detail = text === "" ? "" : `: ${text}`;
  const name = exportName === "" ? "the default export" : `the export ${exportName}`;
  if (reply.type === OptionReply.ERR_UNKNOWN)
    return new StorageError("usage", `the NBD server has no such export (${name})${detail}`, {
      layer: "nbd",
      hint: "nbdinfo --list shows the server's exports",
    });
  if (reply.type === OptionReply.ERR_TLS_REQD)
    return new StorageError("unsupported", `the NBD server wants TLS for ${name}`, { layer: "nbd", feature: "TLS" });
  return new StorageError("io", `the NBD server refuses ${name} (error ${reply.type - 0x8000_0000})${detail}`, {
    layer: "nbd",
  });
}

export function protocolError(message: string): StorageError {
  return new StorageError("io", `NBD: ${message}`, { layer: "nbd" });
}

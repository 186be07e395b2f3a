import { isPowerOfTwo } from "../bytes/integers.ts";
import { StorageError } from "../core/errors.ts";
import { safeNumber } from "../core/numbers.ts";
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

/** The longest reply to an option that is read; a server that announces more is not trusted. */
const MAX_REPLY = 64 * 1024;
/** Replies to one option; a listing would need more, we never list. */
const MAX_REPLIES = 64;
/** "the maximum block size … 32 MiB" where the server says nothing. */
const DEFAULT_MAXIMUM = MAX_PAYLOAD;

/** What server and client have agreed on. */
export interface Connected {
  /** Bytes. */
  readonly size: number;
  readonly flags: number;
  readonly structured: boolean;
  /** Context id of base:allocation, or null. */
  readonly allocationId: number | null;
  /** Bytes: requests must be a multiple of it. */
  readonly minimumBlock: number;
  readonly maximumBlock: number;
}

interface Reply {
  readonly type: number;
  readonly data: Buffer;
}

/** The client's side of the handshake ("Fixed newstyle negotiation"). Throws `io`, `usage` for an unknown export, `unsupported` for an old server. */
export async function handshake(reader: SocketReader, writer: SocketWriter, exportName: string): Promise<Connected> {
  const greeting = await reader.read(18);
  if (greeting.readBigUInt64BE(0) !== INIT_MAGIC || greeting.readBigUInt64BE(8) !== OPTION_MAGIC) {
    throw new StorageError("io", "what listens there does not speak NBD (newstyle)", { layer: "nbd" });
  }
  const serverFlags = greeting.readUInt16BE(16);
  if ((serverFlags & HandshakeFlag.FIXED_NEWSTYLE) === 0) throw tooOld("fixed newstyle");
  await writer.send(encodeU32(serverFlags & (HandshakeFlag.FIXED_NEWSTYLE | HandshakeFlag.NO_ZEROES)));

  const structured =
    (await ask(reader, writer, Option.STRUCTURED_REPLY, Buffer.alloc(0))).at(-1)!.type === OptionReply.ACK;
  let allocationId: number | null = null;
  if (structured) {
    const query = Buffer.concat([encodeString(exportName), encodeU32(1), encodeString(BASE_ALLOCATION)]);
    const replies = await ask(reader, writer, Option.SET_META_CONTEXT, query);
    const context = replies.find(
      (r) => r.type === OptionReply.META_CONTEXT && r.data.toString("utf8", 4) === BASE_ALLOCATION,
    );
    if (replies.at(-1)!.type === OptionReply.ACK && context) allocationId = context.data.readUInt32BE(0);
  }
  const go = Buffer.concat([encodeString(exportName), encodeU16(1, Info.BLOCK_SIZE)]);
  const replies = await ask(reader, writer, Option.GO, go);
  const last = replies.at(-1)!;
  if (last.type !== OptionReply.ACK) throw refusal(last, exportName);
  return { structured, allocationId, ...exportInfo(replies) };
}

function exportInfo(replies: readonly Reply[]): Pick<Connected, "size" | "flags" | "minimumBlock" | "maximumBlock"> {
  const info = (type: number, length: number) =>
    replies.find((r) => r.type === OptionReply.INFO && r.data.length === length && r.data.readUInt16BE(0) === type)
      ?.data;
  const about = info(Info.EXPORT, 12);
  if (!about) throw new StorageError("io", "the NBD server does not tell the size of the export", { layer: "nbd" });
  const blocks = info(Info.BLOCK_SIZE, 14);
  const minimum = blocks?.readUInt32BE(2) ?? 1;
  // "the minimum block size … MUST be a power of 2" and at most 64 KiB; the maximum a multiple of it, or 2^32-1 for none.
  if (!isPowerOfTwo(minimum) || minimum > 64 * 1024) {
    throw new StorageError("io", `the NBD server wants blocks of ${minimum} bytes`, { layer: "nbd" });
  }
  const maximum = Math.min(blocks?.readUInt32BE(10) ?? DEFAULT_MAXIMUM, DEFAULT_MAXIMUM);
  return {
    size: safeNumber(about.readBigUInt64BE(2), "the export's size", "nbd"),
    flags: about.readUInt16BE(10),
    minimumBlock: minimum,
    maximumBlock: Math.max(minimum, maximum - (maximum % minimum)),
  };
}

/** Sends an option and reads its replies up to the last one: ACK or an error. */
async function ask(reader: SocketReader, writer: SocketWriter, option: number, data: Uint8Array): Promise<Reply[]> {
  await writer.send(encodeOption(option, data));
  const replies: Reply[] = [];
  for (;;) {
    const header = await reader.read(20);
    const length = header.readUInt32BE(16);
    const valid = header.readBigUInt64BE(0) === OPTION_REPLY_MAGIC && header.readUInt32BE(8) === option;
    if (!valid || length > MAX_REPLY || replies.length >= MAX_REPLIES) {
      throw new StorageError("io", "the NBD server answers nonsense in the handshake", { layer: "nbd" });
    }
    const type = header.readUInt32BE(12);
    replies.push({ type, data: await reader.read(length) });
    if (type === OptionReply.ACK || type >= 0x8000_0000) return replies;
  }
}

function tooOld(feature: string): StorageError {
  return new StorageError("unsupported", `the NBD server is too old: it lacks ${feature}`, { layer: "nbd", feature });
}

function refusal(reply: Reply, exportName: string): StorageError {
  const said = reply.data.toString("utf8").slice(0, 200);
  switch (reply.type) {
    case OptionReply.ERR_UNSUP:
      return tooOld("NBD_OPT_GO");
    case OptionReply.ERR_UNKNOWN:
      return new StorageError("usage", `the NBD server has no export called “${exportName}”`, {
        layer: "nbd",
        hint: "nbdinfo --list shows what it has",
      });
    case OptionReply.ERR_TLS_REQD:
      return new StorageError("unsupported", "the NBD server wants TLS", { layer: "nbd", feature: "TLS" });
    default:
      return new StorageError("io", `the NBD server refuses the export${said ? `: ${said}` : ""}`, { layer: "nbd" });
  }
}

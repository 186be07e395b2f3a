import { Cursor } from "./cursor.ts";
import {
  BASE_ALLOCATION,
  encodeOptionReply,
  encodeString,
  encodeU16,
  encodeU32,
  encodeU64,
  HandshakeFlag,
  INIT_MAGIC,
  Info,
  MAX_PAYLOAD,
  MAX_STRING,
  OPTION_MAGIC,
  Option,
  OptionReply,
} from "./protocol.ts";
import type { SocketReader, SocketWriter } from "./socket-io.ts";

/** Options carry at most a name and some queries; a client that announces more is not spoken to any longer. */
const MAX_OPTION_BYTES = 64 * 1024;
/** A client needs a handful of options; this many is an attack. */
const MAX_OPTIONS = 256;

/** What is exported, in the words of the handshake. */
export interface Export {
  readonly name: string;
  readonly description: string | null;
  /** Bytes. */
  readonly size: number;
  /** Transmission flags; SEND_DF is added when structured replies are on. */
  readonly flags: number;
  readonly structuredFlags: number;
  readonly preferredBlock: number;
}

/** What client and server have agreed on. */
export interface Agreement {
  readonly structured: boolean;
  /** The context id under which `base:allocation` is answered, or null. */
  readonly allocationId: number | null;
}

const ALLOCATION_ID = 1;

/** The server's side of the handshake. Null: the client left or said something impossible; the connection is to be closed. */
export async function negotiate(
  reader: SocketReader,
  writer: SocketWriter,
  exported: Export,
): Promise<Agreement | null> {
  const flags = HandshakeFlag.FIXED_NEWSTYLE | HandshakeFlag.NO_ZEROES;
  await writer.send(encodeU64(INIT_MAGIC), encodeU64(OPTION_MAGIC), encodeU16(flags));
  const clientFlags = (await reader.read(4)).readUInt32BE();
  if (clientFlags & ~flags) return null;
  const fixed = (clientFlags & HandshakeFlag.FIXED_NEWSTYLE) !== 0;
  const noZeroes = (clientFlags & HandshakeFlag.NO_ZEROES) !== 0;
  const state: State = { structured: false, context: null };
  for (let i = 0; i < MAX_OPTIONS; i++) {
    const header = await reader.read(16);
    if (header.readBigUInt64BE(0) !== OPTION_MAGIC) return null;
    const option = header.readUInt32BE(8);
    const length = header.readUInt32BE(12);
    if (length > MAX_OPTION_BYTES || (!fixed && option !== Option.EXPORT_NAME)) return null;
    const data = await reader.read(length);
    if (option === Option.EXPORT_NAME) {
      const name = data.toString("utf8");
      if (!matches(exported, name)) return null;
      const zeroes = new Uint8Array(noZeroes ? 0 : 124);
      await writer.send(encodeU64(BigInt(exported.size)), encodeU16(flagsFor(exported, state)), zeroes);
      return agreementOf(exported, state, name);
    }
    const { replies, next } = answer(option, data, exported, state);
    await writer.send(...replies);
    if (next === "end") return null;
    if (next !== "continue") return next;
  }
  return null;
}

interface State {
  structured: boolean;
  /** Name of the export for which base:allocation was set; it counts only for that one. */
  context: string | null;
}

interface Answer {
  readonly replies: readonly Buffer[];
  readonly next: "continue" | "end" | Agreement;
}

/** The empty name asks for the default export, and there is only one. */
function matches(exported: Export, name: string): boolean {
  return name === "" || name === exported.name;
}

function flagsFor(exported: Export, state: State): number {
  return exported.flags | (state.structured ? exported.structuredFlags : 0);
}

function agreementOf(exported: Export, state: State, name: string): Agreement {
  const set = state.context !== null && matches(exported, state.context) && state.context === name;
  return { structured: state.structured, allocationId: set ? ALLOCATION_ID : null };
}

function answer(option: number, data: Buffer, exported: Export, state: State): Answer {
  const reply = (type: number, payload?: Uint8Array) => encodeOptionReply(option, type, payload);
  const refuse = (type: number, message: string): Answer => ({
    replies: [reply(type, Buffer.from(message))],
    next: "continue",
  });
  switch (option) {
    case Option.ABORT:
      return { replies: [reply(OptionReply.ACK)], next: "end" };
    case Option.LIST:
      if (data.length > 0) return refuse(OptionReply.ERR_INVALID, "NBD_OPT_LIST takes no data");
      return {
        replies: [reply(OptionReply.SERVER, encodeString(exported.name)), reply(OptionReply.ACK)],
        next: "continue",
      };
    case Option.STRUCTURED_REPLY:
      if (data.length > 0) return refuse(OptionReply.ERR_INVALID, "NBD_OPT_STRUCTURED_REPLY takes no data");
      state.structured = true;
      return { replies: [reply(OptionReply.ACK)], next: "continue" };
    case Option.INFO:
    case Option.GO: {
      const asked = decodeInfoRequest(data);
      if (!asked) return refuse(OptionReply.ERR_INVALID, "the data does not have the form that it should");
      if (!matches(exported, asked.name)) return refuse(OptionReply.ERR_UNKNOWN, "no such export");
      const infos = infosOf(exported, state, asked.infos).map((info) => reply(OptionReply.INFO, info));
      const next = option === Option.GO ? agreementOf(exported, state, asked.name) : "continue";
      return { replies: [...infos, reply(OptionReply.ACK)], next };
    }
    case Option.LIST_META_CONTEXT:
    case Option.SET_META_CONTEXT: {
      const asked = decodeContextRequest(data);
      const set = option === Option.SET_META_CONTEXT;
      if (set) state.context = null;
      if (!state.structured) return refuse(OptionReply.ERR_INVALID, "structured replies must be agreed on first");
      if (!asked) return refuse(OptionReply.ERR_INVALID, "the data does not have the form that it should");
      if (!matches(exported, asked.name)) return refuse(OptionReply.ERR_UNKNOWN, "no such export");
      const wanted = asked.queries.some((query) => query === BASE_ALLOCATION || (!set && query === "base:"));
      const found = wanted || (!set && asked.queries.length === 0);
      if (set && found) state.context = asked.name;
      const context = Buffer.concat([encodeU32(set ? ALLOCATION_ID : 0), Buffer.from(BASE_ALLOCATION)]);
      const contexts = found ? [reply(OptionReply.META_CONTEXT, context)] : [];
      return { replies: [...contexts, reply(OptionReply.ACK)], next: "continue" };
    }
    default:
      return refuse(OptionReply.ERR_UNSUP, "this option is not supported");
  }
}

function infosOf(exported: Export, state: State, asked: readonly number[]): Buffer[] {
  const infos = [
    Buffer.concat([encodeU16(Info.EXPORT), encodeU64(BigInt(exported.size)), encodeU16(flagsFor(exported, state))]),
  ];
  if (asked.includes(Info.NAME)) infos.push(Buffer.concat([encodeU16(Info.NAME), Buffer.from(exported.name)]));
  if (asked.includes(Info.DESCRIPTION) && exported.description !== null)
    infos.push(Buffer.concat([encodeU16(Info.DESCRIPTION), Buffer.from(exported.description)]));
  if (asked.includes(Info.BLOCK_SIZE))
    infos.push(Buffer.concat([encodeU16(Info.BLOCK_SIZE), encodeU32(1, exported.preferredBlock, MAX_PAYLOAD)]));
  return infos;
}

/** NBD_OPT_GO and NBD_OPT_INFO: name, then a counted list of 16-bit information types. */
function decodeInfoRequest(data: Buffer): { name: string; infos: number[] } | null {
  const cursor = new Cursor(data);
  const name = cursor.text(MAX_STRING);
  const count = cursor.u16();
  if (name === null || count === null) return null;
  const infos: number[] = [];
  for (let i = 0; i < count; i++) {
    const info = cursor.u16();
    if (info === null) return null;
    infos.push(info);
  }
  return cursor.left === 0 ? { name, infos } : null;
}

/** NBD_OPT_LIST_META_CONTEXT and _SET_: name, then a counted list of query strings. */
function decodeContextRequest(data: Buffer): { name: string; queries: string[] } | null {
  const cursor = new Cursor(data);
  const name = cursor.text(MAX_STRING);
  const count = cursor.u32();
  if (name === null || count === null) return null;
  const queries: string[] = [];
  for (let i = 0; i < count; i++) {
    const query = cursor.text(MAX_STRING);
    if (query === null) return null;
    queries.push(query);
  }
  return cursor.left === 0 ? { name, queries } : null;
}

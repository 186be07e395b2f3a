import { expect } from "vitest";
import type { BlockDevice } from "../../src/core/device.ts";
import type { FuseChannel } from "../../src/fuse/channel.ts";
import { type FuseServer, serveFuse } from "../../src/fuse/server.ts";

// Numbers of include/uapi/linux/fuse.h, written out here so that a slip in protocol.ts is seen.
export const OP = {
  GETATTR: 3,
  SETATTR: 4,
  OPEN: 14,
  READ: 15,
  WRITE: 16,
  STATFS: 17,
  FSYNC: 20,
  GETXATTR: 22,
  INIT: 26,
  FALLOCATE: 43,
  LSEEK: 46,
};

/** `error`: an errno, 0 for none. */
export interface Reply {
  readonly error: number;
  readonly body: Buffer;
}

/** Plays the kernel: sends requests, matches replies by their unique number. */
export class Kernel implements FuseChannel {
  readonly #requests: Buffer[] = [];
  readonly #replies = new Map<bigint, (reply: Reply) => void>();
  #wake: (() => void) | null = null;
  #gone = false;
  #unique = 2n;
  /** Replies to requests that nobody waits for (any more). */
  unexpected = 0;
  closed = false;

  async receive(into: Uint8Array): Promise<number> {
    while (this.#requests.length === 0 && !this.#gone) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    const next = this.#requests.shift();
    if (!next) return 0;
    into.set(next);
    return next.length;
  }

  send(message: Uint8Array): boolean {
    const reply = Buffer.from(message);
    expect(reply.readUInt32LE(0)).toBe(reply.length);
    const unique = reply.readBigUInt64LE(8);
    const waiting = this.#replies.get(unique);
    this.#replies.delete(unique);
    if (!waiting) this.unexpected++;
    waiting?.({ error: Math.abs(reply.readInt32LE(4)), body: reply.subarray(16) });
    return waiting !== undefined;
  }

  /** What was pushed: offset and data of each store. */
  readonly stored: { offset: number; bytes: Buffer }[] = [];

  async sendAside(message: Uint8Array, rest: Uint8Array): Promise<boolean> {
    const header = Buffer.from(message);
    // fuse_out_header with FUSE_NOTIFY_STORE (4) as its error and no unique; fuse_notify_store_out for the root.
    expect([header.length, header.readUInt32LE(0), header.readInt32LE(4)]).toEqual([40, 40 + rest.length, 4]);
    expect([header.readBigUInt64LE(8), header.readBigUInt64LE(16)]).toEqual([0n, 1n]);
    expect(header.readUInt32LE(32)).toBe(rest.length);
    this.stored.push({ offset: Number(header.readBigUInt64LE(24)), bytes: Buffer.from(rest) });
    return true;
  }

  async close(): Promise<void> {
    this.closed = true;
  }

  ask(opcode: number, body: Uint8Array): Promise<Reply> {
    const unique = this.#unique;
    const answer = new Promise<Reply>((resolve) => this.#replies.set(unique, resolve));
    this.tell(opcode, body);
    return answer;
  }

  tell(opcode: number, body: Uint8Array): void {
    const request = Buffer.alloc(40 + body.length);
    request.writeUInt32LE(request.length, 0);
    request.writeUInt32LE(opcode, 4);
    request.writeBigUInt64LE(this.#unique, 8);
    this.#unique += 2n;
    request.writeBigUInt64LE(1n, 16);
    request.set(body, 40);
    this.#requests.push(request);
    this.#wake?.();
  }

  unmount(): void {
    this.#gone = true;
    this.#wake?.();
  }

  read(offset: number | bigint, size: number): Promise<Reply> {
    const body = Buffer.alloc(40);
    body.writeBigUInt64LE(BigInt(offset), 8);
    body.writeUInt32LE(size, 16);
    return this.ask(OP.READ, body);
  }

  write(offset: number, data: Uint8Array): Promise<Reply> {
    const body = Buffer.alloc(40 + data.length);
    body.writeBigUInt64LE(BigInt(offset), 8);
    body.writeUInt32LE(data.length, 16);
    body.set(data, 40);
    return this.ask(OP.WRITE, body);
  }

  fallocate(mode: number, offset: number, length: number): Promise<Reply> {
    const body = Buffer.alloc(32);
    body.writeBigUInt64LE(BigInt(offset), 8);
    body.writeBigUInt64LE(BigInt(length), 16);
    body.writeUInt32LE(mode, 24);
    return this.ask(OP.FALLOCATE, body);
  }

  async seek(whence: number, offset: number): Promise<number> {
    const body = Buffer.alloc(24);
    body.writeBigUInt64LE(BigInt(offset), 8);
    body.writeUInt32LE(whence, 16);
    const reply = await this.ask(OP.LSEEK, body);
    return reply.error === 0 ? Number(reply.body.readBigUInt64LE(0)) : -reply.error;
  }

  setSize(size: number): Promise<Reply> {
    const body = Buffer.alloc(88);
    body.writeUInt32LE(1 << 3, 0);
    body.writeBigUInt64LE(BigInt(size), 16);
    return this.ask(OP.SETATTR, body);
  }
}

/** The server of one file over `device`, and the kernel that asks it. */
export function serve(
  device: BlockDevice,
  options: { readOnly?: boolean; signal?: AbortSignal } = {},
): [Kernel, FuseServer] {
  const kernel = new Kernel();
  return [kernel, serveFuse({ channel: kernel, device, readOnly: options.readOnly ?? false, signal: options.signal })];
}

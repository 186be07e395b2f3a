import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { type FakeServer, fakeServer } from "../../test/helpers/nbd-peers.ts";
import { temporaryFolder } from "../../test/helpers/programs.ts";
import type { BlockDevice } from "../core/device.ts";
import { openNbd, parseNbdUri } from "./client.ts";
import {
  encodeChunkHeader,
  encodeOptionReply,
  encodeSimpleReply,
  encodeU32,
  encodeU64,
  type Request,
} from "./protocol.ts";

const folder = temporaryFolder();
afterAll(folder.remove);
let count = 0;

async function using(
  fake: FakeServer,
  work: (device: BlockDevice) => Promise<void>,
  more: { writable?: boolean; requestTimeoutMs?: number } = {},
): Promise<void> {
  const socketPath = join(folder.path, `${count++}.sock`);
  const server = await fakeServer(socketPath, fake);
  try {
    await using device = await openNbd({ socketPath, exportName: "", timeoutMs: 20_000, ...more });
    await work(device);
  } finally {
    await server.close();
  }
}

const data = (r: Request, at: number, bytes: Buffer, done = false) =>
  Buffer.concat([encodeChunkHeader(r.cookie, 1, done ? 1 : 0, 8 + bytes.length), encodeU64(BigInt(at)), bytes]);
const hole = (r: Request, at: number, length: number, done = false) =>
  Buffer.concat([encodeChunkHeader(r.cookie, 2, done ? 1 : 0, 12), encodeU64(BigInt(at)), encodeU32(length)]);
const done = (r: Request) => encodeChunkHeader(r.cookie, 0, 1, 0);
/** A chunk without its DONE flag ("Structured reply chunk message", bytes 4 and 5). */
const notLast = (chunk: Buffer) => chunk.fill(0, 4, 6);
const status = (r: Request, id: number, ...words: number[]) =>
  Buffer.concat([encodeChunkHeader(r.cookie, 5, 1, 4 + words.length * 4), encodeU32(id, ...words)]);

describe("a server that keeps the protocol", () => {
  it("may answer a read in pieces of any order", () =>
    using(
      {
        reply: (r) =>
          Buffer.concat([data(r, 6, Buffer.from("cd")), hole(r, 2, 4), data(r, 0, Buffer.from("ab"), true)]),
      },
      async (device) => {
        const into = new Uint8Array(8).fill(1);
        await device.read(into, 0);
        expect(Buffer.from(into).toString("latin1")).toBe("ab\0\0\0\0cd");
      },
    ));

  it("may know neither GO nor structured replies", () =>
    using(
      {
        options: (option) => (option === 7 || option === 8 ? [encodeOptionReply(option, 0x80000001)] : null),
        reply: (r) => Buffer.concat([encodeSimpleReply(r.cookie, 0), Buffer.alloc(r.length, 7)]),
      },
      async (device) => {
        // Without NO_ZEROES the answer to EXPORT_NAME has 124 zeros; the fake server agreed to leave them out.
        expect(device.size).toBe(65536);
        const into = new Uint8Array(4);
        await device.read(into, 100);
        expect([...into]).toEqual([7, 7, 7, 7]);
        const kinds = [];
        for await (const e of device.extents(0, 65536)) kinds.push(e.kind);
        expect(kinds).toEqual(["data"]);
      },
    ));

  it("may describe more than was asked and less", () =>
    using({ reply: (r) => status(r, 9, ...(r.offset === 0n ? [4096, 3, 4096, 2] : [1 << 20, 0])) }, async (device) => {
      const all = [];
      for await (const e of device.extents(0, 65536)) all.push(e);
      expect(all).toEqual([
        { offset: 0, length: 4096, kind: "hole" },
        { offset: 4096, length: 4096, kind: "zero" },
        { offset: 8192, length: 57344, kind: "data" },
      ]);
    }));

  it("may describe a fragmented disk in one long answer, as qemu-nbd does", () => {
    // NBD_MAX_BLOCK_STATUS_EXTENTS of QEMU: 2^17 runs, with the context id 4 bytes more than 1 MiB.
    const body = Buffer.alloc(4 + 8 * 2 ** 17);
    body.writeUInt32BE(9);
    for (let at = 4, i = 0; at < body.length; at += 8, i++) {
      body.writeUInt32BE(4096, at);
      body.writeUInt32BE(i % 2 ? 3 : 0, at + 4);
    }
    return using(
      { size: 2n ** 29n, reply: (r) => Buffer.concat([encodeChunkHeader(r.cookie, 5, 1, body.length), body]) },
      async (device) => {
        let runs = 0;
        for await (const e of device.extents(0, device.size)) runs += e.length === 4096 ? 1 : 0;
        expect(runs).toBe(2 ** 17);
      },
    );
  });

  it("a hole that is not said to read as zeros is data", () =>
    using({ reply: (r) => status(r, 9, 65536, 1) }, async (device) => {
      for await (const e of device.extents(0, 65536)) expect(e.kind).toBe("data");
    }));

  it("an error is an error of that request only", () => {
    let first = true;
    return using(
      {
        reply: (r) => {
          const text = Buffer.from("bad sector");
          const length = Buffer.from([0, text.length]);
          const error = Buffer.concat([
            encodeChunkHeader(r.cookie, 0x8001, 1, 6 + text.length),
            encodeU32(5),
            length,
            text,
          ]);
          const out = first ? error : data(r, 0, Buffer.from("ok"), true);
          first = false;
          return out;
        },
      },
      async (device) => {
        await expect(device.read(new Uint8Array(2), 0)).rejects.toMatchObject({
          code: "io",
          message: expect.stringContaining("EIO): bad sector"),
        });
        await device.read(new Uint8Array(2), 0);
      },
    );
  });

  it("without flush every write carries FUA; without either it is not opened for writing", async () => {
    const flags: number[] = [];
    await using(
      {
        flags: 0x49,
        reply: (r) => {
          flags.push(r.flags);
          return encodeSimpleReply(r.cookie, 0);
        },
      },
      async (device) => {
        await device.write(new Uint8Array(16), 0);
        await device.zero(0, 4096);
        await device.flush();
      },
      { writable: true },
    );
    expect(flags).toEqual([1, 1]);
    const never = () => null;
    await expect(using({ flags: 0x41, reply: never }, async () => {}, { writable: true })).rejects.toMatchObject({
      code: "unsupported",
    });
    await expect(using({ flags: 0x07, reply: never }, async () => {}, { writable: true })).rejects.toMatchObject({
      code: "read-only",
    });
  });
});

describe("a server that lies", () => {
  const READS: readonly (readonly [string, FakeServer["reply"]])[] = [
    ["leaves a gap", (r) => Buffer.concat([data(r, 0, Buffer.alloc(4)), done(r)])],
    [
      "sends a part twice and another not at all",
      (r) => Buffer.concat([data(r, 0, Buffer.alloc(4)), data(r, 0, Buffer.alloc(4)), done(r)]),
    ],
    ["sends bytes before the range", (r) => data(r, 90, Buffer.alloc(8), true)],
    ["sends bytes beyond the range", (r) => data(r, 4, Buffer.alloc(8), true)],
    ["sends a hole beyond the range", (r) => hole(r, 0, 0xffff_ffff, true)],
    ["sends an empty piece", (r) => data(r, 0, Buffer.alloc(0), true)],
    ["says that there is more than memory", (r) => encodeChunkHeader(r.cookie, 1, 1, 0xffff_ffff)],
    ["answers another request", (r) => encodeSimpleReply(r.cookie + 7n, 0)],
    ["answers without structure", (r) => Buffer.concat([encodeSimpleReply(r.cookie, 0), Buffer.alloc(8)])],
    ["answers a read with a block status", (r) => status(r, 9, 8, 0)],
    [
      "goes on without end",
      (r) => Buffer.concat([encodeChunkHeader(r.cookie, 0, 0, 0), data(r, 0, Buffer.alloc(8), true)]),
    ],
    ["sends an unknown chunk", (r) => encodeChunkHeader(r.cookie, 77, 1, 0)],
    ["sends noise", () => Buffer.alloc(64, 0x5a)],
    ["hangs up", () => null],
    ["says only half", (r) => data(r, 0, Buffer.alloc(8), true).subarray(0, 22)],
  ];
  it.each(READS)("%s: an io error, now and later", (_name, reply) =>
    using(
      { reply: (r, p) => (r.offset === 0n ? reply(r, p) : Buffer.alloc(0)) },
      async (device) => {
        const into = new Uint8Array(8);
        await expect(device.read(into, 0)).rejects.toMatchObject({ code: "io", layer: "nbd" });
        await expect(device.read(into, 100)).rejects.toMatchObject({ code: "io", layer: "nbd" });
      },
      { requestTimeoutMs: 300 },
    ),
  );

  it.each([
    ["of another context", (r: Request) => status(r, 8, 65536, 0)],
    ["of length zero", (r: Request) => status(r, 9, 0, 0)],
    ["twice", (r: Request) => Buffer.concat([notLast(status(r, 9, 65536, 0)), status(r, 9, 65536, 3)])],
    ["without runs", (r: Request) => status(r, 9)],
    ["that never comes", (r: Request) => done(r)],
  ])("a block status %s is refused", (_name, reply) =>
    using({ reply }, async (device) => {
      const all = async () => {
        for await (const e of device.extents(0, 65536)) expect(e.length).toBeGreaterThan(0);
      };
      await expect(all()).rejects.toMatchObject({ code: "io" });
    }),
  );

  it.each([
    ["a size beyond what can be addressed", { size: 1n << 60n }, "io"],
    ["an unknown export", { options: (o: number) => (o === 7 ? [encodeOptionReply(7, 0x80000006)] : null) }, "usage"],
    ["TLS only", { options: (o: number) => (o === 7 ? [encodeOptionReply(7, 0x80000005)] : null) }, "unsupported"],
    [
      "an endless option",
      { options: (o: number) => (o === 8 ? [encodeOptionReply(8, 3).fill(0xff, 16)] : null) },
      "io",
    ],
    ["an answer to another option", { options: (o: number) => (o === 8 ? [encodeOptionReply(9, 1)] : null) }, "io"],
    ["GO without a size", { options: (o: number) => (o === 7 ? [encodeOptionReply(7, 1)] : null) }, "io"],
  ])("a handshake with %s is refused", async (_name, fake, code) => {
    await expect(using({ ...fake, reply: () => null }, async () => {})).rejects.toMatchObject({ code });
  });

  it("a silent server is given up while it owes an answer, and not before", () =>
    using(
      { reply: () => Buffer.alloc(0) },
      async (device) => {
        await new Promise((resolve) => setTimeout(resolve, 250));
        await expect(device.read(new Uint8Array(8), 0)).rejects.toMatchObject({ code: "io" });
      },
      { requestTimeoutMs: 100 },
    ));
});

it("a failed read leaves nothing under way that could touch the caller's buffer", async () => {
  await using(
    {
      size: BigInt(16 * 1024 * 1024),
      reply: (r) =>
        r.offset === 0n
          ? encodeChunkHeader(r.cookie, 77, 1, 0)
          : data(r, Number(r.offset), Buffer.alloc(r.length, 9), true),
    },
    async (device) => {
      const into = new Uint8Array(16 * 1024 * 1024);
      await expect(device.read(into, 0)).rejects.toMatchObject({ code: "io" });
      const before = Buffer.from(into);
      await new Promise((resolve) => setTimeout(resolve, 50));
      expect(before.equals(into)).toBe(true);
    },
  );
});

it("takes NBD URIs apart", () => {
  expect(parseNbdUri("nbd+unix:///?socket=/tmp/a")).toEqual({ socketPath: "/tmp/a", exportName: "" });
  expect(parseNbdUri("nbd+unix:///d%C3%BC?socket=/tmp/a+b%20c")).toEqual({
    socketPath: "/tmp/a+b c",
    exportName: "dü",
  });
  for (const bad of ["x", "nbd+unix:///?socket=", "nbd+unix:///?socket=/a%00", "nbd+unix:///?socket=/a&socket=/b"]) {
    expect(() => parseNbdUri(bad)).toThrow(expect.objectContaining({ code: "usage" }));
  }
});

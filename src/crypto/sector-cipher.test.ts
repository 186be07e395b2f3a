import { createCipheriv, createHash, createSecretKey } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { EvpCipher, MUCH } from "./evp.ts";
import { cipherSpec, sectorCipher } from "./sector-cipher.ts";
import { CRYPT_CHUNK, workBuffers, xorEngine } from "./xor.ts";
import { xtsCipher } from "./xts.ts";

const MIB = 1024 * 1024;
const hex = (text: string) => new Uint8Array(Buffer.from(text.replace(/\s/g, ""), "hex"));
const count = (length: number, seed: number) =>
  Uint8Array.from({ length }, (_, i) => (i * 31 + (i >> 8) * 7 + seed) & 255);

describe("AES-XTS against IEEE Std 1619-2018, annex B", () => {
  const twos = "22222222222222222222222222222222";
  it.each([
    ["1", "00".repeat(32), 0, "00".repeat(32), "917cf69ebd68b2ec9b9fe9a3eadda692cd43d2f59598ed858c02c2652fbf922e"],
    [
      "2",
      "11".repeat(16) + twos,
      0x3333333333,
      "44".repeat(32),
      "c454185e6a16936e39334038acef838bfb186fff7480adc4289382ecd6d394f0",
    ],
    [
      "3",
      `fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0${twos}`,
      0x3333333333,
      "44".repeat(32),
      "af85336b597afc1a900b2eb21ec949d292df4c047e0b21532186a5971a227a89",
    ],
  ])("vector %s", (_name, key, unit, plain, expected) => {
    const data = hex(plain);
    const cipher = xtsCipher("aes", hex(key), "plain64", 32);
    cipher.encrypt(data, unit);
    expect(Buffer.from(data).toString("hex")).toBe(expected);
    cipher.decrypt(data, unit);
    expect(data).toEqual(hex(plain));
  });

  it("vector 4: a whole data unit of 512 bytes", () => {
    const data = Uint8Array.from({ length: 512 }, (_, i) => i & 255);
    xtsCipher("aes", hex("27182818284590452353602874713526 31415926535897932384626433832795"), "plain64", 512).encrypt(
      data,
      0,
    );
    expect(Buffer.from(data.subarray(0, 32)).toString("hex")).toBe(
      "27a7479befa1d476489f308cd4cfa6e2a96e4bbe3208ff25287dd3819616e89c",
    );
    expect(Buffer.from(data.subarray(480)).toString("hex")).toBe(
      "eb4a427d1923ce3ff262735779a418f20a282df920147beabe421ee5319d0568",
    );
  });
});

/** The model: one OpenSSL context a sector, the IV written out by hand. */
function model(name: string, key: Uint8Array, data: Uint8Array, sectorSize: number, sector: number): Uint8Array {
  const [, mode, iv] = name.split("-");
  const parts: Buffer[] = [];
  for (let at = 0; at < data.length; at += sectorSize) {
    const n = BigInt(sector) + BigInt(at / 512);
    let vector = Buffer.alloc(16);
    vector.writeBigUInt64LE(iv === "plain" ? n % 2n ** 32n : n);
    if (iv === "essiv:sha256") {
      const salted = createCipheriv("aes-256-ecb", createHash("sha256").update(key).digest(), null);
      vector = salted.setAutoPadding(false).update(vector);
    }
    const bits = mode === "xts" ? key.length * 4 : key.length * 8;
    const cipher = createCipheriv(`aes-${bits}-${mode}`, key, vector).setAutoPadding(false);
    parts.push(cipher.update(data.subarray(at, at + sectorSize)), cipher.final());
  }
  return new Uint8Array(Buffer.concat(parts));
}

const CASES: readonly [name: string, keyBytes: number][] = [
  ["aes-xts-plain64", 32],
  ["aes-xts-plain64", 64],
  ["aes-xts-plain", 64],
  ["aes-xts-essiv:sha256", 64],
  ["aes-cbc-essiv:sha256", 16],
  ["aes-cbc-essiv:sha256", 32],
  ["aes-cbc-plain64", 24],
  ["aes-cbc-plain", 32],
];

describe.each(CASES)("%s with keys of %i bytes", (name, keyBytes) => {
  it("equals one OpenSSL context a sector, for any sector number and size", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: keyBytes, maxLength: keyBytes }).filter((k) => new Set(k).size > 4),
        fc.constantFrom(512, 1024, 2048, 4096),
        fc.oneof(fc.nat(100), fc.integer({ min: 2 ** 32 - 20, max: 2 ** 32 + 20 }), fc.nat(2 ** 45)),
        fc.integer({ min: 1, max: 9 }),
        fc.integer(),
        (key, sectorSize, sector, sectors, seed) => {
          const plain = count(sectors * sectorSize, seed);
          const cipher = sectorCipher(cipherSpec(name, keyBytes)!, key, sectorSize);
          const data = plain.slice();
          cipher.encrypt(data, sector);
          expect(Buffer.compare(data, model(name, key, plain, sectorSize, sector))).toBe(0);
          cipher.decrypt(data, sector);
          expect(Buffer.compare(data, plain)).toBe(0);
        },
      ),
      { numRuns: 25 },
    );
  });

  it("carries on over the borders of its chunks", () => {
    const key = count(keyBytes, 3);
    const plain = count(2 * CRYPT_CHUNK + 4096, 5);
    const cipher = sectorCipher(cipherSpec(name, keyBytes)!, key, 4096);
    const data = plain.slice();
    cipher.encrypt(data, 2 ** 32 - 100);
    expect(Buffer.compare(data, model(name, key, plain, 4096, 2 ** 32 - 100))).toBe(0);
    cipher.decrypt(data, 2 ** 32 - 100);
    expect(Buffer.compare(data, plain)).toBe(0);
  });
});

/** Ciphers that have worked on so much that they call OpenSSL directly. */
describe.each([...CASES, ["camellia-xts-plain64", 64], ["camellia-cbc-plain64", 32]] as typeof CASES)(
  "%s with keys of %i bytes, after much work",
  (name, keyBytes) => {
    it.each([512, 2048, 4096])("is the same with sectors of %i bytes", (sectorSize) => {
      const key = count(keyBytes, 3);
      const cipher = sectorCipher(cipherSpec(name, keyBytes)!, key, sectorSize);
      const many = new Uint8Array(MUCH);
      cipher.decrypt(many, 0);
      if (!name.includes("-cbc-")) cipher.encrypt(many, 0);
      const plain = count(2 * CRYPT_CHUNK + 5 * 4096, 5);
      const data = plain.slice();
      cipher.encrypt(data, 2 ** 32 - 104);
      if (name.startsWith("aes")) {
        expect(Buffer.compare(data, model(name, key, plain, sectorSize, 2 ** 32 - 104))).toBe(0);
      } else {
        const fresh = plain.slice();
        sectorCipher(cipherSpec(name, keyBytes)!, key, sectorSize).encrypt(fresh, 2 ** 32 - 104);
        expect(Buffer.compare(data, fresh)).toBe(0);
      }
      cipher.decrypt(data, 2 ** 32 - 104);
      expect(Buffer.compare(data, plain)).toBe(0);
    });
  },
);

describe("work buffers", () => {
  const key = count(64, 3);
  const cipher = sectorCipher(cipherSpec("aes-xts-plain64", 64)!, key, 512);

  it("are decrypted and encrypted where they are, as any other memory", () => {
    using work = workBuffers(2, 3 * CRYPT_CHUNK);
    expect(work.buffers[0]!.buffer).toBe(work.buffers[1]!.buffer);
    for (const [i, buffer] of work.buffers.entries()) {
      const plain = count(2 * CRYPT_CHUNK + 512, 9 + i);
      const part = buffer.subarray(512, 512 + plain.length);
      buffer.fill(0xa5);
      part.set(plain);
      cipher.encrypt(part, 77);
      expect(Buffer.compare(part, model("aes-xts-plain64", key, plain, 512, 77))).toBe(0);
      cipher.decrypt(part, 77);
      expect(Buffer.compare(part, plain)).toBe(0);
      expect(buffer.subarray(0, 512).every((b) => b === 0xa5)).toBe(true);
      expect(buffer.subarray(512 + plain.length).every((b) => b === 0xa5)).toBe(true);
    }
  });

  it("lie apart for each who has some, and are ordinary memory for who wants more than is left", () => {
    const shared = xorEngine().data.buffer;
    using first = workBuffers(1, 4 * MIB);
    const second = workBuffers(2, 1 * MIB);
    using third = workBuffers(1, 6 * MIB);
    using fourth = workBuffers(1, 4096);
    const parts = [first, second, third].flatMap((work) => [...work.buffers]);
    const places = parts.map((part) => [part.byteOffset, part.byteOffset + part.length]).sort((a, b) => a[0]! - b[0]!);
    expect(parts.every((part) => part.buffer === shared)).toBe(true);
    expect(places.every(([start], i) => i === 0 || start! >= places[i - 1]![1]!)).toBe(true);
    expect(fourth.buffers[0]!.buffer).not.toBe(shared);
    // What one gave back is another's, once.
    second[Symbol.dispose]();
    second[Symbol.dispose]();
    using fifth = workBuffers(1, 2 * MIB);
    using sixth = workBuffers(1, 2 * MIB);
    expect(fifth.buffers[0]!.byteOffset).toBe(second.buffers[0]!.byteOffset);
    expect(sixth.buffers[0]!.buffer).not.toBe(shared);
  });
});

describe("OpenSSL, called directly", () => {
  it("is there, in the Node that runs the tests", () => {
    expect(EvpCipher.open("aes-256-xts", createSecretKey(count(64, 1)), true)).not.toBeNull();
  });

  it("is done without for what it has not, or does not take", () => {
    expect(EvpCipher.open("aes-257-xts", createSecretKey(count(64, 1)), true)).toBeNull();
    // Two equal halves (IEEE Std 1619-2018 forbids nothing; OpenSSL does): the same cipher in bulk.
    expect(EvpCipher.open("aes-256-xts", createSecretKey(new Uint8Array(64).fill(7)), true)).toBeNull();
  });

  it("takes whole blocks only", () => {
    const cipher = EvpCipher.open("aes-256-xts", createSecretKey(count(64, 1)), true)!;
    expect(() => cipher.update(new Uint8Array(24))).toThrow(RangeError);
  });
});

describe("cipherSpec", () => {
  it.each([
    ["aes-xts-plain64", 16],
    ["aes-xts-plain64", 40],
    ["camellia-ecb", 32],
    ["aes-cbc-benbi", 32],
    ["aes-cbc-plain64", 64],
    ["serpent-xts-plain64", 64],
    ["aes-xts-plain64-x", 64],
    ["aes-cbc-essiv:sha512", 32],
    ["aes-ecb", 32],
    ["cipher_null-ecb", 32],
    ["capi:xts(aes)-plain64", 64],
    ["constructor", 32],
  ])("knows no %s with %i bytes", (name, bytes) => {
    expect(cipherSpec(name, bytes)).toBeNull();
  });
});

import { describe, expect, it } from "vitest";
import { argon2, nativeArgon2, wasmArgon2 } from "./argon2.ts";
import { hashKnown } from "./hash.ts";
import { deriveKey } from "./kdf.ts";

const text = (s: string) => new Uint8Array(Buffer.from(s));
const hex = (b: Uint8Array) => Buffer.from(b).toString("hex");

describe("PBKDF2 against RFC 6070", () => {
  it.each([
    [1, "0c60c80f961f0e71f3a9b524af6012062fe037a6"],
    [4096, "4b007901b765489abead49d926f721d065a429c1"],
  ])("%i iterations", async (iterations, expected) => {
    const kdf = { type: "pbkdf2", hash: "sha1", iterations, salt: text("salt") } as const;
    expect(hex(await deriveKey(text("password"), kdf, 20))).toBe(expected);
  });
});

/** From libargon2's src/test.c (version 0x13): password "password", salt "somesalt", 32 bytes out. */
const VECTORS: readonly ["argon2i" | "argon2id", number, number, number, string][] = [
  ["argon2i", 2, 256, 1, "89e9029f4637b295beb027056a7336c414fadd43f6b208645281cb214a56452f"],
  ["argon2i", 2, 256, 2, "4ff5ce2769a1d7f4c8a491df09d41a9fbe90e5eb02155a13e4c01e20cd4eab61"],
  ["argon2id", 2, 256, 1, "9dfeb910e80bad0311fee20f9c0e2b12c17987b4cac90c2ef54d5b3021c68bfe"],
  ["argon2id", 2, 256, 2, "6d093c501fd5999645e0ea3bf620d7b8be7fd2db59c20d9fff9539da2bf57037"],
];

describe.each([
  ["native", nativeArgon2],
  ["WebAssembly", wasmArgon2],
])("Argon2, %s, against libargon2's vectors", (_name, engine) => {
  it.each(VECTORS)("%s, %i passes, %i KiB, %i lanes", async (type, time, memoryKiB, cpus, expected) => {
    const secret = text("password");
    const key = await (await engine())(secret, { type, time, memoryKiB, cpus, salt: text("somesalt") }, 32);
    expect(hex(key)).toBe(expected);
    expect(secret).toEqual(text("password"));
  });
});

describe("argon2", () => {
  it("gives long keys and rejects what RFC 9106 does not allow", async () => {
    const cost = { type: "argon2id", time: 1, memoryKiB: 64, cpus: 1, salt: text("12345678") } as const;
    expect((await argon2(text(""), cost, 64)).length).toBe(64);
    await expect(argon2(text("x"), { ...cost, memoryKiB: 8, cpus: 4 }, 32)).rejects.toThrow();
  });
});

describe("hashKnown", () => {
  it("takes the hashes of LUKS headers and refuses the others by name", () => {
    for (const name of ["sha1", "sha256", "sha512", "sha3-512", "blake2b-512", "ripemd160"])
      expect(hashKnown(name)).toBe(true);
    for (const name of ["whirlpool", "blake2b512", "stribog512", "shake128", "", "SHA256", "constructor"])
      expect(hashKnown(name)).toBe(false);
  });
});

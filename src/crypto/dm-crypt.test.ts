import { createCipheriv, createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { cipherSpec, sectorCipher } from "./sector-cipher.ts";

const stream = (length: number, seed: number) =>
  createCipheriv("aes-128-ctr", Buffer.alloc(16, seed), Buffer.alloc(16)).update(new Uint8Array(length));
const plain = new Uint8Array(stream(64 * 1024, 1));
const keys = stream(64, 2);

const path = new URL("../../test/fixtures/dm-crypt/vectors.txt", import.meta.url);
const vectors = readFileSync(path, "utf8")
  .split("\n")
  .filter((line) => line !== "" && !line.startsWith("#"))
  .map((line) => line.split(" ") as [string, string, string, string, string]);

describe("what Linux's dm-crypt writes", () => {
  it("has vectors of every mode and initial vector that is taken", () => {
    const seen = new Set(vectors.map(([cipher]) => cipher));
    for (const algorithm of ["aes", "camellia"])
      for (const mode of ["xts", "cbc"])
        for (const iv of ["plain", "plain64", "plain64be", "essiv:sha256"])
          expect(seen).toContain(`${algorithm}-${mode}-${iv}`);
  });

  it.each(vectors)("%s, %s bits, sectors of %s bytes from %s on", (name, bits, size, offset, sha256) => {
    const key = keys.subarray(0, Number(bits) / 8);
    const cipher = sectorCipher(cipherSpec(name, key.length)!, key, Number(size));
    const data = plain.slice();
    cipher.encrypt(data, Number(offset));
    expect(createHash("sha256").update(data).digest("hex")).toBe(sha256);
    cipher.decrypt(data, Number(offset));
    expect(Buffer.compare(data, plain)).toBe(0);
  });
});

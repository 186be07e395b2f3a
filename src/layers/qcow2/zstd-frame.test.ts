import { describe, expect, it } from "vitest";
import { zstdFrameLength } from "./zstd-frame.ts";

describe("the length of a zstd frame", () => {
  // RFC 8878: descriptor 0x20 is a single segment with a content size of one byte; raw block "abc"; RLE block of 5 x "z".
  const raw = [0x28, 0xb5, 0x2f, 0xfd, 0x20, 3, (3 << 3) | 1, 0, 0, 97, 98, 99];
  const rle = [0x28, 0xb5, 0x2f, 0xfd, 0x24, 5, (5 << 3) | (1 << 1) | 1, 0, 0, 122, 1, 2, 3, 4];

  it("ends with the last block and the checksum, whatever follows", () => {
    expect(zstdFrameLength(Uint8Array.from([...raw, 0, 0, 0, 0, 0]))).toBe(raw.length);
    expect(zstdFrameLength(Uint8Array.from([...rle, 9, 9]))).toBe(rle.length);
  });

  it("is null for what is cut short, reserved or something else", () => {
    for (let n = 0; n < raw.length; n++) expect(zstdFrameLength(Uint8Array.from(raw.slice(0, n)))).toBeNull();
    expect(zstdFrameLength(Uint8Array.from(rle.slice(0, -1)))).toBeNull();
    expect(zstdFrameLength(Uint8Array.from(raw.map((b, i) => (i === 6 ? 0x1f : b))))).toBeNull();
    expect(zstdFrameLength(Uint8Array.from(raw.map((b, i) => (i === 0 ? 0 : b))))).toBeNull();
  });
});

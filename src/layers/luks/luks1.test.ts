import { describe, expect, it } from "vitest";
import { LUKS1_PAYLOAD, luks1Image } from "../../../test/helpers/luks.ts";
import { memoryDevice } from "../../core/memory-device.ts";
import { readLuks1 } from "./luks1.ts";

const slotAt = (i: number) => 208 + i * 48;

describe("readLuks1", () => {
  it("gives the facts of a header, and no salt, digest or key", async () => {
    const header = await readLuks1(memoryDevice(luks1Image({ passphrases: ["a", "b"] })));
    expect(header).toMatchObject({ kind: "luks1", uuid: "11111111-2222-3333-4444-555555555555", label: null });
    expect(header.details).toMatchObject({ cipher: "aes-xts-plain64", keyBits: 256, hash: "sha256" });
    expect(header.details.payloadOffset).toBe(LUKS1_PAYLOAD);
    expect(header.keyslots.map((k) => k.slot)).toEqual([0, 1]);
    const keys = new Set<string>();
    JSON.stringify(header.details, (key, value) => {
      keys.add(key);
      return value;
    });
    expect([...keys].filter((k) => /salt|digest$/i.test(k))).toEqual([]);
  });

  it.each<[what: string, message: RegExp, change: (h: DataView) => void]>([
    [
      "overlapping keyslots",
      /keyslots 1 and 2 overlap/,
      (h) => h.setUint32(slotAt(2) + 40, h.getUint32(slotAt(1) + 40) + 1),
    ],
    ["two keyslots in one place", /overlap/, (h) => h.setUint32(slotAt(7) + 40, h.getUint32(slotAt(3) + 40))],
    ["a keyslot in the header", /keyslot 5 lies in the header/, (h) => h.setUint32(slotAt(5) + 40, 1)],
    ["a keyslot in the payload", /keyslot 4 reaches into the payload/, (h) => h.setUint32(slotAt(4) + 40, 2 ** 32 - 1)],
    ["a payload in the keyslots", /reaches into the payload/, (h) => h.setUint32(104, 1000)],
    ["few stripes, even of a disabled keyslot", /keyslot 6 has 1 stripes/, (h) => h.setUint32(slotAt(6) + 44, 1)],
    ["many stripes", /keyslot 0 has 4294967295 stripes/, (h) => h.setUint32(slotAt(0) + 44, 2 ** 32 - 1)],
    ["no key", /0 bytes/, (h) => h.setUint32(108, 0)],
    ["a giant key", /4294967295 bytes/, (h) => h.setUint32(108, 2 ** 32 - 1)],
    ["no iterations of an active keyslot", /keyslot 0 has no iterations/, (h) => h.setUint32(slotAt(0) + 4, 0)],
    ["no iterations of the digest", /digest has no iterations/, (h) => h.setUint32(164, 0)],
  ])("refuses %s", async (_what, message, change) => {
    await expect(readLuks1(memoryDevice(luks1Image({ change })))).rejects.toMatchObject({
      name: "StorageError",
      code: "corrupt",
      layer: "luks1",
      message: expect.stringMatching(message),
    });
  });

  it("refuses a header that is cut off", async () => {
    await expect(readLuks1(memoryDevice(luks1Image().slice(0, 591)))).rejects.toMatchObject({ code: "corrupt" });
  });

  it("reports a keyslot in an unknown state and does not use it", async () => {
    const image = luks1Image({ passphrases: ["a", "b"], change: (h) => h.setUint32(slotAt(0), 0xac71f4) });
    const header = await readLuks1(memoryDevice(image));
    expect(header.keyslots.map((k) => k.slot)).toEqual([1]);
    expect(header.findings).toMatchObject([{ severity: "warning", code: "luks1-keyslot-state", offset: 208 }]);
  });

  it("names the cipher or hash that it does not know", async () => {
    const serpent = await readLuks1(memoryDevice(luks1Image({ cipher: "serpent", keyBytes: 64 })));
    expect(serpent.payload).toMatchObject({
      refused: "the cipher serpent-xts-plain64 with a key of 512 bits is not supported",
    });
    const whirlpool = await readLuks1(memoryDevice(luks1Image({ hash: "whirlpool" })));
    expect(whirlpool.unusable).toEqual(["keyslot 0: the hash whirlpool is not supported"]);
    expect(whirlpool.keyslots).toEqual([]);
  });

  it("lets no terminal escapes through in messages", async () => {
    const header = await readLuks1(memoryDevice(luks1Image({ cipher: "\x1b[2Jx" })));
    expect(header.payload).toMatchObject({
      refused: "the cipher \\x1b[2Jx-xts-plain64 with a key of 256 bits is not supported",
    });
  });
});

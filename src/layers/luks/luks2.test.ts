import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type LooseJson,
  LUKS2_HEADER,
  LUKS2_PAYLOAD,
  type Luks2Options,
  luks2Image,
} from "../../../test/helpers/luks.ts";
import { StorageError } from "../../core/errors.ts";
import { DEFAULT_LIMITS } from "../../core/limits.ts";
import { memoryDevice } from "../../core/memory-device.ts";
import { readLuks2 } from "./luks2.ts";

const read = (options: Luks2Options = {}) => readLuks2(memoryDevice(luks2Image(options)), DEFAULT_LIMITS);
const readBytes = (image: Uint8Array) => readLuks2(memoryDevice(image), DEFAULT_LIMITS);

/** Dotted paths into the metadata and their new values; undefined removes. */
type Changes = Readonly<Record<string, unknown>>;

function edit(changes: Changes): (json: LooseJson) => void {
  return (json) => {
    for (const [path, value] of Object.entries(changes)) {
      const keys = path.split(".");
      const last = keys.pop()!;
      let at = json;
      for (const key of keys) at = at[key];
      if (value === undefined) delete at[last];
      else at[last] = value;
    }
  };
}

const corrupt = (message: RegExp) => ({
  name: "StorageError",
  code: "corrupt",
  layer: "luks2",
  message: expect.stringMatching(message),
});

describe("readLuks2", () => {
  it("gives the facts of a header, and no salt, digest or key", async () => {
    const header = await read({ label: "Größe", sectorSize: 4096, passphrases: ["a", "b"] });
    expect(header).toMatchObject({ kind: "luks2", uuid: "66666666-7777-8888-9999-aaaaaaaaaaaa", label: "Größe" });
    expect(header.details).toMatchObject({
      sequenceId: 3,
      headerSize: LUKS2_HEADER,
      cipher: "aes-xts-plain64",
      keyBits: 256,
      sectorSize: 4096,
      payloadOffset: LUKS2_PAYLOAD,
      segments: [{ id: 0, type: "crypt", offset: LUKS2_PAYLOAD, size: "dynamic" }],
    });
    expect(header.details.keyslots).toEqual(
      [0, 1].map((slot) => ({
        slot,
        type: "luks2",
        keyBits: 256,
        priority: "normal",
        kdf: { type: "pbkdf2", hash: "sha256", iterations: 2 },
        cipher: "aes-xts-plain64",
        cipherKeyBits: 256,
      })),
    );
    expect(JSON.stringify(header.details)).not.toMatch(/salt|"digest/);
  });

  it.each<[what: string, message: RegExp, changes: Changes]>([
    ["no segments", /segments is empty/, { segments: {} }],
    ["a missing section", /tokens is missing/, { tokens: undefined }],
    ["an array as section", /keyslots is not an object/, { keyslots: [] }],
    ["a name that is not a number", /tokens.x is not/, { "tokens.x": {} }],
    ["a name with leading zeros", /tokens.00 is not/, { "tokens.00": {} }],
    ["too many keyslots", /keyslots.32 is not/, { "keyslots.32": {} }],
    ["a number where a string is due", /offset is not a string/, { "segments.0.offset": 1048576 }],
    ["an offset beyond 64 bits", /is not a decimal/, { "segments.0.offset": "999999999999999999999" }],
    ["an offset beyond 53 bits", /beyond what can be addressed/, { "segments.0.offset": "9007199254741504" }],
    ["a negative offset", /is not a decimal/, { "segments.0.offset": "-512" }],
    ["an odd offset", /multiple of 512/, { "segments.0.offset": "1048577" }],
    ["an empty segment", /multiple of 512/, { "segments.0.size": "0" }],
    ["part sectors", /multiple of its sector/, { "segments.0.size": "512", "segments.0.sector_size": 4096 }],
    ["a sector size of 513", /sector_size is not/, { "segments.0.sector_size": 513 }],
    ["a sector size of 1536", /sector_size is not/, { "segments.0.sector_size": 1536 }],
    ["a sector size of 8192", /sector_size is not/, { "segments.0.sector_size": 8192 }],
    ["a payload in the keyslots area", /lies in the keyslots area/, { "segments.0.offset": "65536" }],
    ["a keyslot in the header", /outside the keyslots area/, { "keyslots.0.area.offset": "16384" }],
    ["a keyslot beyond its area", /outside the keyslots area/, { "keyslots.0.area.offset": "1048576" }],
    ["overlapping keyslots", /overlaps that of keyslot/, { "keyslots.1.area.offset": "32768" }],
    ["a keyslot without room for its key", /too small for the key/, { "keyslots.0.area.size": "512" }],
    ["a key of 2^32-1 bytes", /too small for the key/, { "keyslots.0.key_size": 4294967295 }],
    ["a key of 2^32 bytes", /whole number/, { "keyslots.0.key_size": 4294967296 }],
    ["half a byte of key", /whole number/, { "keyslots.0.key_size": 0.5 }],
    ["few stripes", /stripes is not 4000/, { "keyslots.0.af.stripes": 1 }],
    ["an unknown priority", /priority is above 2/, { "keyslots.0.priority": 3 }],
    ["a salt that is not base64", /base64/, { "keyslots.0.kdf.salt": "*" }],
    ["an empty digest", /base64/, { "digests.0.digest": "" }],
    ["no iterations", /iterations is not/, { "keyslots.0.kdf.iterations": 0 }],
    ["a digest of a missing keyslot", /names 7/, { "digests.0.keyslots": ["7"] }],
    ["a token of a missing keyslot", /names 7/, { "tokens.0": { type: "x", keyslots: ["7"] } }],
    ["a segment without a digest", /has no digest/, { "digests.0.segments": [] }],
    ["another JSON size", /json_size is not/, { "config.json_size": "16384" }],
    ["a giant keyslots area", /keyslots_size is not/, { "config.keyslots_size": "134221824" }],
    ["a keyslots area of odd size", /keyslots_size is not/, { "config.keyslots_size": "524289" }],
    ["requirements of an unknown form", /requirements is not/, { "config.requirements": ["opal"] }],
  ])("refuses %s", async (_what, message, changes) => {
    await expect(read({ passphrases: ["a", "b"], change: edit(changes) })).rejects.toMatchObject(corrupt(message));
  });

  it.each<[what: string, message: RegExp, text: (json: string) => string | Buffer]>([
    ["a polluted prototype", /__proto__ is not/, (json) => json.replace('"tokens":{', '"tokens":{"__proto__":{}')],
    ["bytes before the object", /does not start/, (json) => ` ${json}`],
    ["bytes after the object", /not valid JSON/, (json) => `${json}x`],
    ["bytes after the end", /after its end/, (json) => `${json}\0x`],
    ["broken UTF-8", /not valid JSON/, (json) => Buffer.from(json.replace("raw", "r\u00e4"), "latin1")],
    ["deep nesting", /nested more than 32 deep/, () => '{"a":'.repeat(2400)],
    ["no end", /not terminated/, (json) => json.padEnd(LUKS2_HEADER - 4096, " ")],
  ])("refuses %s", async (_what, message, text) => {
    const change = (json: LooseJson) => text(JSON.stringify(json));
    await expect(read({ change })).rejects.toMatchObject(corrupt(message));
  });

  it.each<[what: string, reason: RegExp, changes: Changes]>([
    [
      "re-encryption",
      /re-encryption .*cryptsetup reencrypt --resume-only/,
      { "config.requirements": { mandatory: ["online-reencrypt-v2"] } },
    ],
    ["a segment that is re-encrypted", /re-encrypted/, { "segments.0.flags": ["in-reencrypt"] }],
    ["an unknown requirement", /requires opal, x/, { "config.requirements": { mandatory: ["opal", "x"] } }],
    [
      "integrity",
      /integrity protection \(hmac\(sha256\), dm-integrity\)/,
      { "segments.0.integrity": { type: "hmac(sha256)" } },
    ],
    ["a linear segment", /type linear/, { "segments.1": { type: "linear", offset: "2097152", size: "512" } }],
    [
      "two segments",
      /2 data segments/,
      {
        "digests.0.segments": ["0", "1"],
        "segments.1": {
          type: "crypt",
          offset: "2097152",
          size: "dynamic",
          iv_tweak: "0",
          encryption: "aes-xts-plain64",
          sector_size: 512,
        },
      },
    ],
    ["a cipher", /serpent-xts-plain64 with a key of 256 bits/, { "segments.0.encryption": "serpent-xts-plain64" }],
    ["no encryption", /cipher_null-ecb/, { "segments.0.encryption": "cipher_null-ecb" }],
    ["a volume without keyslots", /no keyslot is left/, { keyslots: {}, "digests.0.keyslots": [] }],
  ])("refuses %s by name and still shows the header", async (_what, reason, changes) => {
    const header = await read({ change: edit(changes) });
    expect(header.payload).toMatchObject({ refused: expect.stringMatching(reason) });
    expect(header.details.uuid).toBe("66666666-7777-8888-9999-aaaaaaaaaaaa");
  });

  it.each<[what: string, reason: string, changes: Changes]>([
    ["type", "the type reencrypt is not supported", { "keyslots.0.type": "reencrypt" }],
    ["KDF", "the key derivation balloon is not supported", { "keyslots.0.kdf.type": "balloon" }],
    ["hash", "the hash whirlpool is not supported", { "keyslots.0.kdf.hash": "whirlpool" }],
    ["AF hash", "the hash md4 is not supported", { "keyslots.0.af.hash": "md4" }],
    ["digest", "its digest is of an unsupported type", { "digests.0.type": "x" }],
    [
      "cipher",
      "the cipher cipher_null-ecb with a key of 256 bits is not supported",
      { "keyslots.0.area.encryption": "cipher_null-ecb" },
    ],
  ])("sets a keyslot of an unknown %s aside", async (_what, reason, changes) => {
    const header = await read({ change: edit(changes) });
    expect(header.keyslots).toEqual([]);
    expect(header.unusable).toEqual([`keyslot 0: ${reason}`]);
  });

  it("does not use keyslots that hold another key than the data's", async () => {
    const header = await read({ passphrases: ["a", "b"], change: edit({ "digests.0.keyslots": ["1"] }) });
    expect(header.keyslots.map((k) => k.slot)).toEqual([1]);
  });
});

describe("the two LUKS2 headers", () => {
  const damage = (image: Uint8Array, at: number) => {
    image[at]! ^= 1;
    return image;
  };

  it.each([
    ["magic", 0],
    ["version", 7],
    ["size", 13],
    ["label", 30],
    ["JSON", 4100],
    ["last byte", LUKS2_HEADER - 1],
  ])("takes the second one when the first one's %s is damaged", async (_what, at) => {
    const header = await readBytes(damage(luks2Image(), at));
    expect(header.findings).toMatchObject([{ severity: "warning", code: "luks2-primary-damaged", offset: 0 }]);
    expect(header.keyslots.length).toBe(1);
  });

  it("takes the first one when the second is damaged", async () => {
    const header = await readBytes(damage(luks2Image(), LUKS2_HEADER + 4100));
    expect(header.findings).toMatchObject([{ code: "luks2-secondary-damaged", offset: LUKS2_HEADER }]);
  });

  it("is corrupt when both are damaged", async () => {
    const image = damage(damage(luks2Image(), 4100), LUKS2_HEADER + 4100);
    await expect(readBytes(image)).rejects.toMatchObject({
      code: "corrupt",
      message: expect.stringMatching(/checksum/),
    });
  });

  it("takes the newer one, and says so", async () => {
    for (const [ids, label] of [
      [[5n, 4n], "first"],
      [[4n, 5n], "second"],
      [[2n ** 63n, 2n ** 63n + 1n], "second"],
    ] as const) {
      const header = await read({
        sequenceIds: ids,
        changeHeader: (h, which) => void h.write(which === 0 ? "first" : "second", 24),
      });
      expect(header.label).toBe(label);
      expect(header.findings).toMatchObject([{ code: "luks2-headers-differ" }]);
    }
  });

  it("never takes the newer one unverified", async () => {
    const image = luks2Image({ sequenceIds: [3n, 3n] });
    image[LUKS2_HEADER + 23] = 9;
    const header = await readBytes(image);
    expect(header.details.sequenceId).toBe(3);
    expect(header.findings).toMatchObject([{ code: "luks2-secondary-damaged" }]);
  });

  it("keeps to the limit on the JSON area", async () => {
    const device = memoryDevice(luks2Image());
    await expect(readLuks2(device, { ...DEFAULT_LIMITS, luks2JsonBytes: 12287 })).rejects.toMatchObject({
      code: "limit",
      hint: expect.stringMatching(/--limit luks2JsonBytes=12288/),
    });
  });

  it("refuses JSON that is nested deeper than cryptsetup reads, before any of it is parsed", async () => {
    const deep = (n: number) => (json: LooseJson) => {
      json.config.note = 'an escaped " and brackets in a string: [[[[';
      return JSON.stringify(json).replace('"config":{', `"config":{"deep":${"[".repeat(n)}${"]".repeat(n)},`);
    };
    await expect(read({ change: deep(30) })).resolves.toBeDefined();
    for (const n of [31, 5000])
      await expect(read({ change: deep(n) })).rejects.toMatchObject(corrupt(/nested more than 32 deep/));
  });

  it("throws nothing but StorageErrors for damaged headers with right checksums", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.integer({ min: 4096, max: 5400 }), fc.integer({ min: 1, max: 255 })), {
          minLength: 1,
          maxLength: 4,
        }),
        async (changes) => {
          const changeHeader = (header: Buffer) => {
            for (const [at, value] of changes) header[at] = value;
          };
          const result = await read({ passphrases: [], changeHeader }).catch((e: unknown) => e);
          if (result instanceof Error) expect(result).toBeInstanceOf(StorageError);
        },
      ),
      { numRuns: 200 },
    );
  });
});

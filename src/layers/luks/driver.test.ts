import { randomFillSync } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { deviceConformance } from "../../../test/conformance/suite.ts";
import { keyContext, passphrases } from "../../../test/helpers/keys.ts";
import { LUKS1_PAYLOAD, LUKS2_HEADER, LUKS2_PAYLOAD, luks1Image, luks2Image } from "../../../test/helpers/luks.ts";
import { probeDevice } from "../../../test/helpers/open-context.ts";
import type { BlockDevice } from "../../core/device.ts";
import { readBytes } from "../../core/device.ts";
import type { Layer } from "../../core/layer.ts";
import { memoryDevice } from "../../core/memory-device.ts";
import { luksDriver } from "./driver.ts";

const secret = passphrases(["secret"]);
const noise = (length: number) => randomFillSync(new Uint8Array(length));
const open = (image: BlockDevice | Uint8Array, keys = secret, writable = true): Promise<Layer> =>
  luksDriver.open([image instanceof Uint8Array ? memoryDevice(image) : image], keyContext(keys, writable));

async function plaintext(image: BlockDevice | Uint8Array): Promise<BlockDevice> {
  return (await open(image)).children[0]!.open();
}

describe("probe", () => {
  const probe = (image: Uint8Array) => probeDevice(luksDriver, memoryDevice(image));
  const hit = { setId: null, role: null, member: null };

  it("knows both versions", async () => {
    expect(await probe(luks1Image())).toEqual(hit);
    expect(await probe(luks2Image())).toEqual(hit);
    expect(await probe(noise(1024 * 1024))).toBeNull();
    expect(await probe(new Uint8Array(5))).toBeNull();
  });

  it("knows LUKS2 by its second header alone", async () => {
    const image = luks2Image();
    image.fill(0, 0, 4096);
    expect(await probe(image)).toEqual(hit);
    image[LUKS2_HEADER + 8 + 6] = 0x80;
    expect(await probe(image)).toBeNull();
  });

  it.each([
    ["a partition table", 510, "\x55\xaa"],
    ["ext4", 1080, "\x53\xef"],
    ["XFS", 0, "XFSB"],
    ["a physical volume", 512, "LABELONE"],
  ])("leaves a former LUKS2 device that became %s to others", async (_what, at, magic) => {
    const image = luks2Image();
    image.fill(0, 0, 4096);
    image.set(Buffer.from(magic, "latin1"), at);
    expect(await probe(image)).toBeNull();
  });
});

describe("open", () => {
  it("gives one child with the payload's bytes", async () => {
    for (const [make, kind, at] of [
      [luks1Image, "luks1", LUKS1_PAYLOAD],
      [luks2Image, "luks2", LUKS2_PAYLOAD],
    ] as const) {
      const content = noise(64 * 512);
      const image = make({ content });
      expect(Buffer.compare(image.subarray(at), content)).not.toBe(0);
      const layer = await open(image);
      expect(layer.info).toMatchObject({ kind, details: { unlockedBy: { slot: 0, origin: "key 1.0" } }, findings: [] });
      expect(layer.locked).toBeNull();
      const [child] = layer.children;
      expect(child).toMatchObject({ name: "luks", info: null, offset: null, size: content.length, hasContent: true });
      expect(await readBytes(await child!.open(), 0, content.length)).toEqual(content);
    }
  });

  it.each([
    [512, 0],
    [4096, 0],
    [512, 3],
    [4096, 2 ** 32 - 4],
    [2048, 2 ** 40],
  ])("reads sectors of %i bytes under an iv_tweak of %i", async (sectorSize, ivTweak) => {
    const content = noise(16 * 4096);
    const device = await plaintext(luks2Image({ sectorSize, ivTweak, content }));
    expect(device.caps).toMatchObject({ alignment: sectorSize, sectorSize, extents: false, zero: false });
    expect(await readBytes(device, 0, content.length)).toEqual(content);
    expect(await readBytes(device, 4097, 9000)).toEqual(content.slice(4097, 13097));
  });

  it("cuts a payload down to whole sectors and says so", async () => {
    const image = new Uint8Array(LUKS2_PAYLOAD + 8192 + 600);
    image.set(luks2Image({ sectorSize: 4096, content: noise(8192) }));
    const layer = await open(image);
    expect(layer.children[0]!.size).toBe(8192);
    expect(layer.info.findings).toMatchObject([{ severity: "info", code: "luks-partial-sector" }]);
  });

  it("takes a segment of fixed size, and refuses one that is cut off", async () => {
    const change = (json: { segments: { size: string }[] }) => {
      json.segments[0]!.size = "4096";
    };
    const content = noise(8192);
    const device = await plaintext(luks2Image({ change, content }));
    expect(await readBytes(device, 0, device.size)).toEqual(content.slice(0, 4096));
    const short = luks2Image({ change, content: noise(2048) });
    expect((await open(short)).locked).toMatchObject({ code: "unsupported", reason: expect.stringMatching(/cut off/) });
  });

  it("opens a detached header with its data", async () => {
    const content = noise(8192);
    const image = luks2Image({ content });
    const detached = luks2Image({
      change: (json) => {
        json.segments[0].offset = "0";
      },
    });
    const alone = await open(detached);
    expect(alone.locked).toMatchObject({ code: "unsupported", reason: expect.stringMatching(/detached header/) });

    // A backup of the header in use, over a device whose own headers are gone.
    const header = memoryDevice(image.slice(0, LUKS2_PAYLOAD));
    const damaged = image.slice();
    damaged.fill(0, 0, LUKS2_PAYLOAD);
    const context = { ...keyContext(secret), detachedHeader: header };
    const layer = await luksDriver.open([memoryDevice(damaged)], context);
    expect(await readBytes(await layer.children[0]!.open(), 0, 8192)).toEqual(content);
  });

  it("shows a header backup without its data", async () => {
    const layer = await open(luks1Image().slice(0, LUKS1_PAYLOAD));
    expect(layer.locked).toMatchObject({ code: "unsupported", reason: expect.stringMatching(/header backup/) });
    expect(layer.info.findings).toMatchObject([{ severity: "error", code: "luks-payload-missing" }]);
    expect(layer.children).toEqual([]);
  });

  it("refuses a version that does not exist yet", async () => {
    const image = luks2Image();
    image[7] = 3;
    await expect(open(image)).rejects.toMatchObject({ code: "unsupported", feature: "LUKS version 3" });
  });

  it("is closed for good when the layer is disposed of", async () => {
    const layer = await open(luks2Image());
    const device = await layer.children[0]!.open();
    await layer[Symbol.asyncDispose]();
    await expect(readBytes(device, 0, 512)).rejects.toMatchObject({ code: "io" });
  });

  it("writes only when both the context and the device allow it", async () => {
    const image = luks2Image();
    const readOnly = await (await open(image, secret, false)).children[0]!.open();
    expect(readOnly.caps.writable).toBe(false);
    const below = memoryDevice(image, { writable: false });
    const device = await (await open(below)).children[0]!.open();
    expect(device.caps.writable).toBe(false);
  });

  it("leaves header and keyslots alone when the payload is written", async () => {
    const below = memoryDevice(luks2Image({ content: noise(65536) }));
    const before = below.bytes().slice(0, LUKS2_PAYLOAD);
    const device = await plaintext(below);
    await device.write(noise(65536), 0);
    await device.discard(0, 65536);
    expect(Buffer.compare(below.bytes().subarray(0, LUKS2_PAYLOAD), before)).toBe(0);
  });

  it("never puts plaintext below, nor two equal sectors for equal plaintext", async () => {
    const below = memoryDevice(luks2Image({ content: noise(65536) }));
    const device = await plaintext(below);
    await device.zero(0, 65536);
    expect(Buffer.compare(await readBytes(device, 0, 65536), new Uint8Array(65536))).toBe(0);
    const sectors = Array.from({ length: 128 }, (_, i) =>
      Buffer.from(below.bytes().subarray(LUKS2_PAYLOAD + i * 512, LUKS2_PAYLOAD + (i + 1) * 512)).toString("hex"),
    );
    expect(new Set(sectors).size).toBe(128);
  });

  it("stops between pieces when aborted", async () => {
    const size = 4 * 1024 * 1024;
    const below = memoryDevice(luks2Image({ content: new Uint8Array(size) }));
    const device = await plaintext(below);
    const abort = new AbortController();
    const reading = device.read(new Uint8Array(size), 0, { signal: abort.signal });
    abort.abort();
    await expect(reading).rejects.toMatchObject({ code: "cancelled" });
  });

  it("keeps what the model keeps under random writes", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(512, 4096),
        fc.array(fc.tuple(fc.nat(65535), fc.nat(9000), fc.constantFrom("write", "zero", "read")), { maxLength: 12 }),
        async (sectorSize, steps) => {
          const model = noise(65536);
          const below = memoryDevice(luks2Image({ sectorSize, content: model }));
          const device = await plaintext(below);
          for (const [offset, wanted, what] of steps) {
            const length = Math.min(wanted, model.length - offset);
            if (what === "write") {
              const bytes = noise(length);
              const kept = bytes.slice();
              await device.write(bytes, offset);
              expect(bytes).toEqual(kept);
              model.set(bytes, offset);
            } else if (what === "zero") {
              await device.zero(offset, length);
              model.fill(0, offset, offset + length);
            } else {
              expect(
                Buffer.compare(await readBytes(device, offset, length), model.subarray(offset, offset + length)),
              ).toBe(0);
            }
          }
          expect(Buffer.compare(await readBytes(await plaintext(below), 0, model.length), model)).toBe(0);
        },
      ),
      { numRuns: 12 },
    );
  });
});

describe.each([
  ["LUKS1, aes-xts-plain64", (content: Uint8Array) => luks1Image({ content })],
  [
    "LUKS1, aes-cbc-essiv:sha256",
    (content: Uint8Array) => luks1Image({ content, mode: "cbc-essiv:sha256", hash: "sha1" }),
  ],
  ["LUKS2, sectors of 512 bytes", (content: Uint8Array) => luks2Image({ content })],
  ["LUKS2, sectors of 4096 bytes", (content: Uint8Array) => luks2Image({ content, sectorSize: 4096 })],
])("%s", (name, make) => {
  deviceConformance(
    name,
    async () => {
      const content = noise(48 * 4096);
      const below = memoryDevice(make(content));
      return { device: await plaintext(below), content, reopen: () => plaintext(below) };
    },
    { runs: 10 },
  );
});

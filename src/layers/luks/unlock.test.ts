import { describe, expect, it } from "vitest";
import { keyContext, passphrases } from "../../../test/helpers/keys.ts";
import { type LooseJson, LUKS2_HEADER, luks1Image, luks2Image } from "../../../test/helpers/luks.ts";
import { readBytes } from "../../core/device.ts";
import type { KeyProvider, KeyRequest } from "../../core/layer.ts";
import type { Limits } from "../../core/limits.ts";
import { memoryDevice } from "../../core/memory-device.ts";
import { costProblem, inOrder } from "./costs.ts";
import { luksDriver } from "./driver.ts";
import type { Keyslot } from "./types.ts";

const open = (image: Uint8Array, keys: KeyProvider, limits: Partial<Limits> = {}) =>
  luksDriver.open([memoryDevice(image)], keyContext(keys, false, limits));

describe("unlocking", () => {
  it("asks with the layer's identity until a key fits", async () => {
    const requests: KeyRequest[] = [];
    const rounds = passphrases(["wrong"], ["wrong", "b"]);
    const keys: KeyProvider = {
      secretsFor(request) {
        requests.push(request);
        return rounds.secretsFor(request);
      },
    };
    const layer = await open(luks2Image({ passphrases: ["a", "b"], label: "disk" }), keys);
    expect(layer.info.details.unlockedBy).toEqual({ slot: 1, origin: "key 2.1" });
    const common = { layer: "luks2", uuid: "66666666-7777-8888-9999-aaaaaaaaaaaa", label: "disk" };
    expect(requests).toEqual([
      { ...common, attempt: 1 },
      { ...common, attempt: 2 },
    ]);
  });

  it("says no-key when there is none, and wrong-key when none fits", async () => {
    expect((await open(luks1Image(), passphrases())).locked).toEqual({ code: "no-key", reason: "no key was given" });
    expect((await open(luks1Image(), passphrases(["x"]))).locked).toEqual({
      code: "wrong-key",
      reason: "the key opens no keyslot",
    });
    const layer = await open(luks2Image(), passphrases(["x", "secret\n"], [""]));
    expect(layer.locked).toEqual({ code: "wrong-key", reason: "none of the 3 keys opens a keyslot" });
    expect(layer.children).toEqual([]);
    expect(layer.info.details.unlockedBy).toBeUndefined();
  });

  it("takes keys as bytes: empty ones, and ones that are no text", async () => {
    const key = Uint8Array.of(0, 255, 10, 128, 13);
    const image = luks1Image({ passphrases: [""] });
    expect((await open(image, passphrases([""]))).locked).toBeNull();
    expect((await open(image, passphrases([key]))).locked?.code).toBe("wrong-key");
  });

  it("does not change the caller's secrets", async () => {
    const bytes = new Uint8Array(Buffer.from("secret"));
    expect((await open(luks2Image(), passphrases([bytes]))).locked).toBeNull();
    expect(Buffer.from(bytes).toString()).toBe("secret");
  });

  it("asks for nothing when no keyslot is left", async () => {
    const never: KeyProvider = { secretsFor: () => Promise.reject(new Error("asked")) };
    expect((await open(luks1Image({ passphrases: [] }), never)).locked?.code).toBe("no-key");
    expect((await open(luks2Image({ passphrases: [] }), never)).locked?.code).toBe("no-key");
  });

  it("ends with a provider that never does", async () => {
    let asked = 0;
    const keys: KeyProvider = {
      async secretsFor() {
        asked++;
        return [{ bytes: new Uint8Array(1), origin: "script" }];
      },
    };
    const cheap = luks1Image({ keyBytes: 16, mode: "cbc-plain64" });
    expect((await open(cheap, keys)).locked?.code).toBe("wrong-key");
    expect(asked).toBe(100);
  });

  it("spends nothing on a keyslot above a limit, and names the limit", async () => {
    const kdf = { type: "argon2id", time: 65537, memory: 1024, cpus: 1, salt: "AAAAAAAAAAAAAAAAAAAAAA==" };
    const change = (json: LooseJson) => {
      json.keyslots[0].kdf = kdf;
    };
    const layer = await open(luks2Image({ change }), passphrases(["secret"]));
    expect(layer.locked).toEqual({
      code: "unsupported",
      reason:
        "keyslot 0 was not tried: 67109888 KiB that Argon2 fills in 65537 passes are above the limit of 67108864 (raise it with --limit argon2Work=67109888)",
    });
    const both = luks2Image({ change, passphrases: ["a", "b"] });
    expect((await open(both, passphrases(["b"]))).info.details.unlockedBy).toMatchObject({ slot: 1 });
    expect((await open(both, passphrases(["a"]))).locked).toMatchObject({
      code: "wrong-key",
      reason: expect.stringMatching(/^the key opens no keyslot; keyslot 0 was not tried/),
    });
  });

  it("goes on with the next keyslot when one cannot be read", async () => {
    const image = luks2Image({ passphrases: ["a", "b"] });
    const device = memoryDevice(image);
    const failing = {
      ...device,
      size: device.size,
      read: async (into: Uint8Array, offset: number) => {
        if (offset === 2 * LUKS2_HEADER) throw new Error("EIO");
        await device.read(into, offset);
      },
    };
    const context = keyContext(passphrases(["b"]));
    const layer = await luksDriver.open([failing], context);
    expect(layer.info.details.unlockedBy).toMatchObject({ slot: 1 });
    const locked = await luksDriver.open([failing], keyContext(passphrases(["a"])));
    expect(locked.locked?.reason).toBe("the key opens no keyslot; keyslot 0 failed: EIO");
  });

  it("uses the header that it verified, whatever the device says afterwards", async () => {
    const content = new Uint8Array(8192).fill(7);
    const device = memoryDevice(luks2Image({ content }));
    const keys: KeyProvider = {
      async secretsFor() {
        device.bytes().fill(0, 0, 2 * LUKS2_HEADER);
        return [{ bytes: Buffer.from("secret"), origin: "late" }];
      },
    };
    const layer = await luksDriver.open([device], keyContext(keys));
    expect(await readBytes(await layer.children[0]!.open(), 0, 8192)).toEqual(content);
  });

  it("stops when it is cancelled", async () => {
    const abort = new AbortController();
    abort.abort();
    const context = { ...keyContext(passphrases(["secret"])), signal: abort.signal };
    await expect(luksDriver.open([memoryDevice(luks2Image())], context)).rejects.toMatchObject({ code: "cancelled" });
  });
});

describe("costs", () => {
  const salt = new Uint8Array(32);
  const slot = (n: number, priority: number, kdf: Keyslot["kdf"]): Keyslot => ({
    slot: n,
    priority,
    kdf,
    area: { offset: 0, cipher: { algorithm: "aes", mode: "xts", iv: "plain64" }, keyBytes: 64 },
    stripes: 4000,
    afHash: "sha256",
    keyBytes: 64,
    digest: { hash: "sha256", iterations: 1000, salt, value: salt },
  });
  const pbkdf2 = (iterations: number) => ({ type: "pbkdf2", hash: "sha256", iterations, salt }) as const;
  const argon2 = (memoryKiB: number, time = 4, cpus = 4) =>
    ({ type: "argon2id", time, memoryKiB, cpus, salt }) as const;
  const limits = keyContext(passphrases()).limits;

  it("tries by priority, then the cheapest first", () => {
    const slots = [
      slot(0, 1, argon2(1048576)),
      slot(1, 0, pbkdf2(1)),
      slot(2, 1, pbkdf2(1000)),
      slot(3, 2, argon2(1048576)),
      slot(4, 1, pbkdf2(1000)),
    ];
    expect(inOrder(slots).map((s) => s.slot)).toEqual([3, 2, 4, 0, 1]);
  });

  it.each<[kdf: Keyslot["kdf"], problem: RegExp | null]>([
    [pbkdf2(100_000_000), null],
    [pbkdf2(100_000_001), /--limit pbkdf2Iterations=100000001/],
    [argon2(1_000_000), null],
    [argon2(1_000_001), /of which 1000000 are free/],
    [argon2(1024 * 1024 + 1), /--limit argon2MemoryKiB=1048577/],
    [argon2(1024, 65_536), null],
    [argon2(1024, 65_537), /--limit argon2Work=67109888/],
    [argon2(32, 2_097_152), null],
    [argon2(32, 2 ** 32 - 1), /--limit argon2Work=137438953440/],
    [argon2(1024, 4, 65), /--limit argon2Lanes=65/],
    [argon2(31), /invalid/],
    [{ ...argon2(1024), salt: salt.subarray(0, 7) }, /invalid/],
  ])("%o", (kdf, problem) => {
    const found = costProblem(slot(0, 1, kdf), limits, 1_000_000);
    if (problem) expect(found).toMatch(problem);
    else expect(found).toBeNull();
  });

  it("counts the digest's iterations too", () => {
    const dear = slot(0, 1, pbkdf2(1));
    const keyslot = { ...dear, digest: { ...dear.digest, iterations: 4_000_000_000 } };
    expect(costProblem(keyslot, limits, 1)).toMatch(/digest.*--limit pbkdf2Iterations=4000000000/);
  });
});

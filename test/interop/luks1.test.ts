import { readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { run, sparseFile, temporaryFolder } from "../helpers/programs.ts";
import { content, cryptsetupVolumeKey, ours, ourVolumeKey, QemuLuks, qemuCreate, write } from "./luks-tools.ts";

const folder = temporaryFolder();
const file = (name: string) => join(folder.path, name);
const pass = "Grüße an alle";
const DATA = 512 * 1024 + 1536;

beforeAll(() => writeFileSync(file("key"), pass));
afterAll(folder.remove);

function format(name: string, ...options: string[]): string {
  const image = file(name);
  sparseFile(image, 2 * 1024 * 1024 + DATA);
  const cost = ["--pbkdf-force-iterations", "1000"];
  run("cryptsetup", "luksFormat", "-q", "--type", "luks1", ...cost, ...options, image, file("key"));
  return image;
}

describe("LUKS1 made by cryptsetup", () => {
  it.each([
    ["aes-xts-plain64", 512, "sha256"],
    ["aes-xts-plain64", 256, "sha1"],
    ["aes-xts-plain", 512, "sha512"],
    ["aes-cbc-essiv:sha256", 256, "sha256"],
    ["aes-cbc-essiv:sha256", 128, "sha1"],
    ["aes-cbc-plain64", 256, "sha512"],
    ["aes-cbc-plain", 256, "sha256"],
  ])("%s, %i bits, %s: what QEMU writes we read, and the other way round", async (cipher, bits, hash) => {
    const image = format("luks1.img", "--cipher", cipher, "--key-size", String(bits), "--hash", hash);
    const room =
      readFileSync(image).length -
      Number(/Payload offset:\s+(\d+)/.exec(run("cryptsetup", "luksDump", image))![1]) * 512;
    const first = content(room, 1);
    const qemu = new QemuLuks(image, file("key"));
    qemu.write(folder.path, first);
    const opened = await ours(image, [pass]);
    expect(opened.info.details).toMatchObject({ cipher, keyBits: bits, hash });
    expect(opened.info.details.uuid).toBe(run("cryptsetup", "luksUUID", image).trim());
    expect(Buffer.compare(opened.bytes, first)).toBe(0);

    const second = content(300_001, 2);
    await write(image, pass, second, 77_777);
    const both = first.slice();
    both.set(second, 77_777);
    expect(Buffer.compare(qemu.read(folder.path), both)).toBe(0);
    expect(await ourVolumeKey(image, pass)).toBe(cryptsetupVolumeKey(image, file("key")).toString("hex"));
  });

  // QEMU 7.2 stops on an assertion at keys of 192 bits, and has no RIPEMD-160 everywhere.
  it.each([
    ["RIPEMD-160", ["--hash", "ripemd160"]],
    ["AES-192", ["--cipher", "aes-cbc-essiv:sha256", "--key-size", "192"]],
  ])("%s gives cryptsetup's volume key", async (_what, options) => {
    const image = format("key.img", ...options);
    expect(await ourVolumeKey(image, pass)).toBe(cryptsetupVolumeKey(image, file("key")).toString("hex"));
  });

  it("a hash that OpenSSL lacks is refused by name and shown", async () => {
    const opened = await ours(format("refused.img", "--hash", "whirlpool"), [pass]);
    expect(opened.locked).toBe("unsupported");
    expect(opened.info.details.hash).toBe("whirlpool");
  });

  it("a re-encryption in progress is refused with what to do, and the header is shown", async () => {
    const image = format("reencrypt.img");
    const uuid = run("cryptsetup", "luksUUID", image).trim();
    const bytes = readFileSync(image);
    bytes.set([0xde, 0xad], 4); // NOMAGIC of cryptsetup's src/utils_reencrypt_luks1.c
    writeFileSync(image, bytes);
    const opened = await ours(image, [pass]);
    expect(opened.locked).toBe("unsupported");
    expect(opened.reason).toMatch(/re-encryption of this LUKS1 device.*cryptsetup reencrypt.*LUKS-UUID\.log/);
    expect(opened.info.details.uuid).toBe(uuid);
  });

  it("opens any of several keyslots, and none that was killed", async () => {
    const image = format("slots.img");
    const cost = ["--pbkdf-force-iterations", "1000"];
    for (const key of ["second\n", "third"]) {
      writeFileSync(file("new"), key);
      run("cryptsetup", "luksAddKey", "-q", ...cost, "--key-file", file("key"), image, file("new"));
    }
    const slot = async (key: string) => (await ours(image, [key])).info.details.unlockedBy;
    expect(await slot(pass)).toMatchObject({ slot: 0 });
    expect(await slot("second\n")).toMatchObject({ slot: 1 });
    expect(await slot("third")).toMatchObject({ slot: 2 });
    expect((await ours(image, ["second"])).locked).toBe("wrong-key");
    run("cryptsetup", "luksKillSlot", "-q", image, "1");
    expect((await ours(image, ["second\n"])).locked).toBe("wrong-key");
    expect(await slot("third")).toMatchObject({ slot: 2 });
    run("cryptsetup", "erase", "-q", image);
    expect((await ours(image, [pass])).locked).toBe("no-key");
  });

  it("takes a detached header", async () => {
    const image = file("detached.img");
    const header = file("detached.header");
    sparseFile(image, DATA);
    sparseFile(header, 4 * 1024 * 1024);
    const options = ["-q", "--type", "luks1", "--pbkdf-force-iterations", "1000", "--header", header];
    run("cryptsetup", "luksFormat", ...options, image, file("key"));
    const opened = await ours(image, [pass], header);
    const offset = opened.info.details.payloadOffset as number;
    expect(opened.locked).toBeNull();
    expect(opened.bytes.length).toBe(DATA - offset);
  });
});

// Few of them: QEMU takes seconds to time its PBKDF2.
describe("LUKS1 made by QEMU", () => {
  it("holds what QEMU writes, and QEMU reads what we write", async () => {
    const image = file("qemu.img");
    qemuCreate(image, file("key"), ["cipher-mode=xts", "ivgen-alg=essiv", "ivgen-hash-alg=sha256"], DATA);
    const bytes = content(DATA, 3);
    const qemu = new QemuLuks(image, file("key"));
    qemu.write(folder.path, bytes);
    const opened = await ours(image, [pass]);
    expect(opened.info.details.cipher).toBe("aes-xts-essiv:sha256");
    expect(Buffer.compare(opened.bytes, bytes)).toBe(0);
    const other = content(DATA, 4);
    await write(image, pass, other);
    expect(Buffer.compare(qemu.read(folder.path), other)).toBe(0);
  });

  it("under a cipher other than AES is refused by name and shown", async () => {
    qemuCreate(file("serpent.img"), file("key"), ["cipher-alg=serpent-256"], DATA);
    const opened = await ours(file("serpent.img"), [pass]);
    expect(opened.locked).toBe("unsupported");
    expect(opened.info.details.cipher).toBe("serpent-xts-plain64");
  });
});

describe("a LUKS1 image whose end was cut off", () => {
  it("is read up to its last whole sector", async () => {
    const image = format("cut.img");
    const whole = content((await ours(image, [pass])).bytes.length, 5);
    await write(image, pass, whole);
    truncateSync(image, readFileSync(image).length - 700);
    const opened = await ours(image, [pass]);
    expect(Buffer.compare(opened.bytes, whole.subarray(0, whole.length - 1024))).toBe(0);
    expect(opened.info.findings.map((f) => f.code)).toEqual(["luks-partial-sector"]);
  });
});

import { closeSync, copyFileSync, openSync, readFileSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Json } from "../../src/core/finding.ts";
import { run, sparseFile, temporaryFolder } from "../helpers/programs.ts";
import { content, cryptsetupVolumeKey, ours, ourVolumeKey, write, xtsEncrypt } from "./luks-tools.ts";

const folder = temporaryFolder();
const file = (name: string) => join(folder.path, name);
const pass = "Grüße an alle";
const PAYLOAD = 1024 * 1024;
const DATA = 256 * 1024;
const SMALL = ["--luks2-metadata-size", "16k", "--luks2-keyslots-size", "976k", "--offset", String(PAYLOAD / 512)];
const CHEAP = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];

beforeAll(() => writeFileSync(file("key"), pass));
afterAll(folder.remove);

function format(name: string, ...options: string[]): string {
  const image = file(name);
  sparseFile(image, PAYLOAD + DATA);
  run("cryptsetup", "luksFormat", "-q", "--type", "luks2", ...SMALL, ...options, image, file("key"));
  return image;
}

const argon2 = (type: string, memory: number, passes: number, lanes: number) => [
  "--pbkdf",
  type,
  "--pbkdf-memory",
  String(memory),
  "--pbkdf-force-iterations",
  String(passes),
  "--pbkdf-parallel",
  String(lanes),
];

describe("LUKS2 made by cryptsetup", () => {
  it.each<[what: string, options: string[]]>([
    ["PBKDF2 with SHA-256", CHEAP],
    ["PBKDF2 with SHA-512, AF with SHA-512", [...CHEAP, "--hash", "sha512"]],
    ["PBKDF2 with SHA-1", [...CHEAP, "--hash", "sha1"]],
    ...[
      "md5",
      "sha224",
      "sha384",
      "sha512-256",
      "sha3-256",
      "sha3-512",
      "blake2b-512",
      "blake2s-256",
      "ripemd160",
      "sm3",
    ].map((hash): [string, string[]] => [`PBKDF2 and AF with ${hash}`, [...CHEAP, "--hash", hash]]),
    ...["camellia-cbc-essiv:sha256", "camellia-cbc-plain64", "aes-cbc-plain64be"].map((cipher): [string, string[]] => [
      `keyslots and data under ${cipher}`,
      [...CHEAP, "--cipher", cipher, "--key-size", "256"],
    ]),
    ["Argon2i", argon2("argon2i", 64, 4, 1)],
    ["Argon2id", argon2("argon2id", 32, 4, 1)],
    ["Argon2id with several lanes", argon2("argon2id", 4096, 5, 2)],
    ["a volume key of 256 bits", [...CHEAP, "--key-size", "256"]],
    [
      "keyslots under another cipher than the data",
      [...CHEAP, "--keyslot-cipher", "aes-cbc-essiv:sha256", "--keyslot-key-size", "128"],
    ],
    ["aes-cbc-essiv:sha256", [...CHEAP, "--cipher", "aes-cbc-essiv:sha256", "--key-size", "256"]],
  ])("%s: our volume key is cryptsetup's", async (_what, options) => {
    const image = format("luks2.img", ...options);
    expect(await ourVolumeKey(image, pass)).toBe(cryptsetupVolumeKey(image, file("key")).toString("hex"));
  });

  it.each([512, 1024, 2048, 4096])("sectors of %i bytes hold what OpenSSL's XTS makes of them", async (sectorSize) => {
    const image = format("sectors.img", ...CHEAP, "--sector-size", String(sectorSize));
    const key = cryptsetupVolumeKey(image, file("key"));
    const plain = content(DATA, sectorSize / 512);
    const raw = readFileSync(image);
    raw.set(xtsEncrypt(key, plain, sectorSize), PAYLOAD);
    writeFileSync(image, raw);
    const opened = await ours(image, [pass]);
    expect(opened.info.details).toMatchObject({ sectorSize, payloadOffset: PAYLOAD });
    expect(Buffer.compare(opened.bytes, plain)).toBe(0);

    const change = content(70_001, 9);
    await write(image, pass, change, 30_003);
    plain.set(change, 30_003);
    expect(Buffer.compare(readFileSync(image).subarray(PAYLOAD), xtsEncrypt(key, plain, sectorSize))).toBe(0);
    run("cryptsetup", "isLuks", "--type", "luks2", image);
  });

  it("gives the facts that luksDump gives", async () => {
    const image = format("facts.img", ...argon2("argon2id", 64, 4, 2), "--label", "Größe", "--subsystem", "guest");
    writeFileSync(file("new"), "second\n");
    run("cryptsetup", "luksAddKey", "-q", ...CHEAP, "--key-file", file("key"), image, file("new"));
    run("cryptsetup", "config", image, "--key-slot", "1", "--priority", "prefer");
    writeFileSync(file("token"), '{"type":"some-vendor","keyslots":["1"],"secret-looking":"x"}');
    run("cryptsetup", "token", "import", "--json-file", file("token"), image);
    const dump = run("cryptsetup", "luksDump", image);
    const metadata = JSON.parse(run("cryptsetup", "luksDump", "--dump-json-metadata", image));
    const { info, locked } = await ours(image, [pass]);
    expect(locked).toBeNull();
    const d = info.details;
    expect(d.uuid).toBe(run("cryptsetup", "luksUUID", image).trim());
    expect(d).toMatchObject({ label: "Größe", subsystem: "guest", headerSize: 16384, flags: [], requirements: [] });
    expect(d.sequenceId).toBe(Number(/Epoch:\s+(\d+)/.exec(dump)![1]));
    expect(d.tokens).toEqual([{ id: 0, type: "some-vendor", keyslots: [1] }]);
    const slots = d.keyslots as { [key: string]: Json }[];
    expect(slots.map((s) => s.priority)).toEqual(["normal", "prefer"]);
    for (const slot of slots) {
      const { kdf, key_size, area } = metadata.keyslots[String(slot.slot)];
      const cost =
        kdf.type === "pbkdf2"
          ? { type: kdf.type, hash: kdf.hash, iterations: kdf.iterations }
          : { type: kdf.type, time: kdf.time, memoryKiB: kdf.memory, cpus: kdf.cpus };
      expect(slot).toMatchObject({ keyBits: key_size * 8, cipher: area.encryption, kdf: cost });
    }
    expect(JSON.stringify(d)).not.toContain("secret-looking");
    expect((await ours(image, ["second\n"])).info.details.unlockedBy).toMatchObject({ slot: 1 });
  });

  it("refuses a re-encryption in progress with what to do, and shows the header", async () => {
    const image = format("reencrypt.img", ...CHEAP);
    run("cryptsetup", "reencrypt", "-q", "--init-only", "--key-file", file("key"), ...CHEAP, image);
    const { info, locked, reason } = await ours(image, [pass]);
    expect(locked).toBe("unsupported");
    expect(reason).toMatch(/re-encryption was begun .*online-reencrypt.*cryptsetup reencrypt --resume-only/);
    expect(info.details).toMatchObject({
      uuid: run("cryptsetup", "luksUUID", image).trim(),
      requirements: ["online-reencrypt-v2"],
    });
  });

  it.each([
    ["integrity-hmac", /integrity protection \(hmac\(sha256\), dm-integrity\)/],
    ["integrity-aead", /integrity protection \(aead, dm-integrity\)/],
  ])("refuses %s by name", async (name, reason) => {
    const header = gunzipSync(readFileSync(new URL(`../fixtures/luks/${name}.hdr.gz`, import.meta.url)));
    sparseFile(file("integrity.img"), 40 * 1024 * 1024, [[0, header]]);
    const opened = await ours(file("integrity.img"), ["pw"]);
    expect(opened.locked).toBe("unsupported");
    expect(opened.reason).toMatch(reason);
  });

  it("opens a volume whose first header was overwritten, as cryptsetup does", async () => {
    const image = format("damaged.img", ...CHEAP);
    const key = cryptsetupVolumeKey(image, file("key")).toString("hex");
    const fd = openSync(image, "r+");
    writeSync(fd, new Uint8Array(4096), 0, 4096, 0);
    closeSync(fd);
    expect(await ourVolumeKey(image, pass)).toBe(key);
    const opened = await ours(image, [pass]);
    expect(opened.info.findings.map((f) => f.code)).toEqual(["luks2-primary-damaged"]);
    expect(
      readFileSync(image)
        .subarray(0, 4096)
        .every((b) => b === 0),
    ).toBe(true);
    run("cryptsetup", "repair", "-q", "--type", "luks2", image);
    expect((await ours(image, [pass])).info.findings).toEqual([]);
  });

  it.each([32, 64, 1024, 4096])("finds the second of headers of %i KiB", async (kib) => {
    const image = file("large.img");
    sparseFile(image, 20 * 1024 * 1024);
    const size = ["--luks2-metadata-size", `${kib}k`, "--luks2-keyslots-size", "512k"];
    run("cryptsetup", "luksFormat", "-q", "--type", "luks2", ...size, ...CHEAP, image, file("key"));
    const key = cryptsetupVolumeKey(image, file("key")).toString("hex");
    const fd = openSync(image, "r+");
    writeSync(fd, new Uint8Array(8192), 0, 8192, 0);
    closeSync(fd);
    expect(await ourVolumeKey(image, pass)).toBe(key);
  });

  it("opens what cryptsetup converted from LUKS1", async () => {
    const image = file("converted.img");
    sparseFile(image, 4 * 1024 * 1024);
    const cost = ["--pbkdf-force-iterations", "1000"];
    run("cryptsetup", "luksFormat", "-q", "--type", "luks1", ...cost, image, file("key"));
    await write(image, pass, content(65_536, 5));
    run("cryptsetup", "convert", "-q", "--type", "luks2", image);
    const opened = await ours(image, [pass]);
    expect(opened.info.kind).toBe("luks2");
    expect(Buffer.compare(opened.bytes.subarray(0, 65_536), content(65_536, 5))).toBe(0);
  });

  it("opens a header backup with the data that belongs to it", async () => {
    const image = format("backup.img", ...CHEAP);
    await write(image, pass, content(DATA, 6));
    run("cryptsetup", "luksHeaderBackup", "-q", image, "--header-backup-file", file("backup.header"));
    copyFileSync(image, file("wiped.img"));
    const fd = openSync(file("wiped.img"), "r+");
    writeSync(fd, new Uint8Array(PAYLOAD), 0, PAYLOAD, 0);
    closeSync(fd);
    const opened = await ours(file("wiped.img"), [pass], file("backup.header"));
    expect(Buffer.compare(opened.bytes, content(DATA, 6))).toBe(0);
  });

  it("takes a detached header whose data starts at 0", async () => {
    const image = file("detached.img");
    sparseFile(image, DATA);
    sparseFile(file("header"), 2 * 1024 * 1024);
    const detached = [
      "--header",
      file("header"),
      "--luks2-metadata-size",
      "16k",
      "--luks2-keyslots-size",
      "976k",
      "--sector-size",
      "512",
    ];
    run("cryptsetup", "luksFormat", "-q", "--type", "luks2", ...detached, ...CHEAP, image, file("key"));
    const key = cryptsetupVolumeKey(file("header"), file("key"));
    const plain = content(DATA, 7);
    writeFileSync(image, xtsEncrypt(key, plain, 512));
    const opened = await ours(image, [pass], file("header"));
    expect(opened.info.details.payloadOffset).toBe(0);
    expect(Buffer.compare(opened.bytes, plain)).toBe(0);
    expect((await ours(file("header"), [pass])).locked).toBe("unsupported");
  });

  it("says so when all keyslots were erased", async () => {
    const image = format("erased.img", ...CHEAP);
    run("cryptsetup", "erase", "-q", image);
    expect((await ours(image, [pass])).locked).toBe("no-key");
  });
});

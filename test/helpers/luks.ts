import { createHash, pbkdf2Sync, randomBytes } from "node:crypto";
import { afSplit } from "../../src/crypto/af.ts";
import { cipherSpec, sectorCipher } from "../../src/crypto/sector-cipher.ts";

/** LUKS images in memory for unit tests: small, fast to open, and with any field as wrong as a test wants it. */

const STRIPES = 4000;
/** Of both LUKS versions' test images: short KDFs, so that a test opens them in milliseconds. */
const ITERATIONS = 2;

export interface Luks1Options {
  readonly cipher?: string;
  readonly mode?: string;
  readonly hash?: string;
  readonly keyBytes?: number;
  /** One a keyslot, from keyslot 0 on. */
  readonly passphrases?: readonly string[];
  /** Plaintext of the payload; a multiple of 512 bytes. */
  readonly content?: Uint8Array;
  /** Called with the finished header (592 bytes) and with its numbers' offsets to change: see LUKS1's figure 1. */
  readonly change?: (header: DataView) => void;
}

export const LUKS1_PAYLOAD = 2560 * 1024;
const keyslot1At = (i: number, keyBytes: number) => 4096 + i * Math.ceil((keyBytes * STRIPES) / 4096) * 4096;

export function luks1Image(options: Luks1Options = {}): Uint8Array {
  const { cipher = "aes", mode = "xts-plain64", hash = "sha256", keyBytes = 32, passphrases = ["secret"] } = options;
  const content = options.content ?? new Uint8Array(4096);
  const key = randomBytes(keyBytes);
  const spec = cipherSpec(`${cipher}-${mode}`, keyBytes);
  const image = new Uint8Array(LUKS1_PAYLOAD + content.length);
  const header = new DataView(image.buffer, 0, 592);
  image.set(Buffer.from("LUKS\xba\xbe\x00\x01", "latin1"));
  image.set(Buffer.from(cipher), 8);
  image.set(Buffer.from(mode), 40);
  image.set(Buffer.from(hash), 72);
  header.setUint32(104, LUKS1_PAYLOAD / 512);
  header.setUint32(108, keyBytes);
  const salt = randomBytes(32);
  const node = createHashName(hash);
  image.set(pbkdf2Sync(key, salt, ITERATIONS, 20, node), 112);
  image.set(salt, 132);
  header.setUint32(164, ITERATIONS);
  image.set(Buffer.from("11111111-2222-3333-4444-555555555555"), 168);
  for (let i = 0; i < 8; i++) {
    const at = 208 + i * 48;
    header.setUint32(at, i < passphrases.length ? 0x00ac71f3 : 0x0000dead);
    header.setUint32(at + 4, i < passphrases.length ? ITERATIONS : 0);
    const slotSalt = randomBytes(32);
    image.set(slotSalt, at + 8);
    header.setUint32(at + 40, keyslot1At(i, keyBytes) / 512);
    header.setUint32(at + 44, STRIPES);
    if (i < passphrases.length && spec) {
      const derived = pbkdf2Sync(passphrases[i]!, slotSalt, ITERATIONS, keyBytes, node);
      const material = split(key, node);
      sectorCipher(spec, derived, 512).encrypt(material, 0);
      image.set(material, keyslot1At(i, keyBytes));
    }
  }
  const payload = content.slice();
  if (spec) sectorCipher(spec, key, 512).encrypt(payload, 0);
  image.set(payload, LUKS1_PAYLOAD);
  options.change?.(header);
  return image;
}

/** Test images of hashes that this program refuses are made with another one. */
function createHashName(hash: string): string {
  return hash === "whirlpool" ? "sha512" : hash;
}

/** The key in 4000 stripes, padded to whole sectors. */
function split(key: Uint8Array, hash: string): Uint8Array {
  const material = new Uint8Array(Math.ceil((key.length * STRIPES) / 512) * 512);
  material.set(afSplit(key, randomBytes(key.length * (STRIPES - 1)), STRIPES, hash));
  return material;
}

// biome-ignore lint/suspicious/noExplicitAny: tests break the metadata in every way that there is
export type LooseJson = any;

export interface Luks2Options {
  /** One a keyslot, from keyslot 0 on. */
  readonly passphrases?: readonly string[];
  readonly sectorSize?: number;
  readonly ivTweak?: number;
  readonly content?: Uint8Array;
  readonly label?: string;
  /** Changes the metadata before it is written; what is returned replaces the JSON text. */
  // biome-ignore lint/suspicious/noConfusingVoidType: most tests change the object in place
  readonly change?: (json: LooseJson) => string | Buffer | void;
  /** Changes one whole header before its checksum is made, which is what a consistent but hostile header is. */
  readonly changeHeader?: (header: Buffer, which: 0 | 1) => void;
  readonly sequenceIds?: readonly [bigint, bigint];
}

export const LUKS2_HEADER = 16384;
const AREA = 135168;
const KEYSLOTS_AREA = 512 * 1024;
export const LUKS2_PAYLOAD = 1024 * 1024;

/** aes-xts-plain64 with 256 bits, PBKDF2, header size 16 KiB. */
export function luks2Image(options: Luks2Options = {}): Uint8Array {
  const { passphrases = ["secret"], sectorSize = 512, ivTweak = 0, label = "" } = options;
  const content = options.content ?? new Uint8Array(8192);
  const key = randomBytes(32);
  const spec = cipherSpec("aes-xts-plain64", 32)!;
  const image = new Uint8Array(LUKS2_PAYLOAD + content.length);
  const salts = passphrases.map(() => randomBytes(32));
  const digestSalt = randomBytes(32);
  const json: LooseJson = {
    keyslots: Object.fromEntries(
      passphrases.map((_, i) => [
        String(i),
        {
          type: "luks2",
          key_size: 32,
          af: { type: "luks1", stripes: STRIPES, hash: "sha256" },
          area: {
            type: "raw",
            offset: String(2 * LUKS2_HEADER + i * AREA),
            size: String(AREA),
            encryption: "aes-xts-plain64",
            key_size: 32,
          },
          kdf: { type: "pbkdf2", hash: "sha256", iterations: ITERATIONS, salt: salts[i]!.toString("base64") },
        },
      ]),
    ),
    tokens: {},
    segments: {
      "0": {
        type: "crypt",
        offset: String(LUKS2_PAYLOAD),
        size: "dynamic",
        iv_tweak: String(ivTweak),
        encryption: "aes-xts-plain64",
        sector_size: sectorSize,
      },
    },
    digests: {
      "0": {
        type: "pbkdf2",
        keyslots: passphrases.map((_, i) => String(i)),
        segments: ["0"],
        hash: "sha256",
        iterations: ITERATIONS,
        salt: digestSalt.toString("base64"),
        digest: pbkdf2Sync(key, digestSalt, ITERATIONS, 32, "sha256").toString("base64"),
      },
    },
    config: { json_size: String(LUKS2_HEADER - 4096), keyslots_size: String(KEYSLOTS_AREA) },
  };
  const text = options.change?.(json) ?? JSON.stringify(json);
  passphrases.forEach((passphrase, i) => {
    const derived = pbkdf2Sync(passphrase, salts[i]!, ITERATIONS, 32, "sha256");
    const material = split(key, "sha256");
    sectorCipher(spec, derived, 512).encrypt(material, 0);
    image.set(material, 2 * LUKS2_HEADER + i * AREA);
  });
  for (const which of [0, 1] as const) {
    image.set(luks2Header(which, text, label, options), which * LUKS2_HEADER);
  }
  const payload = content.slice();
  sectorCipher(spec, key, sectorSize).encrypt(payload, ivTweak);
  image.set(payload, LUKS2_PAYLOAD);
  return image;
}

function luks2Header(which: 0 | 1, text: string | Buffer, label: string, options: Luks2Options): Buffer {
  const header = Buffer.alloc(LUKS2_HEADER);
  header.write(which === 0 ? "LUKS\xba\xbe" : "SKUL\xba\xbe", "latin1");
  header.writeUInt16BE(2, 6);
  header.writeBigUInt64BE(BigInt(LUKS2_HEADER), 8);
  header.writeBigUInt64BE(options.sequenceIds?.[which] ?? 3n, 16);
  header.write(label, 24);
  header.write("sha256", 72);
  randomBytes(64).copy(header, 104);
  header.write("66666666-7777-8888-9999-aaaaaaaaaaaa", 168);
  header.writeBigUInt64BE(BigInt(which * LUKS2_HEADER), 256);
  header.set(Buffer.from(text), 4096);
  options.changeHeader?.(header, which);
  createHash("sha256").update(header).digest().copy(header, 448);
  return header;
}

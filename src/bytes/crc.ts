import { crc32 as zlibCrc32 } from "node:zlib";

/** CRC-32 (IEEE 802.3, reflected, initial and final complement) as GPT uses it (UEFI 2.10, 5.3.2). */
export function crc32(bytes: Uint8Array): number {
  return zlibCrc32(bytes);
}

function table(polynomial: number): Uint32Array {
  const out = new Uint32Array(256);
  for (let i = 0; i < 256; i++) {
    let c = i;
    for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ polynomial : c >>> 1;
    out[i] = c >>> 0;
  }
  return out;
}

/** Made when first needed: most commands need one of them. */
let ieee: Uint32Array | undefined;
let castagnoli: Uint32Array | undefined;
let msbFirst: Uint32Array | undefined;

function tableMsbFirst(polynomial: number): Uint32Array {
  const out = new Uint32Array(256);
  for (let i = 0; i < 256; i++) {
    let c = i << 24;
    for (let k = 0; k < 8; k++) c = c & 0x80000000 ? (c << 1) ^ polynomial : c << 1;
    out[i] = c >>> 0;
  }
  return out;
}

function run(lookup: Uint32Array, bytes: Uint8Array, seed: number): number {
  let c = seed >>> 0;
  for (let i = 0; i < bytes.length; i++) c = lookup[(c ^ bytes[i]!) & 0xff]! ^ (c >>> 8);
  return c >>> 0;
}

/** CRC-32 register update without any complement: LVM2 starts it at 0xf597a6cf (lib/misc/crc.c), ext4-style callers at ~0. */
export function crc32Raw(bytes: Uint8Array, seed: number): number {
  ieee ??= table(0xedb88320);
  return run(ieee, bytes, seed);
}

/** CRC-32C register update without final complement (ext4 disk layout, "Checksums"; Btrfs; start with 0xffffffff). */
export function crc32cRaw(bytes: Uint8Array, seed: number): number {
  castagnoli ??= table(0x82f63b78);
  return run(castagnoli, bytes, seed);
}

/** CRC-16 register update, polynomial 0x8005 reflected, without final complement: ext4's uninit_bg descriptors (lib/crc16.c; start with 0xffff). */
export function crc16Raw(bytes: Uint8Array, seed: number): number {
  let c = seed & 0xffff;
  for (const byte of bytes) {
    c ^= byte;
    for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ 0xa001 : c >>> 1;
  }
  return c;
}

/** CRC-32 register update, most significant bit first, without any complement: jbd2's first kind of commit checksum (start with ~0). */
export function crc32MsbFirstRaw(bytes: Uint8Array, seed: number): number {
  msbFirst ??= tableMsbFirst(0x04c11db7);
  let c = seed >>> 0;
  for (let i = 0; i < bytes.length; i++) c = (msbFirst[((c >>> 24) ^ bytes[i]!) & 0xff]! ^ (c << 8)) >>> 0;
  return c;
}

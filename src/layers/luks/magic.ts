/** LUKS1 On-Disk Format 1.2.3, figure 1, and LUKS2 On-Disk Format 1.1.4, Binary Header: "LUKS" 0xba 0xbe, and "SKUL" on the second header. */
const PRIMARY = Uint8Array.of(0x4c, 0x55, 0x4b, 0x53, 0xba, 0xbe);
/** What cryptsetup reencrypt puts in the place of a LUKS1 magic while it works (src/utils_reencrypt_luks1.c, NOMAGIC). */
const REENCRYPTING = Uint8Array.of(0x4c, 0x55, 0x4b, 0x53, 0xde, 0xad);
const SECONDARY = Uint8Array.of(0x53, 0x4b, 0x55, 0x4c, 0xba, 0xbe);

export const BINARY_HEADER_BYTES = 4096;

/** Sizes of one LUKS2 header with its JSON area; the second header follows at this offset (LUKS2, JSON Area). */
export const LUKS2_HEADER_SIZES: readonly number[] = [16, 32, 64, 128, 256, 512, 1024, 2048, 4096].map(
  (kib) => kib * 1024,
);

export function hasPrimaryMagic(bytes: Uint8Array): boolean {
  return startsWith(bytes, PRIMARY);
}

export function hasSecondaryMagic(bytes: Uint8Array): boolean {
  return startsWith(bytes, SECONDARY);
}

/** `bytes`: at least the first eight of a device. */
export function isLuks1InReencryption(bytes: Uint8Array): boolean {
  return startsWith(bytes, REENCRYPTING) && bytes[6] === 0 && bytes[7] === 1;
}

function startsWith(bytes: Uint8Array, magic: Uint8Array): boolean {
  return bytes.length >= magic.length && magic.every((b, i) => bytes[i] === b);
}

import { cipherSpec } from "../../crypto/sector-cipher.ts";

/** Whether payloads under this cipher (as dm-crypt spells it), with keys of so many bits, are read and written here. */
export function isKnownCipher(name: string, keyBits: number): boolean {
  return keyBits % 8 === 0 && cipherSpec(name, keyBits / 8) !== null;
}

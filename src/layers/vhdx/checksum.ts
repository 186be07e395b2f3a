import { crc32cRaw } from "../../bytes/crc.ts";

/** Where every structure with a checksum has it. */
const CHECKSUM_AT = 4;

/** CRC-32C over the structure with its own checksum field as zeros (MS-VHDX 2.2.2). */
export function checksumHolds(bytes: Uint8Array): boolean {
  const stored = new DataView(bytes.buffer, bytes.byteOffset).getUint32(CHECKSUM_AT, true);
  const before = crc32cRaw(bytes.subarray(0, CHECKSUM_AT), 0xffffffff);
  const zeros = crc32cRaw(new Uint8Array(4), before);
  return ~crc32cRaw(bytes.subarray(CHECKSUM_AT + 4), zeros) >>> 0 === stored;
}

/** 16 bytes in RFC 4122 order as the lower-case text that blkid prints. */
export function uuidText(bytes: Uint8Array): string {
  const hex = Buffer.from(bytes.subarray(0, 16)).toString("hex");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20, 32)}`;
}

/** 16 bytes of a Microsoft/UEFI GUID (first three groups little-endian; UEFI 2.10, Appendix A) as lower-case text. */
export function guidText(bytes: Uint8Array): string {
  const b = Buffer.from(bytes.subarray(0, 16));
  const mixed = Buffer.from([b[3]!, b[2]!, b[1]!, b[0]!, b[5]!, b[4]!, b[7]!, b[6]!, ...b.subarray(8)]);
  return uuidText(mixed);
}

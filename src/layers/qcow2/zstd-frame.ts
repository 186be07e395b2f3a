/** RFC 8878, 3.1.1: a frame starts with these four bytes (little-endian). */
const MAGIC = 0xfd2fb528;
const RLE = 1;
const RESERVED = 3;
/** Bytes of the dictionary id and of the frame content size by their flags (RFC 8878, 3.1.1.1.1). */
const DICTIONARY_ID = [0, 1, 2, 4];
const CONTENT_SIZE = [0, 2, 4, 8];

/**
 * Bytes of the zstd frame at the start of `input`, or null when there is no whole one. A decoder that takes only exact frames
 * needs it: in a qcow2 image the sectors go on behind the frame.
 */
export function zstdFrameLength(input: Uint8Array): number | null {
  if (input.length < 5) return null;
  const dv = new DataView(input.buffer, input.byteOffset, input.byteLength);
  if (dv.getUint32(0, true) !== MAGIC) return null;
  const descriptor = dv.getUint8(4);
  const sizeFlag = descriptor >> 6;
  const singleSegment = (descriptor & 0x20) !== 0;
  const checksum = (descriptor & 0x04) !== 0 ? 4 : 0;
  const window = singleSegment ? 0 : 1;
  const contentSize = sizeFlag === 0 && singleSegment ? 1 : CONTENT_SIZE[sizeFlag]!;
  let at = 5 + window + DICTIONARY_ID[descriptor & 3]! + contentSize;
  for (;;) {
    if (at + 3 > input.length) return null;
    const header = dv.getUint16(at, true) + dv.getUint8(at + 2) * 65536;
    const type = (header >> 1) & 3;
    if (type === RESERVED) return null;
    at += 3 + (type === RLE ? 1 : header >> 3);
    if ((header & 1) !== 0) return at + checksum <= input.length ? at + checksum : null;
  }
}

/** Reads and writes refcounts of 1 to 64 bits ("Refcount block entry": bit 0 is the least significant of a byte). */
export interface RefcountCodec {
  get(view: DataView, index: number): number;
  set(view: DataView, index: number, value: number): void;
}

export function refcountCodec(bits: number): RefcountCodec {
  switch (bits) {
    case 8:
      return { get: (v, i) => v.getUint8(i), set: (v, i, value) => v.setUint8(i, value) };
    case 16:
      return { get: (v, i) => v.getUint16(i * 2), set: (v, i, value) => v.setUint16(i * 2, value) };
    case 32:
      return { get: (v, i) => v.getUint32(i * 4), set: (v, i, value) => v.setUint32(i * 4, value) };
    case 64:
      return {
        get: (v, i) => v.getUint32(i * 8) * 2 ** 32 + v.getUint32(i * 8 + 4),
        set: (v, i, value) => v.setBigUint64(i * 8, BigInt(value)),
      };
    default:
      return narrow(bits);
  }
}

/** 1, 2 or 4 bits: several refcounts share a byte. */
function narrow(bits: number): RefcountCodec {
  const perByte = 8 / bits;
  const mask = 2 ** bits - 1;
  return {
    get(view, index) {
      return (view.getUint8(Math.floor(index / perByte)) >> ((index % perByte) * bits)) & mask;
    },
    set(view, index, value) {
      const at = Math.floor(index / perByte);
      const shift = (index % perByte) * bits;
      view.setUint8(at, (view.getUint8(at) & ~(mask << shift)) | (value << shift));
    },
  };
}

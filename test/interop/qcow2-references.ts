import { refcountCodec } from "../../src/layers/qcow2/refcount-width.ts";

/**
 * Host clusters of an image that are referenced more often than they are counted, and COPIED flags that contradict the
 * refcount: what `qemu-img check` calls a corruption. Written plainly and apart from the layer's own tables, so that
 * thousands of states can be looked at; the crash test compares its verdict with `qemu-img check`. No compressed clusters.
 */
export function corruptions(image: Uint8Array): string[] {
  const dv = new DataView(image.buffer, image.byteOffset, image.byteLength);
  const u64 = (at: number): bigint => (at + 8 <= image.length ? dv.getBigUint64(at) : 0n);
  const size = 2 ** dv.getUint32(20);
  const v3 = dv.getUint32(4) === 3;
  const bits = v3 ? 2 ** dv.getUint32(96) : 16;
  const perBlock = (size * 8) / bits;
  const codec = refcountCodec(bits);
  // Incompatible feature bit 4: extended L2 entries, twice as long; their second half names no cluster.
  const step = v3 && (u64(72) & 16n) !== 0n ? 16 : 8;
  // Bit 2: guest clusters lie in another file and are not counted.
  const external = v3 && (u64(72) & 4n) !== 0n;
  const offsetOf = (entry: bigint): number => Number(entry & 0x00ff_ffff_ffff_fe00n);
  const references = new Map<number, number>();
  const use = (offset: number, length: number) => {
    for (let c = offset / size; c < (offset + length) / size; c++) references.set(c, (references.get(c) ?? 0) + 1);
  };
  const copied: { readonly cluster: number; readonly flag: boolean }[] = [];

  const table = Number(u64(48));
  const tableBytes = dv.getUint32(56) * size;
  use(0, size);
  use(table, tableBytes);
  for (let at = table; at < table + tableBytes; at += 8) if (u64(at) !== 0n) use(Number(u64(at)), size);
  const count = (cluster: number): number => {
    const block =
      Math.floor(cluster / perBlock) * 8 < tableBytes ? Number(u64(table + Math.floor(cluster / perBlock) * 8)) : 0;
    if (block === 0 || block + size > image.length) return 0;
    return codec.get(new DataView(image.buffer, image.byteOffset + block, size), cluster % perBlock);
  };

  const walk = (l1: number, entries: number, active: boolean) => {
    use(l1, entries * 8);
    for (let i = 0; i < entries; i++) {
      const l2 = offsetOf(u64(l1 + i * 8));
      if (l2 === 0) continue;
      use(l2, size);
      if (active) copied.push({ cluster: l2 / size, flag: u64(l1 + i * 8) >> 63n === 1n });
      for (let k = 0; k < size && !external; k += step) {
        const entry = u64(l2 + k);
        if (offsetOf(entry) === 0) continue;
        use(offsetOf(entry), size);
        if (active) copied.push({ cluster: offsetOf(entry) / size, flag: entry >> 63n === 1n });
      }
    }
  };
  walk(Number(u64(40)), dv.getUint32(36), true);
  let at = Number(u64(64));
  for (let n = dv.getUint32(60); n > 0; n--) {
    walk(Number(u64(at)), dv.getUint32(at + 8), false);
    const length = 40 + dv.getUint32(at + 36) + dv.getUint16(at + 12) + dv.getUint16(at + 14);
    const padded = Math.ceil(length / 8) * 8;
    if (n === 1) use(Number(u64(64)), at + padded - Number(u64(64)));
    at += padded;
  }
  const out: string[] = [];
  for (const [cluster, used] of references) {
    if (count(cluster) < used) out.push(`cluster ${cluster}: ${used} references, refcount ${count(cluster)}`);
  }
  for (const { cluster, flag } of copied) {
    if (flag !== (count(cluster) === 1)) out.push(`cluster ${cluster}: COPIED ${flag}, refcount ${count(cluster)}`);
  }
  return out;
}

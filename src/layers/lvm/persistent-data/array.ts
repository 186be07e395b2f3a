import { KINDS, METADATA_BLOCK, type MetadataBlocks } from "./blocks.ts";
import { Btree } from "./btree.ts";

/** struct array_block: checksum, most entries, entries, bytes of a value, block (dm-array.c). */
const HEADER = 24;
const VALUE = 8;
const PER_BLOCK = Math.floor((METADATA_BLOCK - HEADER) / VALUE);

/** Values of an array of u64 in order (drivers/md/persistent-data/dm-array.c). */
export async function* arrayValues(blocks: MetadataBlocks, root: number, count: number): AsyncIterable<DataView> {
  const tree = new Btree(blocks, root, 8);
  for (let from = 0; from < count; from += PER_BLOCK) {
    const entry = await tree.find(from / PER_BLOCK);
    if (!entry) throw blocks.corrupt(`an array has no block for its value ${from}`, root);
    const block = Number(entry.getBigUint64(0, true));
    const values = await blocks.get(KINDS.array, block, (bytes) => {
      const dv = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
      if (dv.getUint32(12, true) !== VALUE)
        throw blocks.corrupt(`array block ${block} has values of another size`, block);
      return { there: dv.getUint32(8, true), dv };
    });
    const wanted = Math.min(PER_BLOCK, count - from);
    if (values.there < wanted || values.there > PER_BLOCK) {
      throw blocks.corrupt(`array block ${block} has ${values.there} values`, block);
    }
    for (let i = 0; i < wanted; i++)
      yield new DataView(values.dv.buffer, values.dv.byteOffset + HEADER + i * VALUE, VALUE);
  }
}

import { type WasmMemory, wasmInstance } from "../bytes/wasm.ts";
import { INODE_SELECT_WASM } from "./inode-select-wasm.ts";

/** Bytes of a buffer. */
export const SELECT_BUFFER = 1024 * 1024;
/** As many as pieces are in use at a time: two that the kernel takes, one that is looked at, one that is read (see FilePiece). */
const BUFFERS = 4;
/** Behind the buffers: an address of 32 bits for each inode of a buffer, of which the smallest have 128 bytes. */
const FOUND = BUFFERS * SELECT_BUFFER;

interface Exports {
  readonly memory: WasmMemory;
  select(at: number, end: number, size: number, out: number): number;
}

/**
 * Finds the inodes that name blocks of metadata. Nearly all inodes of a file system are files that name none, and there are many: V8 would be busy
 * with compiling a loop over them in JavaScript, again and again, for longer than this takes.
 */
export interface InodeSelect {
  /** Four of `SELECT_BUFFER` bytes, aligned as any inode wants; only what lies in them can be looked at. */
  readonly buffers: readonly Uint8Array[];
  /**
   * Where in `table` the inodes begin that are directories, or files with an attribute block or with blocks of extents or pointers. Valid until the next call.
   * @param table whole inodes, in one of the buffers; what is left at the end is passed over
   * @param inodeSize bytes, 128 at least
   */
  select(table: Uint8Array, inodeSize: number): Uint32Array;
}

export function inodeSelect(): InodeSelect {
  const { memory, select } = wasmInstance(INODE_SELECT_WASM) as Exports;
  const { buffer } = memory;
  return {
    buffers: Array.from({ length: BUFFERS }, (_, i) => new Uint8Array(buffer, i * SELECT_BUFFER, SELECT_BUFFER)),
    select(table, inodeSize) {
      const start = table.byteOffset;
      if (table.buffer !== buffer || start + table.length > FOUND || inodeSize < 128)
        throw new RangeError("inodes are looked at in the buffers only");
      const end = select(start, start + table.length, inodeSize, FOUND);
      // WebAssembly's memory is little-endian everywhere; addresses are told as this machine's numbers.
      const found = new Uint32Array((end - FOUND) / 4);
      const bytes = new DataView(buffer, FOUND);
      for (let i = 0; i < found.length; i++) found[i] = bytes.getUint32(4 * i, true) - start;
      return found;
    },
  };
}

import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import wabt from "wabt";
import { metadataOfInode } from "./inode-scan.ts";
import { inodeSelect, SELECT_BUFFER } from "./inode-select.ts";
import { INODE_SELECT_WASM } from "./inode-select-wasm.ts";

const shape = { blocks: 2 ** 48 };

/** Inodes whose bytes are likely to mean something: type, flags, i_block and i_file_acl are drawn, the rest is noise. */
const inode = (size: number) =>
  fc
    .record({
      noise: fc.uint8Array({ minLength: size, maxLength: size }),
      type: fc.constantFrom(0x4000, 0x8000, 0xa000, 0),
      flags: fc.constantFrom(0, 0x80000, 0x1000_0000, 0x1008_0000),
      acl: fc.constantFrom(0, 0, 77),
      magic: fc.constantFrom(0xf30a, 0xf30a, 1),
      depth: fc.constantFrom(0, 0, 1, 5),
      pointers: fc.array(fc.constantFrom(0, 0, 9), { minLength: 3, maxLength: 3 }),
    })
    .map(({ noise, type, flags, acl, magic, depth, pointers }) => {
      const view = new DataView(noise.buffer);
      view.setUint16(0, type | 0o644, true);
      view.setUint32(0x20, flags, true);
      view.setUint32(0x68, acl, true);
      view.setUint16(0x28, magic, true);
      view.setUint16(0x2e, depth, true);
      for (const [i, pointer] of pointers.entries()) view.setUint32(0x58 + 4 * i, pointer, true);
      return noise;
    });

describe("the inodes that are looked at closely", () => {
  it.each([128, 256, 1024])("are all that name metadata, inodes of %i bytes", (size) => {
    const { buffers, select } = inodeSelect();
    fc.assert(
      fc.property(fc.array(inode(size), { maxLength: 40 }), fc.nat(2), fc.nat(3), (inodes, which, shift) => {
        const table = buffers[which]!.subarray(shift * 128, shift * 128 + inodes.length * size);
        for (const [i, bytes] of inodes.entries()) table.set(bytes, i * size);
        const found = [...select(table, size)];
        for (const [i, bytes] of inodes.entries()) {
          let names = 0;
          metadataOfInode(bytes, shape, () => names++);
          if (names > 0) expect(found).toContain(i * size);
        }
        expect(found.every((at, i) => at % size === 0 && at < table.length && at > (found[i - 1] ?? -1))).toBe(true);
      }),
    );
  });

  it("are few among files that fit into their own extents, and all of a buffer of directories", () => {
    const { buffers, select } = inodeSelect();
    const [buffer] = buffers as [Uint8Array];
    const view = new DataView(buffer.buffer, buffer.byteOffset, buffer.length);
    for (let at = 0; at < SELECT_BUFFER; at += 128) {
      view.setUint16(at, 0x81a4, true);
      view.setUint32(at + 0x20, 0x80000, true);
      view.setUint16(at + 0x28, 0xf30a, true);
    }
    expect(select(buffer, 128)).toHaveLength(0);
    for (let at = 0; at < SELECT_BUFFER; at += 128) view.setUint16(at, 0x41ed, true);
    const all = select(buffer, 128);
    expect(all).toHaveLength(SELECT_BUFFER / 128);
    expect(all.at(-1)).toBe(SELECT_BUFFER - 128);
  });

  it("are looked for in the buffers only, and no inode that is cut", () => {
    const { buffers, select } = inodeSelect();
    expect(() => select(new Uint8Array(256), 128)).toThrow(RangeError);
    expect(() => select(buffers[0]!, 0)).toThrow(RangeError);
    buffers[0]!.set([0xed, 0x41], 0);
    buffers[0]!.set([0xed, 0x41], 256);
    expect([...select(buffers[0]!.subarray(0, 511), 256)]).toEqual([0]);
  });

  it("are found by what inode-select.wat compiles to", async () => {
    const module = (await wabt()).parseWat(
      "inode-select.wat",
      readFileSync(new URL("inode-select.wat", import.meta.url), "utf8"),
    );
    module.validate();
    expect(Buffer.from(module.toBinary({}).buffer).toString("base64")).toBe(INODE_SELECT_WASM);
  });
});

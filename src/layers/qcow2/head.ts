import { type BlockDevice, readBytes } from "../../core/device.ts";
import { StorageError } from "../../core/errors.ts";
import type { Limits } from "../../core/limits.ts";
import { type Extensions, parseExtensions } from "./features.ts";
import { type Header, parseHeader } from "./header.ts";

/** Bytes of the first cluster that are read at first; header and extensions of most images fit. */
const FIRST_READ = 4096;

/** All that the first cluster says, read once and validated. */
export interface Head {
  readonly header: Header;
  readonly extensions: Extensions;
  readonly backingName: string | null;
}

/** Throws `corrupt`, `limit`, or `unsupported` for another version. */
export async function readHead(file: BlockDevice, limits: Limits): Promise<Head> {
  let bytes = await readBytes(file, 0, Math.min(FIRST_READ, file.size));
  const header = parseHeader(bytes, limits);
  for (const [offset, length, what] of [
    [header.l1TableOffset, header.l1Size * 8, "the L1 table"],
    [header.refcountTableOffset, header.refcountTableClusters * header.clusterSize, "the refcount table"],
  ] as const) {
    if (offset + length > file.size) {
      throw new StorageError("corrupt", `${what} reaches beyond the end of the file (${file.size} bytes)`, {
        layer: "qcow2",
        offset,
        hint: "the image is truncated: compare its size with that of a backup",
      });
    }
  }
  const upTo = async (end: number): Promise<void> => {
    if (end > file.size)
      throw new StorageError("corrupt", "the file ends inside the header", { layer: "qcow2", offset: file.size });
    if (end > bytes.length) bytes = await readBytes(file, 0, end);
  };
  // The extension area ends where the backing file's name starts, or with the first cluster.
  const end = header.backingName ? header.backingName.offset : header.clusterSize;
  let result = parseExtensions(bytes, header.headerLength, end);
  while ("need" in result) {
    await upTo(Math.min(header.clusterSize, Math.max(result.need, bytes.length * 2), Math.max(file.size, result.need)));
    result = parseExtensions(bytes, header.headerLength, end);
  }
  if (!header.backingName) return { header, extensions: result, backingName: null };
  const { offset, length } = header.backingName;
  await upTo(offset + length);
  return {
    header,
    extensions: result,
    backingName: Buffer.from(bytes.subarray(offset, offset + length)).toString("utf8"),
  };
}

import { StorageError } from "../../core/errors.ts";
import { knowsCompression } from "./expand.ts";
import { CORRUPT, DATA_FILE, type Extensions, refusedFeatures } from "./features.ts";
import type { Header } from "./header.ts";
import type { SnapshotTable } from "./snapshots.ts";

const REPAIR_HINT = "repair it with `qemu-img check -r all` (make a copy first)";
/** crypt_method ("Header", bytes 32-35). */
const NO_ENCRYPTION = 0;
const LEGACY_AES = 1;
const LUKS = 2;

/** Why the disk's contents cannot be read at all, or null. */
export function refusal(header: Header, extensions: Extensions): string | null {
  const features = refusedFeatures(header.incompatible, extensions.featureNames);
  if (!knowsCompression(header.compressionType)) features.push(`compression type ${header.compressionType}`);
  const { cryptMethod } = header;
  if (cryptMethod === LEGACY_AES) {
    features.unshift("legacy AES-CBC encryption (convert it with qemu-img convert, which still reads it)");
  } else if (cryptMethod !== NO_ENCRYPTION && cryptMethod !== LUKS) {
    features.unshift(`qcow2 encryption method ${cryptMethod}`);
  }
  return features.length === 0 ? null : `not supported: ${features.join(", ")}`;
}

/** Why the disk can be read, but not be written to, or null. `snapshots` null: their table is damaged. */
export function writeRefusal(header: Header, snapshots: SnapshotTable | null): StorageError | null {
  const refuse = (feature: string, message: string) =>
    new StorageError("unsupported", message, { layer: "qcow2", offset: 72, feature, hint: REPAIR_HINT });
  if ((header.incompatible & CORRUPT) !== 0n)
    return refuse("corrupt bit", "the image is marked corrupt: it is not written to");
  if (snapshots === null)
    return new StorageError("corrupt", "the snapshot table is damaged: the image is not written to", {
      layer: "qcow2",
      offset: header.snapshotsOffset,
      hint: REPAIR_HINT,
    });
  if ((header.incompatible & DATA_FILE) !== 0n && header.snapshotCount > 0) {
    return new StorageError("corrupt", "an image with an external data file cannot have snapshots, but has some", {
      layer: "qcow2",
      offset: 60,
    });
  }
  return null;
}

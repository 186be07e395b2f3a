import type { BlockDevice } from "../../core/device.ts";
import { describeWithHint, StorageError } from "../../core/errors.ts";
import type { Finding } from "../../core/finding.ts";
import type { OpenContext, UnlockedHeader } from "../../core/layer.ts";
import { slice } from "../../core/slice.ts";
import { backingReference } from "./backing.ts";
import { DATA_FILE } from "./features.ts";
import type { Head } from "./head.ts";
import type { Header } from "./header.ts";

/** QEMU's LUKS1 headers have about 2 MiB: eight keyslots of 4000 stripes of at most 64 bytes. */
const MAX_ENCRYPTION_HEADER = 16 * 1024 * 1024;

/** The other images and files that an image needs; an image without one of them is shown, and says what is missing. */
export interface Companions {
  readonly backing: BlockDevice | null;
  readonly dataFile: BlockDevice | null;
  /** The first reason why the content is not to be had. */
  readonly problem: StorageError | null;
}

export async function openCompanions(head: Head, context: OpenContext, findings: Finding[]): Promise<Companions> {
  let problem: StorageError | null = null;
  const attempt = async (what: string, code: string, work: () => Promise<BlockDevice>): Promise<BlockDevice | null> => {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof StorageError) || error.code === "cancelled") throw error;
      findings.push({
        severity: "error",
        code,
        message: `${what} cannot be opened: ${describeWithHint(error)}`,
        layer: "qcow2",
      });
      problem ??= error;
      return null;
    }
  };
  const { backingName, extensions } = head;
  const backing =
    backingName === null
      ? null
      : await attempt("the backing file", "qcow2-backing-file", () => {
          const { path, format } = backingReference(backingName, extensions.backingFormat);
          return context.openImage(path, format);
        });
  try {
    const dataFile = hasDataFile(head.header)
      ? await attempt("the data file", "qcow2-data-file", async () => {
          const reference = dataFileReference(head);
          if (context.openDataFile) return context.openDataFile(reference);
          throw new StorageError("unsupported", "an image in this place cannot have a data file", {
            layer: "qcow2",
            feature: "external data file",
          });
        })
      : null;
    return { backing, dataFile, problem };
  } catch (error) {
    await backing?.[Symbol.asyncDispose]();
    throw error;
  }
}

function hasDataFile(header: Header): boolean {
  return (header.incompatible & DATA_FILE) !== 0n;
}

/** The external data file as the image names it, a path; null when the image has none. Throws `unsupported` for other references. */
export function externalDataFile(head: Head): string | null {
  return hasDataFile(head.header) ? dataFileReference(head) : null;
}

function dataFileReference({ extensions }: Head): string {
  if (extensions.dataFile === null) {
    throw new StorageError("unsupported", "the image does not name its data file", {
      layer: "qcow2",
      feature: "external data file without a name",
      hint: "`qemu-img amend -o data_file=FILE IMAGE` writes it into the image",
    });
  }
  return backingReference(extensions.dataFile, "raw").path;
}

/** The LUKS header that `head` points to, unlocked; null when the image is not encrypted that way. */
export async function unlockEncryption(
  file: BlockDevice,
  { header, extensions }: Head,
  context: OpenContext,
): Promise<UnlockedHeader> {
  const place = extensions.encryption;
  const corrupt = (message: string) => new StorageError("corrupt", message, { layer: "qcow2", offset: 32 });
  if (!place) throw corrupt("the image is LUKS-encrypted, but does not say where the LUKS header lies");
  const { offset, length } = place;
  if (offset === 0 || offset % header.clusterSize !== 0 || offset + length > file.size) {
    throw corrupt(`the encryption header at ${offset} is misplaced`);
  }
  if (length === 0 || length > MAX_ENCRYPTION_HEADER) throw corrupt(`an encryption header of ${length} bytes`);
  if (header.size % 512 !== 0) throw corrupt("the size of an encrypted disk is no whole number of sectors");
  if (!context.unlockHeader) {
    throw new StorageError("unsupported", "an encrypted image cannot be unlocked in this place", {
      layer: "qcow2",
      feature: "LUKS encryption",
    });
  }
  return context.unlockHeader(slice(file, offset, length, "qcow2"));
}

import { realpathSync } from "node:fs";
import { printable } from "../bytes/text.ts";
import { StorageError } from "../core/errors.ts";
import type { KeyProvider } from "../core/layer.ts";
import type { Limits } from "../core/limits.ts";
import type { MigratedDisk, Migration, MigrationDisk } from "../host/migration-store.ts";
import { type SourceIdentity, sourceIdentity } from "../host/source-identity.ts";
import { writeMark } from "../host/write-mark.ts";
import type { TreeNode } from "../stack/tree.ts";
import { sourceDevice } from "./convert.ts";
import { disksOf } from "./guest-sources.ts";
import type { Guest } from "./guests.ts";
import { openForInspection } from "./open-for-reading.ts";
import { hashDevice } from "./second-reader.ts";

export interface ContentOptions {
  /** Keys of encryption inside the image. */
  readonly keys: KeyProvider;
  readonly limits?: Limits | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly note?: ((text: string) => void) | undefined;
  readonly onProgress?: ((phase: string, done: number, total: number) => void) | undefined;
}

/** Whether what was recorded is this very file or device; unlike for a look, the path alone is not enough. */
export function sameDisk(recorded: SourceIdentity, now: SourceIdentity): boolean {
  if (recorded.kind !== now.kind || recorded.size !== now.size) return false;
  if (recorded.kind === "file")
    return recorded.ino === now.ino && (recorded.dev === now.dev || recorded.realpath === now.realpath);
  return recorded.stableId !== null && now.stableId !== null
    ? recorded.stableId === now.stableId
    : recorded.realpath === now.realpath;
}

/** A disk that was migrated. Throws `usage` unless it is where it was, and the old guest's. */
export async function oldDisk(
  { plan }: Migration,
  { disk, source }: MigrationDisk,
  old: Guest | null,
  options: ContentOptions,
): Promise<MigratedDisk> {
  const no = (what: string) =>
    new StorageError("usage", `the old disk ${disk} of ${printable(plan.guest.name)} is not destroyed: ${what}`, {
      layer: "libvirt",
      hint: "what is not certainly the disk that was migrated is left alone; overwrite it by hand if it may be lost",
    });
  if (!source) throw no("it was no file or device of this host, or the journal does not say which");
  if (old !== null) {
    const how = { sources: [], guestDisks: [disk], keys: options.keys, signal: options.signal };
    const now = old.domain.disks.some((d) => d.target === disk) ? (await disksOf(old, how))[0]?.name : undefined;
    if (now === undefined || real(now) !== real(source.path))
      throw no(`it is ${now === undefined ? "gone" : printable(now)} now, and was ${printable(source.path)}`);
  }
  if (real(source.path) === null) throw no(`${printable(source.path)} is not there`);
  if (!sameDisk(source.identity, sourceIdentity(source.path)))
    throw no(`${printable(source.path)} is another file or device now, or of another size`);
  return source;
}

export interface Content {
  readonly sha256: string;
  readonly root: TreeNode;
  /** Files that the image names. */
  readonly named: readonly string[];
  /** `writeMark` before it was read. */
  readonly mark: string | null;
}

/** Reads all of a disk through its layers, as `migrate` did. */
export async function contentOfDisk(
  { disk, parameters }: MigrationDisk,
  source: MigratedDisk,
  old: Guest | null,
  options: ContentOptions,
): Promise<Content> {
  const { keys, limits, signal, note, onProgress } = options;
  const mark = writeMark(source.identity.realpath);
  const how =
    old === null
      ? { sources: [source.path], format: source.format }
      : { sources: [`vm:${old.uuid}`], guestDisks: [disk], connect: old.uri ?? undefined };
  await using opened = await openForInspection({ ...how, keys, limits, signal, note, streaming: true });
  const device = sourceDevice(opened.stack, undefined);
  const onDone = (done: number) => onProgress?.(`reading the old ${disk}`, done, device.size);
  const sha256 = await hashDevice(device, parameters.sectorSize, { onDone, signal });
  return { sha256, root: opened.stack.tree.roots[0]!, named: opened.named, mark };
}

function real(path: string): string | null {
  try {
    return realpathSync(path);
  } catch {
    return null;
  }
}

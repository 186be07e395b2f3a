import { existsSync, rmSync, statfsSync, truncateSync } from "node:fs";
import { dirname } from "node:path";
import { alignUp } from "../bytes/integers.ts";
import { Cleanup } from "../core/cleanup.ts";
import type { BlockDevice } from "../core/device.ts";
import { ioError, StorageError } from "../core/errors.ts";
import { openFileDevice } from "../core/file-device.ts";
import { syncPath } from "../core/sync-path.ts";
import { systemHoles } from "../host/holes.ts";
import { lockSource } from "../host/locks.ts";
import { systemWriteBack } from "../host/write-back.ts";
import type { FormatParameters } from "../tools/cryptsetup.ts";
import {
  contentOf,
  create,
  luksIn,
  nameIt,
  opened,
  readState,
  stackOn,
  type Target,
  type TargetOptions,
  writeState,
} from "./convert-parts.ts";
import type { NewLuksDocument } from "./documents.ts";
import { askKeys, formatLuks, headerOf, type NewLuks, newLuksDocument } from "./luks-format.ts";
import { removeKeyFile } from "./recovery-key.ts";

/** Bytes of a container for so much content. */
export function containerSize(size: number, { dataOffset, sectorSize }: FormatParameters): number {
  return dataOffset + alignUp(size, sectorSize);
}

/**
 * Makes a file that is a LUKS container of exactly the right size, as PATH.part until the copy in it is whole. A copy that was interrupted
 * is continued in the container that it has; one that was interrupted before that was whole begins anew.
 */
export async function openNewLuks(
  options: TargetOptions & { readonly signal?: AbortSignal | undefined },
  luks: NewLuks,
): Promise<Target & { readonly made: NewLuksDocument }> {
  const { path, source, format } = options;
  const part = `${path}.part`;
  const statePath = `${part}.json`;
  if (existsSync(path)) {
    throw new StorageError("usage", `${path} is there already`, {
      hint: "choose another name, or remove it; to write into a LUKS container that exists: --to luks",
    });
  }
  let state = existsSync(part) ? readState(statePath, options) : null;
  if (!state && existsSync(part)) {
    throw new StorageError("usage", `${part} is there already`, {
      hint: `it may be what an interrupted copy of something else left: remove it (and ${statePath}), and repeat`,
    });
  }
  const { recoveryKey } = luks;
  const keyFile = recoveryKey !== null && recoveryKey !== "show" ? recoveryKey.file : null;
  if (state?.formatting) {
    rmSync(part);
    if (keyFile !== null) removeKeyFile(keyFile);
    state = null;
  }
  const removeMade = (): void => {
    rmSync(part, { force: true });
    rmSync(statePath, { force: true });
    if (keyFile !== null) removeKeyFile(keyFile);
  };
  let made: NewLuksDocument;
  if (state) made = newLuksDocument(await headerOf(part, options.limits), luks.parameters);
  else {
    await askKeys(luks, path);
    if (keyFile !== null && existsSync(keyFile))
      throw new StorageError("usage", `${keyFile} is there already`, { hint: "a recovery key goes into a new file" });
    refuseFull(path, containerSize(options.size, luks.parameters));
    // From here on, what is found under the name is ours.
    writeState(statePath, { schema: "unterbau/convert-state/1", source, format, done: 0, formatting: true });
    try {
      create(part);
      truncateSync(part, containerSize(options.size, luks.parameters));
      made = await formatLuks(part, luks, { ...options, name: path });
    } catch (error) {
      removeMade();
      throw ioError(error, `cannot make ${path}`, { layer: "luks" });
    }
  }
  await using cleanup = new Cleanup();
  const open = async (writable: boolean, into: Cleanup): Promise<BlockDevice> => {
    const file = into.use(
      openFileDevice(part, { writable, holes: systemHoles(), background: true, writeBack: systemWriteBack }),
    );
    lockSource(file.fd, part, writable ? "write" : "read");
    const stack = into.use(await stackOn(file, part, { format: "raw", writable }, { ...options, keys: luks.keys }));
    return contentOf(luksIn(stack.tree.roots[0]!.children[0]!, part));
  };
  let device: BlockDevice;
  try {
    device = await open(true, cleanup);
  } catch (error) {
    // Nothing was copied yet: what our own reader does not open is of no use to anybody.
    if (!state) removeMade();
    throw error;
  }
  // A source need not end with a sector: the guest sees zeros up to the end of its last one.
  if (!state && device.size > options.size) await device.zero(options.size, device.size - options.size);
  const target = opened(options, cleanup, {
    device,
    // What was not written reads as noise.
    blank: false,
    state,
    statePath,
    open: (into) => open(false, into),
    remove: () => rmSync(part, { force: true }),
    put: () => {
      syncPath(part);
      nameIt(part, path);
      syncPath(dirname(path));
    },
  });
  return Object.assign(target, { made });
}

/** Every byte of the content is written: in ciphertext nothing is a hole. Throws `io` when there is no room for that. */
export function refuseFull(path: string, size: number): void {
  let free: number;
  try {
    const { bavail, bsize } = statfsSync(dirname(path));
    free = bavail * bsize;
  } catch (error) {
    throw ioError(error, `cannot make ${path}`, { layer: "file", hint: "check the folder and its permissions" });
  }
  if (free >= size) return;
  throw new StorageError("io", `${path} needs ${size} bytes, and its file system has ${free} left`, {
    layer: "file",
    hint: "free space there, or name another place",
  });
}

import { StorageError } from "../core/errors.ts";
import type { Limits } from "../core/limits.ts";
import { externalDataFile } from "../layers/qcow2/companions.ts";
import { qcow2Driver } from "../layers/qcow2/driver.ts";
import { readHead } from "../layers/qcow2/head.ts";
import type { PathGate } from "./gate.ts";
import { detectImage, namedAsImage } from "./images.ts";
import type { StackSource } from "./source.ts";

/**
 * The real path of the file that holds the data of a qcow2 source, if it has one apart from itself. Null also when it cannot be had or
 * is not allowed (a name in a file that only looks like an image): opening the source then says why.
 */
export async function dataFileOf(source: StackSource, gate: PathGate, limits: Limits): Promise<string | null> {
  if (source.path === null) return null;
  try {
    const detected = source.format === null && source.kind === "file" ? await detectImage(source.device) : null;
    if (source.format !== qcow2Driver.name && detected !== qcow2Driver) return null;
    const reference = externalDataFile(await readHead(source.device, limits));
    if (reference === null) return null;
    const path = gate.resolve(reference, source.path, qcow2Driver.name);
    const guessed = source.format === null && !namedAsImage(source.name, qcow2Driver);
    return guessed && !gate.trusts(path) ? null : path;
  } catch (error) {
    if (error instanceof StorageError && error.code !== "cancelled") return null;
    throw error;
  }
}

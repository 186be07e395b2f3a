import { renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ioError } from "../core/errors.ts";
import { syncDirectory } from "../core/undo-log/writer.ts";
import { SIGNATURE } from "./audit-store.ts";

/** Puts a signature beside a run's manifest, in place of an older one. Its path. Throws `io`. */
export function writeSignature(folder: string, signature: string): string {
  const path = join(folder, SIGNATURE);
  try {
    writeFileSync(`${path}.new`, signature, { mode: 0o600, flush: true });
    renameSync(`${path}.new`, path);
    syncDirectory(folder);
  } catch (error) {
    throw ioError(error, `cannot write ${path}`);
  }
  return path;
}

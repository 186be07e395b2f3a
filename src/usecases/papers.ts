import { readFileSync } from "node:fs";
import { ioError, StorageError } from "../core/errors.ts";
import { putPrivateFile } from "../host/private-file.ts";

/**
 * Puts a paper in place. One that is there already and says something else may have been edited or signed: it is replaced with `force` only. Throws
 * `usage` then, and `io`.
 */
export function putPaper(path: string, content: string | Uint8Array, force: boolean): void {
  const wanted = Buffer.from(content);
  let before: Buffer | null = null;
  try {
    before = readFileSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw ioError(error, `cannot read ${path}`);
  }
  if (before?.equals(wanted)) return;
  if (before && !force)
    throw new StorageError("usage", `${path} is there already and differs`, {
      hint: "name another folder with --out, or replace it with --force",
    });
  putPrivateFile(path, wanted);
}

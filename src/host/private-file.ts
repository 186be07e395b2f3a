import { randomUUID } from "node:crypto";
import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { ioError } from "../core/errors.ts";
import { syncPath } from "../core/sync-path.ts";

/**
 * Puts a file in place whole or not at all, readable by its owner only; folders on the way are made (mode 700). What was there under that
 * name is replaced. Durable when it returns. Throws `io`.
 */
export function putPrivateFile(path: string, content: string | Uint8Array): void {
  const temporary = `${path}.${randomUUID()}`;
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    writeFileSync(temporary, content, { mode: 0o600, flag: "wx", flush: true });
    renameSync(temporary, path);
    syncPath(dirname(path));
  } catch (error) {
    rmSync(temporary, { force: true });
    throw ioError(error, `cannot write ${path}`);
  }
}

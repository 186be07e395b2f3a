import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { join, resolve } from "node:path";
import { ioError, type StorageError } from "../core/errors.ts";
import { syncPath } from "../core/sync-path.ts";
import { isAlive, type Owner, thisProcess } from "../host/owner.ts";
import { isEncrypted, restsOn } from "../host/rests-on.ts";
import type { BackupManifest } from "./backup-documents.ts";
import { type BackupStore, bytesOf, MANIFEST, type Piece, parseManifest, type StoreOptions } from "./backup-store.ts";

const PARTIAL = ".partial";
const OWNER = "owner.json";
const CHUNK = 4 * 1024 * 1024;

/** A folder with one folder a backup. It has its name only when it is whole; until then the name ends in `.partial`. */
export class FolderStore implements BackupStore {
  readonly name: string;
  readonly #options: StoreOptions;

  constructor(path: string, options: StoreOptions) {
    this.name = resolve(path);
    this.#options = options;
  }

  async encrypted(): Promise<boolean | null> {
    try {
      return isEncrypted(restsOn(this.name));
    } catch {
      return null;
    }
  }

  async begin(id: string): Promise<void> {
    for (const old of this.#abandoned()) {
      rmSync(join(this.name, `${old}${PARTIAL}`), { recursive: true, force: true });
      this.#options.note?.(`the backup ${old} had been cut off: what it had written is removed`);
    }
    try {
      mkdirSync(this.name, { recursive: true, mode: 0o700 });
      mkdirSync(this.#partial(id), { mode: 0o700 });
      writeFileSync(join(this.#partial(id), OWNER), JSON.stringify(thisProcess()), { mode: 0o600 });
    } catch (error) {
      throw ioError(error, `no backup can be put into ${this.name}`);
    }
  }

  async put(id: string, item: string, pieces: AsyncIterable<Piece>): Promise<void> {
    const path = join(this.#partial(id), item);
    let file: FileHandle | null = null;
    try {
      file = await open(path, "wx", 0o600);
      let at = 0;
      for await (const piece of pieces) {
        // Zeros become holes.
        if (typeof piece !== "number") await writeAll(file, piece, at);
        at += typeof piece === "number" ? piece : piece.length;
      }
      await file.truncate(at);
      await file.sync();
    } catch (error) {
      throw this.#full(error);
    } finally {
      await file?.close();
    }
  }

  async finish(id: string, manifest: BackupManifest): Promise<void> {
    await this.put(id, MANIFEST, bytesOf(`${JSON.stringify(manifest, null, 2)}\n`));
    try {
      rmSync(join(this.#partial(id), OWNER));
      syncPath(this.#partial(id));
      renameSync(this.#partial(id), join(this.name, id));
      syncPath(this.name);
    } catch (error) {
      throw this.#full(error);
    }
  }

  async abandon(id: string): Promise<void> {
    rmSync(this.#partial(id), { recursive: true, force: true });
  }

  async list(): Promise<{ whole: BackupManifest[]; unfinished: string[] }> {
    const whole: BackupManifest[] = [];
    const unfinished: string[] = [];
    for (const name of this.#names()) {
      if (name.endsWith(PARTIAL)) unfinished.push(name.slice(0, -PARTIAL.length));
      const path = join(this.name, name, MANIFEST);
      const text = name.endsWith(PARTIAL) ? null : readIf(path);
      if (text === null) continue;
      const manifest = parseManifest(text, path);
      // A folder that was renamed would be looked for under its old name.
      whole.push({ ...manifest, id: name });
    }
    return { whole, unfinished };
  }

  async *get(id: string, item: string): AsyncIterable<Uint8Array> {
    const file = await open(join(this.name, id, item), "r").catch((error) => {
      throw ioError(error, `the backup ${id} lacks ${item}`);
    });
    try {
      for (;;) {
        const chunk = new Uint8Array(CHUNK);
        const { bytesRead } = await file.read(chunk, 0, CHUNK, null);
        if (bytesRead === 0) return;
        yield chunk.subarray(0, bytesRead);
      }
    } finally {
      await file.close();
    }
  }

  file(id: string, item: string): string | null {
    return join(this.name, id, item);
  }

  #partial(id: string): string {
    return join(this.name, `${id}${PARTIAL}`);
  }

  #names(): string[] {
    try {
      return readdirSync(this.name).sort();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
      throw ioError(error, `${this.name} cannot be read`);
    }
  }

  /** Those whose process is gone. */
  #abandoned(): string[] {
    return this.#names()
      .filter((name) => name.endsWith(PARTIAL))
      .filter((name) => {
        const text = readIf(join(this.name, name, OWNER));
        try {
          return text === null || !isAlive(JSON.parse(text) as Owner);
        } catch {
          return true;
        }
      })
      .map((name) => name.slice(0, -PARTIAL.length));
  }

  #full(error: unknown): StorageError {
    const code = (error as NodeJS.ErrnoException).code;
    return ioError(error, `the backup cannot be written to ${this.name}`, {
      layer: "backup",
      hint: code === "ENOSPC" || code === "EDQUOT" ? "it is full: nothing of this backup is kept there" : undefined,
    });
  }
}

/** Writes all of it, or throws. */
export async function writeAll(file: FileHandle, bytes: Uint8Array, at: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    done += (await file.write(bytes, done, bytes.length - done, at + done)).bytesWritten;
  }
}

function readIf(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
}

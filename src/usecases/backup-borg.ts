import { Borg } from "../tools/borg.ts";
import type { BackupManifest } from "./backup-documents.ts";
import {
  type BackupStore,
  bytesOf,
  MANIFEST,
  type Piece,
  parseManifest,
  type StoreOptions,
  textOf,
} from "./backup-store.ts";

const PREFIX = "unterbau-";
/** Between the backup's id and the item in an archive's name. */
const BETWEEN = "--";

/** Each item is an archive of its own: `unterbau-ID--ITEM`. */
export class BorgStore implements BackupStore {
  readonly name: string;
  readonly #borg: Borg;

  constructor(repository: string, { passwordFile, signal }: StoreOptions) {
    this.name = `borg:${repository}`;
    this.#borg = new Borg(repository, passwordFile, signal);
  }

  async encrypted(): Promise<boolean> {
    return !/^(none|authenticated|unknown)/.test(await this.#borg.encryption());
  }

  async begin(): Promise<void> {
    await this.#borg.encryption();
  }

  async put(id: string, item: string, pieces: AsyncIterable<Piece>): Promise<void> {
    await this.#borg.put(archive(id, item), item, pieces);
  }

  async finish(id: string, manifest: BackupManifest): Promise<void> {
    await this.put(id, MANIFEST, bytesOf(JSON.stringify(manifest)));
  }

  async abandon(): Promise<void> {
    // As for restic: nothing is removed from a repository.
  }

  async list(): Promise<{ whole: BackupManifest[]; unfinished: string[] }> {
    const whole: BackupManifest[] = [];
    const seen = new Set<string>();
    for (const name of await this.#borg.archives(PREFIX)) {
      const [id = "", item = ""] = name.slice(PREFIX.length).split(BETWEEN);
      seen.add(id);
      if (item === MANIFEST) whole.push(parseManifest(await textOf(this.#borg.get(name, MANIFEST)), name));
    }
    return { whole, unfinished: [...seen].filter((id) => !whole.some((m) => m.id === id)) };
  }

  get(id: string, item: string): AsyncIterable<Uint8Array> {
    return this.#borg.get(archive(id, item), item);
  }

  file(): null {
    return null;
  }
}

function archive(id: string, item: string): string {
  return `${PREFIX}${id}${BETWEEN}${item}`;
}

import { StorageError } from "../core/errors.ts";
import { Restic, type Snapshot } from "../tools/restic.ts";
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

const OURS = "unterbau";
/** Each item is a snapshot of its own, with the backup's id in its tags. */
export class ResticStore implements BackupStore {
  readonly name: string;
  readonly #restic: Restic;
  /** As they were when they were listed; a repository is slow to open. */
  #snapshots: Promise<readonly Snapshot[]> | null = null;

  constructor(repository: string, { passwordFile, signal }: StoreOptions) {
    this.name = `restic:${repository}`;
    this.#restic = new Restic(repository, passwordFile, signal);
  }

  async encrypted(): Promise<boolean> {
    // restic knows no repositories that are not.
    return true;
  }

  async begin(): Promise<void> {
    await this.#restic.open();
  }

  async put(id: string, item: string, pieces: AsyncIterable<Piece>): Promise<void> {
    this.#snapshots = null;
    await this.#restic.put(item, [OURS, `backup=${id}`, `item=${item}`], pieces);
  }

  async finish(id: string, manifest: BackupManifest): Promise<void> {
    await this.put(id, MANIFEST, bytesOf(JSON.stringify(manifest)));
  }

  async abandon(): Promise<void> {
    // Snapshots stay until restic forgets them: who may add to a repository need not be allowed to remove from it.
  }

  async list(): Promise<{ whole: BackupManifest[]; unfinished: string[] }> {
    const whole: BackupManifest[] = [];
    const seen = new Set<string>();
    for (const { id, tags } of await this.#all()) {
      const backup = tagOf(tags, "backup");
      if (backup !== null) seen.add(backup);
      if (tagOf(tags, "item") === MANIFEST)
        whole.push(parseManifest(await textOf(this.#restic.get(id, MANIFEST)), `${this.name} ${id}`));
    }
    return { whole, unfinished: [...seen].filter((id) => !whole.some((m) => m.id === id)) };
  }

  async *get(id: string, item: string): AsyncIterable<Uint8Array> {
    const wanted = [`backup=${id}`, `item=${item}`];
    const snapshot = (await this.#all()).find(({ tags }) => wanted.every((t) => tags.includes(t)));
    if (!snapshot) throw new StorageError("io", `the backup ${id} lacks ${item}`, { layer: "backup" });
    yield* this.#restic.get(snapshot.id, item);
  }

  #all(): Promise<readonly Snapshot[]> {
    this.#snapshots ??= this.#restic.snapshots([OURS]);
    return this.#snapshots;
  }

  file(): null {
    return null;
  }
}

function tagOf(tags: readonly string[], name: string): string | null {
  return tags.find((t) => t.startsWith(`${name}=`))?.slice(name.length + 1) ?? null;
}

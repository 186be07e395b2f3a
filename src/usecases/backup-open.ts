import { StorageError } from "../core/errors.ts";
import type { BackupStore, StoreOptions } from "./backup-store.ts";

/** `DIR`, `restic:REPO` or `borg:REPO`. The two programs are loaded only when they are named. */
export async function openStore(to: string, options: StoreOptions): Promise<BackupStore> {
  const [, kind, place = ""] = /^(restic|borg):(.*)$/s.exec(to) ?? [];
  if (kind !== undefined && place === "") {
    throw new StorageError("usage", `${to} names no repository`, { hint: `${kind}:REPO, as ${kind} itself calls it` });
  }
  if (kind === "restic") return new (await import("./backup-restic.ts")).ResticStore(place, options);
  if (kind === "borg") return new (await import("./backup-borg.ts")).BorgStore(place, options);
  return new (await import("./backup-folder.ts")).FolderStore(to, options);
}

import { basename } from "node:path";
import type { CryptEntry } from "../host/crypttab.ts";
import { migrations } from "../host/migration-store.ts";

/** How the host opens the containers that migrations have made, as lines of crypttab that nobody has written yet; the newest first. */
export function migratedVolumes(): CryptEntry[] {
  return migrations()
    .reverse()
    .flatMap(({ plan, steps }) =>
      plan.disks.flatMap(({ disk, target, opened }) => {
        const uuid = steps.get(`format ${disk}`)?.facts.uuid;
        if (opened.by !== "host" || target.kind !== "device" || uuid === undefined) return [];
        // The next boot may give a disk another name; a logical volume keeps its own, and is activated by it.
        const device = target.volume === null ? `/dev/disk/by-uuid/${uuid}` : target.path;
        const options = ["luks", "noauto", ...(plan.discard ? ["discard"] : [])];
        return [{ name: basename(opened.mapped), device, keyFile: null, options, line: 0 }];
      }),
    );
}

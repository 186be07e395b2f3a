import type { HostReader } from "../model.ts";
import { earliest } from "./facts.ts";

/** More repositories than a host has. */
const MAX_REPOSITORIES = 100;

/**
 * When the lists of repositories were last compared with their origin: the oldest time of those that have advisories (`updateinfo` in
 * repodata/repomd.xml). dnf and libzypp touch that file whenever they find it still current. Null: none has advisories, so that none is ever pending.
 */
export async function refreshedAt(host: HostReader, folders: readonly string[]): Promise<string | null> {
  const times = await Promise.all(
    folders.slice(0, MAX_REPOSITORIES).map(async (folder) => {
      const path = `${folder}/repodata/repomd.xml`;
      const [file, stat] = await Promise.all([host.file(path), host.stat(path)]);
      return file.kind === "text" && /<data type="updateinfo"/.test(file.text) && stat !== null ? [stat.modified] : [];
    }),
  );
  return earliest(times.flat());
}

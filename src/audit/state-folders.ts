import type { HostReader } from "./model.ts";

/** What this program itself is asked for: the folders where it keeps its records, one a line. */
export const STATE_FOLDERS = "state-folders";

/** Where root's records are, on a host whose record does not say. */
const DEFAULT = "/var/lib/unterbau";
/** More records than a host has. */
const MAX_RECORDS = 1000;

/** Paths of the records with this ending in a folder of the state folders (`retirements`, `headers/index`), by the rules of whoever writes them. */
export async function stateRecords(host: HostReader, folder: string, ending: string): Promise<string[]> {
  const said = await host.run(["unterbau", STATE_FOLDERS]);
  const folders =
    said.kind === "ran" && said.exit === 0 ? said.stdout.split("\n").filter((l) => l.startsWith("/")) : [];
  const found = await Promise.all(
    (folders.length > 0 ? folders : [DEFAULT]).map(async (state) => {
      const names = (await host.list(`${state}/${folder}`)) ?? [];
      return names.filter((n) => n.endsWith(ending)).map((name) => `${state}/${folder}/${name}`);
    }),
  );
  return found.flat().slice(0, MAX_RECORDS);
}

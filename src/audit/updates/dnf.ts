import type { HostReader } from "../model.ts";
import { oldestIssue, type UpdateFacts, utcTime } from "./facts.ts";
import { refreshedAt } from "./repomd.ts";

/** A security advisory that has newer versions of what is installed. */
export interface Advisory {
  /** `FEDORA-2026-d08c298940`, `RHSA-2026:0925` */
  readonly name: string;
  readonly issued: string | null;
}

/** dnf 4 keeps its lists in the first, dnf 5 in the second (dnf.conf(5), dnf5.conf(5): `cachedir`, `system_cachedir`). */
const CACHES = ["/var/cache/dnf", "/var/cache/libdnf5"];
/** Nothing is fetched; times are printed in the host's zone. */
const dnf = (...words: string[]) => ["env", "TZ=UTC", "dnf", "--quiet", "--cacheonly", ...words];

/** What dnf 4 or 5 knows from its lists; null: it is not there. */
export async function dnfUpdates(host: HostReader): Promise<UpdateFacts | null> {
  const [advisories, check, repositories, restart] = await Promise.all([
    host.run(dnf("updateinfo", "info", "--security")),
    host.run(dnf("check-update", "--security")),
    host.run(dnf("repolist", "--enabled")),
    host.run(dnf("needs-restarting", "--reboothint")),
  ]);
  // env(1) ends with 127 when there is no such program.
  if (advisories.kind === "missing" || advisories.exit === 127) return null;
  const found = advisories.exit === 0 ? securityAdvisories(advisories.stdout) : null;
  // dnf(8), check-update: 100 there are updates, 0 there are none. Who says so, and no advisory is named, has not told all.
  const code = check.kind === "ran" ? check.exit : null;
  const whole = found !== null && (code === 0 || (code === 100 && found.length > 0));
  const enabled = repositories.kind === "ran" && repositories.exit === 0 ? repositoryIds(repositories.stdout) : [];
  return {
    manager: "dnf",
    pending: whole ? found.map((a) => a.name) : null,
    oldest: whole ? oldestIssue(found) : null,
    listsOf: await listsOf(host, enabled),
    upgraded: null,
    rebootRequired: restart.kind === "ran" ? rebootHint(restart.stdout) : null,
  };
}

/**
 * `dnf updateinfo info --security`: of dnf 4 a block for each advisory with right-aligned labels (`Update ID : `, `Type : `, `Updated : `), of dnf 5
 * left-aligned ones (`Name        : `, `Type        : `, `Issued      : `) (dnf(8), "Updateinfo Command"; dnf5-advisory(8)). Null: not understood.
 */
export function securityAdvisories(text: string): Advisory[] | null {
  const found = new Map<string, Advisory>();
  let name: string | null = null;
  let security = false;
  // Continued lines of a description begin with a colon after blanks, and can so be no label.
  for (const line of text.split("\n")) {
    const [, label, value = ""] = /^ {0,12}([A-Z][A-Za-z]*(?: ID)?) *: (.*)$/.exec(line) ?? [];
    if (label === "Update ID" || label === "Name") {
      name = value.trim();
      security = false;
    } else if (label === "Type" && !security) {
      security = value.trim() === "security";
    } else if ((label === "Updated" || label === "Issued") && name !== null && security) {
      found.set(name, { name, issued: utcTime(value.trim()) });
      // What follows in the block, a reference's type for one, is none of it.
      name = null;
    }
  }
  return found.size === 0 && text.trim() !== "" ? null : [...found.values()];
}

/** `dnf repolist`: a line of titles, then an id and a name. */
function repositoryIds(text: string): string[] {
  const lines = text.split("\n").filter((l) => l.trim() !== "" && !/^repo id\b/.test(l));
  return lines.flatMap((l) => /^[!*]?(\S+)/.exec(l)?.[1] ?? []);
}

async function listsOf(host: HostReader, enabled: readonly string[]): Promise<string | null> {
  const folders = await Promise.all(
    CACHES.map(async (cache) =>
      ((await host.list(cache)) ?? [])
        // `ID-` and the hash of where it comes from.
        .filter((name) => enabled.includes(name.replace(/-[0-9a-f]{16}$/, "")) && /-[0-9a-f]{16}$/.test(name))
        .map((name) => `${cache}/${name}`),
    ),
  );
  return refreshedAt(host, folders.flat());
}

/** dnf needs-restarting(8), `--reboothint`; null: the plug-in is not there. */
function rebootHint(text: string): boolean | null {
  if (/^Reboot is required/m.test(text)) return true;
  return /^Reboot should not be necessary/m.test(text) ? false : null;
}

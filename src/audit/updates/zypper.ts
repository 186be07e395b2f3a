import type { HostReader } from "../model.ts";
import type { Advisory } from "./dnf.ts";
import { oldestIssue, type UpdateFacts, utcTime } from "./facts.ts";
import { refreshedAt } from "./repomd.ts";

const RAW = "/var/cache/zypp/raw";
const zypper = (...words: string[]) => ["zypper", "--xmlout", "--non-interactive", "--no-refresh", ...words];
/** zypper(8), "EXIT CODES": a restart of the system is needed. */
const REBOOT_NEEDED = 102;

/** What zypper knows from its lists; null: it is not there. */
export async function zypperUpdates(host: HostReader): Promise<UpdateFacts | null> {
  const [patches, repositories, reboot] = await Promise.all([
    host.run(zypper("list-patches")),
    host.run(zypper("repos")),
    host.run(zypper("needs-rebooting")),
  ]);
  if (patches.kind === "missing" || patches.exit === 127) return null;
  // 106: some repositories were skipped.
  const found = patches.exit === 0 ? securityPatches(patches.stdout) : null;
  const enabled = repositories.kind === "ran" && repositories.exit === 0 ? enabledAliases(repositories.stdout) : [];
  const code = reboot.kind === "ran" ? reboot.exit : null;
  return {
    manager: "zypper",
    pending: found?.map((p) => p.name) ?? null,
    oldest: found === null ? null : oldestIssue(found),
    listsOf: await refreshedAt(
      host,
      enabled.map((alias) => `${RAW}/${alias}`),
    ),
    upgraded: null,
    rebootRequired: code === 0 ? false : code === REBOOT_NEEDED ? true : null,
  };
}

/**
 * `zypper --xmlout list-patches` (zypper's xmlout.rng): patches that are needed, in `update-list`, and behind those of the package manager itself in
 * `blocked-update-list`. Null: it did not come to its end.
 */
export function securityPatches(text: string): Advisory[] | null {
  if (!/<\/update-list>|<update-list\/>/.test(text) || !/<\/stream>\s*$/.test(text)) return null;
  return [...text.matchAll(/<update\s([^>]*)>([\s\S]*?)<\/update>/g)].flatMap(([, own = "", within = ""]) => {
    const attribute = (name: string) => new RegExp(`(?:^|\\s)${name}="([^"]*)"`).exec(own)?.[1] ?? null;
    const name = attribute("name");
    if (name === null || attribute("kind") !== "patch" || attribute("category") !== "security") return [];
    if (attribute("status") !== "needed") return [];
    const issued = /<issue-date\s[^>]*\btext="([^"]*)"/.exec(within)?.[1] ?? "";
    return [{ name, issued: utcTime(issued) }];
  });
}

function enabledAliases(text: string): string[] {
  return [...text.matchAll(/<repo\s([^>]*)>/g)].flatMap(([, own = ""]) => {
    const alias = /(?:^|\s)alias="([^"]+)"/.exec(own)?.[1];
    // A name that leads elsewhere is none that zypper makes a folder of.
    return alias === undefined || !/\senabled="1"/.test(own) || /[/&]|^\.+$/.test(alias) ? [] : [alias];
  });
}

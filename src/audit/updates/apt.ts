import type { HostReader } from "../model.ts";
import { earliest, type UpdateFacts } from "./facts.ts";

const LISTS = "/var/lib/apt/lists";
const SIMULATE = ["apt-get", "--simulate", "--quiet", "--option", "Debug::NoLocking=true", "dist-upgrade"];
/** More indexes than a host has. */
const MAX_LISTS = 50;

/** What apt knows from its lists; null: it is not there. */
export async function aptUpdates(host: HostReader): Promise<UpdateFacts | null> {
  const simulated = await host.run(SIMULATE);
  if (simulated.kind === "missing" || simulated.exit === 127) return null;
  const [listsOf, history, ...reboot] = await Promise.all([
    securityDate(host),
    host.file("/var/log/apt/history.log"),
    host.stat("/run/reboot-required"),
    host.stat("/var/run/reboot-required"),
  ]);
  const whole = simulated.exit === 0 && isWhole(simulated.stdout);
  return {
    manager: "apt",
    pending: whole ? pendingSecurity(simulated.stdout).map((u) => u.name) : null,
    oldest: null,
    listsOf,
    upgraded: history.kind === "text" ? lastUpgrade(history.text) : null,
    rebootRequired: reboot.some((stat) => stat !== null),
  };
}

async function securityDate(host: HostReader): Promise<string | null> {
  const names = ((await host.list(LISTS)) ?? []).filter((n) => /security.*_(In)?Release$/.test(n)).slice(0, MAX_LISTS);
  const files = await Promise.all(names.map((name) => host.file(`${LISTS}/${name}`)));
  // The oldest: what that archive has had since then is not known.
  return earliest(files.flatMap((f) => (f.kind === "text" ? (releaseDate(f.text) ?? []) : [])));
}

/** A security update that apt would install. */
interface PendingUpdate {
  readonly name: string;
  readonly from: string | null;
  readonly to: string;
}

/**
 * `apt-get --simulate dist-upgrade`: `Inst NAME [OLD] (NEW ORIGIN:VERSION/SUITE [ARCH])`, of which those from an archive for security are taken
 * (apt-get(8), "--simulate"; Debian's and Ubuntu's archives are called so).
 */
function pendingSecurity(output: string): PendingUpdate[] {
  return output.split("\n").flatMap((line) => {
    const match = /^Inst (\S+) (?:\[([^\]]*)\] )?\((\S+) ([^)]*)\)/.exec(line);
    if (!match || !/security/i.test(match[4]!)) return [];
    return [{ name: match[1]!, from: match[2] ?? null, to: match[3]! }];
  });
}

/** True when apt worked it out to the end. */
function isWhole(output: string): boolean {
  return /^\d+ upgraded, \d+ newly installed, \d+ to remove and \d+ not upgraded\./m.test(output);
}

/** `Date:` of an InRelease file (Debian repository format, "Release files"), RFC 3339. */
function releaseDate(text: string): string | null {
  const said = /^Date: (.+)$/m.exec(text)?.[1];
  const time = said === undefined ? Number.NaN : Date.parse(said);
  return Number.isNaN(time) ? null : new Date(time).toISOString();
}

/** The end of the last upgrade of the whole system in /var/log/apt/history.log, as of UTC; null: it tells of none. */
function lastUpgrade(history: string): string | null {
  const ends = history.split(/\n\s*\n/).flatMap((entry) => {
    const command = /^Commandline: (.+)$/m.exec(entry)?.[1] ?? "";
    const end = /^End-Date: (\d{4}-\d{2}-\d{2}) +(\d{2}:\d{2}:\d{2})$/m.exec(entry);
    if (!end || !/unattended-upgrade|\b(upgrade|(dist|full|safe)-upgrade)\b/.test(command)) return [];
    const time = Date.parse(`${end[1]}T${end[2]}Z`);
    return Number.isNaN(time) ? [] : [new Date(time).toISOString()];
  });
  return ends.sort().at(-1) ?? null;
}

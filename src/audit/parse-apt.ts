/** A security update that apt would install. */
export interface PendingUpdate {
  readonly name: string;
  readonly from: string | null;
  readonly to: string;
}

/**
 * `apt-get --simulate dist-upgrade`: `Inst NAME [OLD] (NEW ORIGIN:VERSION/SUITE [ARCH])`, of which those from an archive for security are taken
 * (apt-get(8), "--simulate"; Debian's and Ubuntu's archives are called so).
 */
export function pendingSecurity(output: string): PendingUpdate[] {
  return output.split("\n").flatMap((line) => {
    const match = /^Inst (\S+) (?:\[([^\]]*)\] )?\((\S+) ([^)]*)\)/.exec(line);
    if (!match || !/security/i.test(match[4]!)) return [];
    return [{ name: match[1]!, from: match[2] ?? null, to: match[3]! }];
  });
}

/** True when apt worked it out to the end. */
export function isWhole(output: string): boolean {
  return /^\d+ upgraded, \d+ newly installed, \d+ to remove and \d+ not upgraded\./m.test(output);
}

/** `Date:` of an InRelease file (Debian repository format, "Release files"), RFC 3339. */
export function releaseDate(text: string): string | null {
  const said = /^Date: (.+)$/m.exec(text)?.[1];
  const time = said === undefined ? Number.NaN : Date.parse(said);
  return Number.isNaN(time) ? null : new Date(time).toISOString();
}

/** The end of the last upgrade of the whole system in /var/log/apt/history.log, as of UTC; null: it tells of none. */
export function lastUpgrade(history: string): string | null {
  const ends = history.split(/\n\s*\n/).flatMap((entry) => {
    const command = /^Commandline: (.+)$/m.exec(entry)?.[1] ?? "";
    const end = /^End-Date: (\d{4}-\d{2}-\d{2}) +(\d{2}:\d{2}:\d{2})$/m.exec(entry);
    if (!end || !/unattended-upgrade|\b(upgrade|(dist|full|safe)-upgrade)\b/.test(command)) return [];
    const time = Date.parse(`${end[1]}T${end[2]}Z`);
    return Number.isNaN(time) ? [] : [new Date(time).toISOString()];
  });
  return ends.sort().at(-1) ?? null;
}

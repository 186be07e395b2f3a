/** What a host's package manager knows of security updates. Plain facts. */
export interface UpdateFacts {
  readonly manager: "apt" | "dnf" | "zypper";
  /** Names of pending security updates; null: the program did not say. */
  readonly pending: readonly string[] | null;
  /** When the oldest of them was issued; null: not known, or none is pending. */
  readonly oldest: string | null;
  /** As of when updates are known, RFC 3339; null: of no archive that has security updates. */
  readonly listsOf: string | null;
  /** The last upgrade of the whole system, as far as a log goes back. */
  readonly upgraded: string | null;
  /** Null: not known. */
  readonly rebootRequired: boolean | null;
}

/** The least of some times; null: there is none. */
export function earliest(dates: readonly string[]): string | null {
  return [...dates].sort()[0] ?? null;
}

/** The oldest issue; null: of one or more it is not known. */
export function oldestIssue(updates: readonly { readonly issued: string | null }[]): string | null {
  const dates = updates.flatMap((u) => u.issued ?? []);
  return dates.length < updates.length ? null : earliest(dates);
}

/** Archives that were made before this have no date that means anything: some print the year 1970. */
const FIRST = Date.UTC(2000, 0, 1);

/** RFC 3339 of a time in UTC, `2026-11-02 01:57:11`; null: it is none. */
export function utcTime(text: string): string | null {
  const match = /^(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)/.exec(text);
  const time = match ? Date.parse(`${match[1]}T${match[2]}Z`) : Number.NaN;
  return Number.isNaN(time) || time < FIRST ? null : new Date(time).toISOString();
}

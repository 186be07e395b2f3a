import { CHECKS } from "../audit/checks/index.ts";
import type {
  AuditGuest,
  ChainState,
  Check,
  CheckContext,
  CheckOutcome,
  GuestFiles,
  HostReader,
  Rules,
  Verdict,
} from "../audit/model.ts";
import { remark, value, verdictOf } from "../audit/verdict.ts";
import { StorageError } from "../core/errors.ts";
import { guestFiles } from "./audit-inside.ts";

/** A reader whose uses are noted. */
type View = (used: Set<number>) => HostReader;

/** Checks that read inside guests. */
const INSIDE = /^MAIL-/;

/** Runs every check: those of the host once, those of guests for each of `named`, or all. `asked`: guests that may be looked into. */
export async function runChecks(
  view: View,
  guests: readonly AuditGuest[] | null,
  named: readonly AuditGuest[] | null,
  guestEvidence: ReadonlySet<number>,
  rules: Rules,
  asked: ReadonlyMap<string, string | null>,
  chain: ChainState | null,
): Promise<CheckOutcome[]> {
  const about = (check: Check<unknown>): Promise<CheckOutcome>[] => {
    const run = (guest: AuditGuest | null) => runCheck(check, view, guests, guest, guestEvidence, rules, asked, chain);
    if (check.about === "host") return [run(null)];
    if (named === null)
      return [Promise.resolve(outcome(check, null, verdictOf([remark("unknown", "guests-unknown")]), rules))];
    if (named.length === 0)
      return [Promise.resolve(outcome(check, null, verdictOf([remark("n-a", "no-guests")]), rules))];
    return named.map(run);
  };
  return Promise.all(CHECKS.flatMap(about));
}

async function runCheck(
  check: Check<unknown>,
  view: View,
  guests: readonly AuditGuest[] | null,
  guest: AuditGuest | null,
  guestEvidence: ReadonlySet<number>,
  rules: Rules,
  asked: ReadonlyMap<string, string | null>,
  chain: ChainState | null,
): Promise<CheckOutcome> {
  const used = new Set<number>();
  // Whoever looks at the guests rests on all that told of them.
  const noted = <T>(value: T): T => {
    for (const n of guestEvidence) used.add(n);
    return value;
  };
  const host = view(used);
  const context = (inside: GuestFiles | null): CheckContext => ({
    host,
    get guests() {
      return noted(guests);
    },
    get guest() {
      return noted(guest);
    },
    declared: rules.declared,
    inside,
    chain,
  });
  try {
    const inside =
      guest !== null && asked.has(guest.name) && INSIDE.test(check.id) ? await guestFiles(host, guest.name) : null;
    const facts = await check.collect(context(inside));
    return outcome(check, guest, check.verdict(facts, rules), rules, facts, used);
  } catch (error) {
    if (error instanceof StorageError && error.code === "cancelled") throw error;
    const reason = value.text(error instanceof Error ? error.message : String(error));
    return outcome(check, guest, verdictOf([remark("unknown", "check-failed", { reason })]), rules, null, used);
  }
}

function outcome(
  { id }: Check<unknown>,
  guest: AuditGuest | null,
  { state, remarks }: Verdict,
  rules: Rules,
  facts: unknown = null,
  used: ReadonlySet<number> = new Set(),
): CheckOutcome {
  const evidence = [...used].sort((a, b) => a - b);
  return { id, guest: guest?.name ?? null, state, at: rules.now, remarks, facts, evidence };
}

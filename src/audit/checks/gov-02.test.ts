import { expect, test } from "vitest";
import type { ChainState, Rules } from "../model.ts";
import { BUILT_IN_POLICY } from "../policy.ts";
import { gov02 } from "./gov-02.ts";

const rules = (auditEveryDays?: unknown): Rules => ({
  policy: BUILT_IN_POLICY,
  declared: auditEveryDays === undefined ? null : { guests: [], values: { auditEveryDays } },
  now: "2026-11-24T06:00:00Z",
});
const GOOD: ChainState = { runs: 3, last: "2026-11-01T06:00:00Z", problems: [] };
const found = (chain: ChainState | null, every?: unknown) => {
  const { state, remarks } = gov02.verdict({ chain }, rules(every));
  return [state, ...remarks.map((r) => r.code)].join(" ");
};

test("a chain that is whole and young passes; each other state says why", () => {
  expect(found(GOOD)).toBe("pass intact in-time");
  expect(found(GOOD, 30)).toBe("pass intact in-time");
  expect(found(GOOD, 7)).toBe("warn intact late");
  expect(found({ ...GOOD, last: "2026-08-01T06:00:00Z" })).toBe("warn intact late");
  expect(found({ ...GOOD, problems: ["20261101-060000-aaaa: evidence/00001-command was changed"] })).toBe(
    "fail broken in-time",
  );
  expect(found({ runs: 0, last: null, problems: [] })).toBe("warn first");
  expect(found({ ...GOOD, last: "2027-01-01T00:00:00Z" })).toBe("unknown intact future");
  expect(found(GOOD, "weekly")).toBe("unknown intact interval-not-understood");
  expect(found(null)).toBe("unknown no-chain");
});

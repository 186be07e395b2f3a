import { beforeAll, expect, test } from "vitest";
import type { AuditDocument, CheckOutcome } from "../../src/audit/model.ts";
import { type Alteration, auditAltered } from "./altered-host.ts";
import { auditHost } from "./hosts.ts";

/** The checks whose outcomes are compared; those of the storage have tests of their own. */
export const COMPARED = /^(PERM|NET|BAK|MAIL|DEL)-/;

/** What is flipped on the good host, and all outcomes whose state changes by it, with the remark that decides. */
export type Flip = readonly [
  name: string,
  alteration: Alteration,
  outcomes: Readonly<Record<string, readonly string[]>>,
];

/** Outcomes by `CHECK` or `CHECK guest`. */
export function outcomesOf(doc: AuditDocument): ReadonlyMap<string, CheckOutcome> {
  const key = ({ id, guest }: CheckOutcome) => (guest === null ? id : `${id} ${guest}`);
  return new Map(doc.checks.filter((c) => COMPARED.test(c.id)).map((c) => [key(c), c]));
}

/** One test for each: nothing else changes than what it names. */
export function testFlips(flips: readonly Flip[]): void {
  let good: ReadonlyMap<string, CheckOutcome>;
  beforeAll(async () => {
    good = outcomesOf(await auditHost());
  });

  test.each(flips)("%s", async (_, alteration, expected) => {
    const changed = Object.fromEntries(
      [...outcomesOf(await auditAltered(alteration))].flatMap(([key, c]) => {
        const why = c.state === "pass" ? "" : c.remarks.find((r) => r.state === c.state)?.code;
        return c.state === good.get(key)?.state ? [] : [[key, [c.state, why]]];
      }),
    );
    expect(changed).toEqual(expected);
  });
}

import { beforeAll, describe, expect, test } from "vitest";
import { auditHost, verdicts } from "../../../test/helpers/hosts.ts";
import { ENCRYPTION } from "../../../test/hosts/cases/encryption.ts";
import { GOVERNANCE } from "../../../test/hosts/cases/governance.ts";
import { INVENTORY } from "../../../test/hosts/cases/inventory.ts";
import { KEYS } from "../../../test/hosts/cases/keys.ts";
import { LEAKS } from "../../../test/hosts/cases/leaks.ts";
import type { AuditDocument } from "../model.ts";
import { sentenceOf } from "../verdict.ts";
import { CHECKS } from "./index.ts";

/** Those of rights, networks, backups and deletion have tests of their own. */
const OWN = /^(INV|ENC|KEY|LEAK|DISC|GOV)-/;

let good: Map<string, string>;
beforeAll(async () => {
  good = verdicts(await auditHost());
});

/** Remarks without a sentence, or whose sentence names a value that is not there, in either language. */
function unspoken(doc: AuditDocument): string[] {
  return doc.checks.flatMap(({ id, remarks }) =>
    remarks.flatMap(({ code, values }) => {
      const sentence = sentenceOf(CHECKS.find((c) => c.id === id)!, code);
      const names = Object.values(sentence ?? { de: "{?}" }).flatMap((t: string) => [...t.matchAll(/\{([^}]+)\}/g)]);
      return names.flatMap(([, name]) => (Object.hasOwn(values, name!) ? [] : [`${id} ${code} ${name}`]));
    }),
  );
}

describe.each([
  ["inventory", INVENTORY],
  ["encryption", ENCRYPTION],
  ["keys", KEYS],
  ["leaks", LEAKS],
  ["governance", GOVERNANCE],
] as const)("a changed fact is seen by the checks that it is about, and by no other of these: %s", (_, cases) => {
  test.each(cases)("$name", async ({ edits, seen }) => {
    const doc = await auditHost(edits);
    expect(unspoken(doc)).toEqual([]);
    const changed = [...verdicts(doc)].filter(([key, verdict]) => OWN.test(key) && good.get(key) !== verdict);
    expect(Object.fromEntries(changed)).toEqual(seen);
  });
});

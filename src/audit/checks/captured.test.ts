import { existsSync, readdirSync } from "node:fs";
import { beforeAll, expect, test } from "vitest";
import { auditCaptured, saidLive } from "../../../test/helpers/captured-host.ts";
import { verdicts } from "../../../test/helpers/hosts.ts";
import { CAPTURED } from "../../../test/hosts/captured-cases.ts";
import type { AuditDocument, CheckOutcome } from "../model.ts";

let good: AuditDocument;
beforeAll(async () => {
  good = await auditCaptured("good");
});

const key = ({ id, guest }: CheckOutcome) => `${id} ${guest ?? "host"}`;

test("the recorded host gives the verdicts that the audit gave in the machine itself", () => {
  expect(Object.fromEntries(verdicts(good))).toEqual(saidLive("good"));
});

test.each(readdirSync("test/hosts/captured/cases"))("%s: what was changed is seen, and nothing else", async (name) => {
  const doc = await auditCaptured(name);
  expect(Object.fromEntries(verdicts(doc))).toEqual(saidLive(name));
  const was = new Map(good.checks.map((c) => [key(c), c.state]));
  const changed = doc.checks
    .filter((c) => was.has(key(c)) && was.get(key(c)) !== c.state)
    .map((c) => [key(c), [c.state, c.state === "pass" ? "" : c.remarks.find((r) => r.state === c.state)!.code]]);
  // The kernel takes no empty resume device back: after that case the machine had its encrypted swap as one.
  const resumes = existsSync(`test/hosts/captured/cases/${name}/sys/power/resume`);
  expect(Object.fromEntries(changed)).toEqual({
    ...(resumes ? { "LEAK-02 host": ["pass", ""] } : {}),
    ...CAPTURED[name],
  });
});

import { expect, test } from "vitest";
import { auditHost, GOOD, outcomeOf } from "../../test/helpers/hosts.ts";
import { audit } from "./audit.ts";

test("a host where all is as it should be passes, with evidence for each outcome", async () => {
  const doc = await auditHost();
  // A recorded host belongs to no chain of evidence.
  expect(doc.checks.filter((c) => c.state !== "pass" && c.state !== "n-a").map((c) => c.id)).toEqual(["GOV-02"]);
  expect(doc.guests.map((g) => g.name)).toEqual(["mail", "web"]);
  const argvs = outcomeOf(doc, "ENC-01", "mail").evidence.map((n) => doc.evidence.find((e) => e.n === n)?.what[0]);
  expect(argvs).toContain("virsh");
  expect(argvs).toContain("dmsetup");
  expect(argvs).toContain("/proc/self/mountinfo");
});

test("one guest alone is audited by name or UUID; a guest that is not there is a usage error", async () => {
  const doc = await audit({ guests: ["web"], roots: [GOOD], version: "0.0.0" });
  expect(doc.checks.filter((c) => c.guest !== null).every((c) => c.guest === "web")).toBe(true);
  const { uuid } = doc.guests[0]!;
  expect((await audit({ guests: [uuid], roots: [GOOD], version: "0.0.0" })).guests.map((g) => g.name)).toEqual(["web"]);
  await expect(audit({ guests: ["nobody"], roots: [GOOD], version: "0.0.0" })).rejects.toMatchObject({ code: "usage" });
});

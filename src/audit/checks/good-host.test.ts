import { beforeAll, expect, test } from "vitest";
import { auditAltered } from "../../../test/helpers/altered-host.ts";
import { COMPARED, outcomesOf } from "../../../test/helpers/flipped.ts";
import { auditHost } from "../../../test/helpers/hosts.ts";
import type { AuditDocument } from "../model.ts";
import { sentenceOf } from "../verdict.ts";
import { CHECKS } from "./index.ts";

let good: AuditDocument;
beforeAll(async () => {
  good = await auditHost();
});

test("all of the good host pass, or have nothing to judge", () => {
  expect([...outcomesOf(good)].filter(([, c]) => c.state !== "pass").map(([k, c]) => [k, c.state])).toEqual([
    ["MAIL-01 web", "n-a"],
    ["MAIL-02 web", "n-a"],
    ["MAIL-03 web", "n-a"],
    ["DEL-01", "n-a"],
    ["DEL-02", "n-a"],
  ]);
});

test("a host without any of the programs has unknowns and no crash", async () => {
  const doc = await auditAltered({
    commands: Object.fromEntries(
      ["nft", "iptables-save", "ip6tables-save", "ss", "getfacl", "restic", "nwfilter"].map((n) => [n, null]),
    ),
  });
  const own = doc.checks.filter((c) => COMPARED.test(c.id));
  expect(own.every((c) => c.remarks.every((r) => r.code !== "check-failed"))).toBe(true);
  expect(own.filter((c) => c.id === "NET-01").map((c) => c.state)).toEqual(["unknown", "unknown"]);
});

test("every sentence has its values in both languages", async () => {
  for (const check of CHECKS.filter((c) => COMPARED.test(c.id))) {
    for (const [code, { de, en }] of Object.entries(check.sentences)) {
      const names = (text: string) => [...text.matchAll(/\{(\w+)\}/g)].map((m) => m[1]).sort();
      expect(names(de), `${check.id} ${code}`).toEqual(names(en));
    }
  }
  for (const { id, remarks } of good.checks) {
    const check = CHECKS.find((c) => c.id === id)!;
    for (const { code, values } of remarks) {
      const text = sentenceOf(check, code);
      expect(text, `${id} ${code}`).not.toBeNull();
      for (const [, name] of text!.en.matchAll(/\{(\w+)\}/g))
        expect(Object.keys(values), `${id} ${code}`).toContain(name);
    }
  }
});

import { expect, it } from "vitest";
import {
  oldest,
  POSTFIX_DEFAULTS,
  parameterOf,
  parseMainCf,
  parseMasterCf,
  parsePolicies,
  policyFor,
  tablesOf,
} from "./postfix.ts";

it("fills parameters in as postconf -x does", () => {
  // Expected: `postconf -c DIR -nx` of Postfix 3.7.11.
  const main = parseMainCf(`myhostname = mail.example
a = $myhostname, \${myhostname?yes}, \${relayhost?yes}, \${relayhost:none}, $(myhostname)
# a comment between lines
b = one,
    # not this
    two
  three
relayhost =
b2 = $$x
`);
  const value = (name: string) => parameterOf(main, name, POSTFIX_DEFAULTS);
  expect(value("a")).toBe("mail.example, yes, , none, mail.example");
  expect(value("b")).toBe("one, two three");
  expect(value("queue_directory")).toBe("/var/spool/postfix");
});

it("ends with parameters that name each other", () => {
  const main = parseMainCf("a = $b\nb = $a $a\n");
  expect(parameterOf(main, "a", {}).trim()).toBe("");
});

it.each([
  [">=TLSv1", "TLSv1"],
  [">=TLSv1.2", "TLSv1.2"],
  [">=0303", "TLSv1.2"],
  ["!SSLv2, !SSLv3", "TLSv1"],
  ["!SSLv2, !SSLv3, !TLSv1, !TLSv1.1", "TLSv1.2"],
  ["TLSv1.2 TLSv1.3", "TLSv1.2"],
  ["", "SSLv2"],
])("reads the protocols %s", (list, expected) => {
  expect(oldest(list)).toBe(expected);
});

it("looks policies up as Postfix does", () => {
  // postconf(5), smtp_tls_policy_maps: the next hop, then parent domains with a dot before.
  const table = parsePolicies("a.example encrypt\n.b.example secure protocols=>=TLSv1.3\n[relay.example]:587 verify\n");
  expect(policyFor(table, "A.example")?.level).toBe("encrypt");
  expect(policyFor(table, "sub.a.example")).toBeNull();
  expect(policyFor(table, "x.y.b.example")).toEqual({ level: "secure", protocols: ">=TLSv1.3" });
  expect(policyFor(table, "b.example")).toBeNull();
  expect(policyFor(table, "[relay.example]:587")?.level).toBe("verify");
});

it("reads services with options in both forms, and names of tables", () => {
  const [smtpd] = parseMasterCf("smtp inet n - y - - smtpd\n  -o smtpd_tls_security_level=none\n  -o { x_y = a b }\n");
  expect(Object.fromEntries(smtpd!.overrides)).toEqual({ smtpd_tls_security_level: "none", x_y: "a b" });
  expect(tablesOf("hash:/etc/a, inline:{a.example=encrypt} /etc/b")).toEqual([
    { type: "hash", name: "/etc/a" },
    { type: "inline", name: "a.example=encrypt" },
    { type: "hash", name: "/etc/b" },
  ]);
});

import { describe, expect, it } from "vitest";
import { GUARD_NAMESPACE, type Guard, readGuard, startProblem, UNREADABLE, withGuard } from "./guard.ts";
import { parseXml } from "./xml.ts";

const GUARD: Guard = {
  role: "old",
  partner: "22222222-2222-4222-8222-222222222222",
  run: "20261124-101112-ab12",
  state: "ready",
};
const PLAIN =
  "<domain type='kvm'>\n  <name>web &amp; mail</name>\n  <uuid>11111111-1111-4111-8111-111111111111</uuid>\n  <!-- mine -->\n  <devices/>\n</domain>";
const OTHERS = PLAIN.replace(
  "<devices/>",
  "<metadata><app:note xmlns:app='http://app.example/'>k<![CDATA[<e>]]>ep</app:note></metadata><devices/>",
);
const read = (xml: string) => readGuard(parseXml(xml, "domain"));

describe("the guard in a domain's metadata", () => {
  it.each([PLAIN, OTHERS])("is written, replaced and taken out, and all else stays", (xml) => {
    expect(read(xml)).toBeNull();
    const guarded = withGuard(xml, GUARD);
    expect(read(guarded)).toEqual(GUARD);
    const next = withGuard(guarded, { ...GUARD, state: "checked" });
    expect(read(next)).toEqual({ ...GUARD, state: "checked" });
    expect(next.match(/<unterbau:migration/g)).toHaveLength(1);
    expect(next).toContain("<!-- mine -->");
    if (xml === OTHERS) expect(next).toContain("<![CDATA[<e>]]>");
    expect(withGuard(next, null)).toBe(withGuard(xml, null));
  });

  it("is known by its namespace, whatever the prefix", () => {
    const xml = PLAIN.replace(
      "<devices/>",
      `<metadata><x:migration xmlns:x='${GUARD_NAMESPACE}' role='clone' partner='${GUARD.partner}' run='r1' state='copying'/></metadata>`,
    );
    expect(read(xml)).toEqual({ role: "clone", partner: GUARD.partner, run: "r1", state: "copying" });
  });

  it.each(["role='new'", "partner='x'", "run='a b'", "state=''"])("that is damaged lets nothing start: %s", (wrong) => {
    const [name = ""] = wrong.split("=");
    const guarded = withGuard(PLAIN, GUARD).replace(new RegExp(`${name}="[^"]*"`), wrong);
    expect(read(guarded)).toBe(UNREADABLE);
    expect(startProblem(read(guarded))?.what).toContain("cannot be understood");
  });

  it("says which of both may be started", () => {
    const may = (role: Guard["role"], state: Guard["state"]) => startProblem({ ...GUARD, role, state }) === null;
    expect(startProblem(null)).toBeNull();
    expect([may("old", "copying"), may("clone", "copying")]).toEqual([false, false]);
    expect([may("old", "ready"), may("clone", "ready")]).toEqual([false, true]);
    expect([may("old", "checked"), may("clone", "checked")]).toEqual([false, true]);
    expect(startProblem({ ...GUARD, state: "retired" })?.what).toContain("its disk was destroyed");
  });
});

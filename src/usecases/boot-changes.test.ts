import { describe, expect, it } from "vitest";
import { withChanges, withoutChanges } from "../host/edit-table.ts";
import { tableChanges } from "./boot-changes.ts";
import { type BootFacts, bootSteps, verdictOf } from "./boot-steps.ts";
import { unitWord } from "./boot-unit.ts";
import type { CryptNeed, Needs } from "./guest-needs.ts";

const open: CryptNeed = {
  kind: "crypt",
  id: "crypt:mail",
  name: "mail",
  entry: null,
  uuid: "CRYPT-LUKS2-2505567a9e274efea4d515ad146c258b-mail",
  done: true,
  onCrypt: true,
};
const needs = (steps: Needs["steps"]): Needs => ({ steps, missing: [], undeclared: [] });
const how = { tpm2: false, netdev: false, discard: false };
const FACTS: BootFacts = {
  exists: () => true,
  unit: "ready",
  unitName: "u.service",
  libvirt: true,
  autostart: false,
  guarded: null,
  lostSecrets: [],
  asks: false,
  lostPrograms: [],
};

describe("lines that boot enable writes", () => {
  it("for a mapping that is open and declared nowhere", () => {
    const line = (entry: Parameters<typeof tableChanges>[3]) => tableChanges(needs([open]), "", "", entry)[0]!.after;
    const id = "mail UUID=2505567a-9e27-4efe-a4d5-15ad146c258b";
    expect(line(how)).toBe(`${id} none luks,noauto,nofail`);
    expect(line({ ...how, keyFile: "/etc/mail.key", discard: true })).toBe(
      `${id} /etc/mail.key luks,noauto,nofail,discard`,
    );
    expect(line({ tpm2: true, netdev: true, discard: false })).toBe(
      `${id} none luks,noauto,nofail,tpm2-device=auto,_netdev`,
    );
    expect(() => line({ ...how, keyFile: "relative" })).toThrow("absolute path");
    const plain = needs([{ ...open, uuid: "CRYPT-PLAIN-mail" }]);
    expect(() => tableChanges(plain, "", "", how)).toThrow("no LUKS volume with a UUID");
  });

  it("are taken back exactly, whether the table's last line had an end or not", () => {
    for (const table of ["", "# c\n", "root /dev/sda2 none", "a /dev/b\n\n"]) {
      const changes = tableChanges(needs([open, { ...open, id: "crypt:x", name: "x" }]), table, "", how);
      const text = withChanges(table, changes);
      expect(text.endsWith("nofail\n")).toBe(true);
      expect(withoutChanges(text, changes)).toEqual({ text: table, left: [] });
      // Others may have been added behind them.
      expect(withoutChanges(`${text}other /dev/c\n`, changes).text).toContain("other /dev/c\n");
    }
  });
});

describe("what happens at the next boot", () => {
  const entry = (keyFile: string | null, ...options: string[]) => ({
    name: "mail",
    device: "/dev/x",
    keyFile,
    options,
    line: 1,
  });
  const verdict = (need: Partial<CryptNeed>, facts: Partial<BootFacts> = {}) => {
    const all = needs([{ ...open, ...need }]);
    const steps = bootSteps(all, "mail", { ...FACTS, ...facts });
    return [verdictOf(steps), steps.find((s) => !s.ok)?.hint ?? null];
  };

  it("by passphrase, key file, TPM", () => {
    const exists = (path: string) => path === "/etc/k";
    expect(verdict({ entry: entry(null, "luks", "noauto", "nofail") }, { exists })).toEqual(["after-passphrase", null]);
    expect(verdict({ entry: entry("/etc/k", "luks") }, { exists })).toEqual(["yes", null]);
    expect(verdict({ entry: entry(null, "luks", "nofail", "tpm2-device=auto") }, { exists })).toEqual(["yes", null]);
    expect(verdict({ entry: entry("/gone", "luks", "nofail") }, { exists })[0]).toBe("no");
  });

  it("is held up, or not done at all", () => {
    const exists = () => false;
    expect(verdict({ entry: entry(null, "luks") }, { exists })).toEqual(["no", expect.stringContaining("nofail")]);
    expect(verdict({})).toEqual(["no", expect.stringContaining("boot enable")]);
    const good = { entry: entry(null, "nofail") };
    for (const facts of [
      { unit: "none" },
      { unit: "off" },
      { libvirt: false },
      { autostart: true },
      { guarded: "its storage was migrated" },
      { lostSecrets: ["vda"] },
      { lostPrograms: ["/opt/node"] },
    ] as Partial<BootFacts>[])
      expect(verdict(good, facts)[0]).toBe("no");
    expect(verdict(good, { unit: "changed", exists })[0]).toBe("after-passphrase");
    const byTpm = { entry: entry(null, "luks", "nofail", "tpm2-device=auto") };
    expect(verdict(byTpm, { lostSecrets: ["vda"], asks: true })[0]).toBe("after-passphrase");
  });
});

it("words of units are quoted as systemd.syntax(7) says", () => {
  expect(["/usr/bin/node", "/a b", 'q"', "50%", "b\\c"].map(unitWord)).toEqual([
    "/usr/bin/node",
    '"/a b"',
    '"q\\""',
    "50%%",
    '"b\\\\c"',
  ]);
});

import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { GuestFiles } from "../model.ts";
import { dovecotAccess, submissionAccess } from "./access.ts";
import { readDovecot } from "./dovecot.ts";
import { oldest, parseMainCf, parseMasterCf } from "./postfix.ts";
import { readRspamd } from "./rspamd.ts";
import { spamServices } from "./spam.ts";

/** A guest that has these files. */
function guest(files: Readonly<Record<string, string>>): GuestFiles {
  return {
    problem: null,
    file: async (path) =>
      Object.hasOwn(files, path) ? { kind: "text", text: files[path]!, evidence: 0 } : { kind: "absent" },
    list: async (folder) => {
      const names = Object.keys(files)
        .filter((p) => p.startsWith(`${folder}/`))
        .map((p) => p.slice(folder.length + 1).split("/")[0]!);
      return names.length === 0 ? null : [...new Set(names)].sort();
    },
    diskOf: () => null,
  };
}

describe("rspamd", () => {
  const MODULES = "test/fixtures/mail/rspamd/modules.d";
  const PACKAGED = Object.fromEntries(
    readdirSync(MODULES).map((name) => [`/etc/rspamd/modules.d/${name}`, readFileSync(`${MODULES}/${name}`, "utf8")]),
  );
  // `rspamadm configdump -j rbl` of rspamd 3.4: `rbl` of each of `rbls` that has not `enabled: false`.
  const LISTS = [
    "bip.virusfree.cz",
    "bl.blocklist.de",
    "bl.ipv6.spameatingmonkey.net",
    "bl.score.senderscore.com",
    "bl.spameatingmonkey.net",
    "dbl.spamhaus.org",
    "dwl.dnswl.org",
    "ebl.msbl.org",
    "email.rspamd.com",
    "fresh15.spameatingmonkey.net",
    "ix.dnsbl.manitu.net",
    "list.dnswl.org",
    "multi.surbl.org",
    "multi.uribl.com",
    "rep.mailspike.net",
    "uribl.rspamd.com",
    "uribl.spameatingmonkey.net",
    "zen.spamhaus.org",
  ];
  const OTHERS = ["asn.rspamd.com", "asn6.rspamd.com", "phishtank.rspamd.com", "rspamd-fuzzy"];
  const asked = async (local: Readonly<Record<string, string>> = {}) => {
    const files = Object.fromEntries(Object.entries(local).map(([path, text]) => [`/etc/rspamd/${path}`, text]));
    const { services } = await readRspamd(guest({ ...PACKAGED, ...files }));
    return [...new Set(services.map((s) => s.name))].sort();
  };

  it("asks all that its packaged configuration names", async () => {
    expect(await asked()).toEqual([...LISTS, ...OTHERS].sort());
  });

  it("a list that local.d switches off or adds counts so", async () => {
    const rbl = `rbls {\n  spamhaus {\n    enabled = false;\n  }\n  own { rbl = "bl.example.org"; checks = ["from"]; }\n}\n`;
    const expected = [...LISTS.filter((l) => l !== "zen.spamhaus.org"), "bl.example.org", ...OTHERS].sort();
    expect(await asked({ "local.d/rbl.conf": rbl })).toEqual(expected);
  });

  it("override.d replaces the lists; a module that is off asks nobody", async () => {
    const own = `rbls {\n  own { rbl = "bl.example.org"; }\n}\n`;
    expect(await asked({ "override.d/rbl.conf": own })).toEqual(["bl.example.org", ...OTHERS].sort());
    expect(await asked({ "local.d/rbl.conf": "enabled = false;\n" })).toEqual(OTHERS);
  });

  it("the module's name around what local.d says makes it say nothing, as rspamd reads it", async () => {
    expect(await asked({ "local.d/rbl.conf": "rbl {\n enabled = false;\n}\n" })).toEqual([...LISTS, ...OTHERS].sort());
  });

  it("knows fuzzy servers of this machine, DCC, Razor and Pyzor", async () => {
    const names = await asked({
      "override.d/rbl.conf": "enabled = no\n",
      "override.d/asn.conf": "enabled = no\n",
      "local.d/phishing.conf": "phishtank_enabled = false; # no\n",
      "local.d/fuzzy_check.conf": 'rule "rspamd.com" { servers = "round-robin:127.0.0.1:11335,localhost:11336"; }\n',
      "local.d/dcc.conf": "enabled = true;\n",
      "local.d/external_services.conf": "razor { servers = 'x'; }\npyzor {\n enabled = false\n}\n",
    });
    expect(names).toEqual(["dcc", "razor2"]);
  });

  it("reads text that is no configuration to its end", async () => {
    const junk = `" ' } ] { rbls { "a" [ { ( \u0000 ${"{".repeat(10_000)}\n`;
    const names = await asked({ "local.d/rbl.conf": `${junk}rbls {\n x { rbl = "y.example" } }\n` });
    expect(names).toEqual(expect.arrayContaining(LISTS));
  });
});

describe("Amavis", () => {
  // Mail::SpamAssassin::Conf(3pm); amavisd-new, RELEASE_NOTES: $sa_local_tests_only.
  const ASSASSIN = { "/etc/spamassassin/init.pre": "loadplugin Mail::SpamAssassin::Plugin::DNSEval\n" };
  const names = async (files: Readonly<Record<string, string>>) =>
    (await spamServices(guest({ ...ASSASSIN, ...files }), null)).services.map((s) => s.name);

  it.each([
    ["nothing said", {}, true],
    [
      "as Debian has it",
      { "/etc/amavis/conf.d/20-debian_defaults": "$sa_local_tests_only = 0;    # only tests\n" },
      true,
    ],
    [
      "switched off by the last file",
      {
        "/etc/amavis/conf.d/20-debian_defaults": "$sa_local_tests_only = 0;\n",
        "/etc/amavis/conf.d/50-user": "use strict;\n$sa_local_tests_only = 1;\n#$sa_local_tests_only = 0;\n1;\n",
      },
      false,
    ],
    ["in one file, as others have it", { "/etc/amavisd/amavisd.conf": "$sa_local_tests_only = 1;\n" }, false],
    [
      "with spamd beside it",
      {
        "/etc/amavis/conf.d/50-user": "$sa_local_tests_only = 1;\n",
        "/etc/systemd/system/multi-user.target.wants/spamd.service": "",
      },
      true,
    ],
  ] as const)("%s", async (_, files, asks) => {
    expect(await names(files as Record<string, string>)).toEqual(asks ? ["spamassassin-dnsbl"] : []);
  });
});

describe("Dovecot", () => {
  const access = async (files: Readonly<Record<string, string>>, floor = "TLSv1.2") => {
    const named = Object.fromEntries(Object.entries(files).map(([name, text]) => [`/etc/dovecot/${name}`, text]));
    const settings = await readDovecot(guest(named));
    const found = dovecotAccess(settings!, floor);
    return found && [found.tls, found.oldest];
  };
  const conf = (text: string, floor?: string) => access({ "dovecot.conf": text }, floor);

  it.each([
    ["", "offered", "TLSv1.2"],
    ["ssl = required\n", "required", "TLSv1.2"],
    ["ssl = no\n", "off", "TLSv1.2"],
    ["ssl = required\nssl_min_protocol = TLSv1.3 # newer\n", "required", "TLSv1.3"],
    ["ssl = required\nssl_min_protocol = LATEST\n", "required", "TLSv1.3"],
    ["disable_plaintext_auth = no\n", "off", "TLSv1.2"],
    // Dovecot 2.4.
    ["auth_allow_cleartext = yes\n", "off", "TLSv1.2"],
    // `doveconf -n` has these inside of their blocks.
    ["ssl = required\nremote 192.0.2.0/24 {\n  ssl = no\n}\n", "off", "TLSv1.2"],
    ["ssl = required\nprotocol imap {\n  ssl = yes\n}\n", "offered", "TLSv1.2"],
    // Of a listener it says that TLS begins with the first byte, and nothing of the others.
    ["ssl = required\nservice imap-login {\n  inet_listener imap {\n    ssl = no\n  }\n}\n", "required", "TLSv1.2"],
  ])("%s", async (text, tls, protocol) => {
    expect(await conf(text)).toEqual([tls, protocol]);
  });

  it("follows what it includes, as Debian's packages are split", async () => {
    const files = {
      "dovecot.conf": "!include conf.d/*.conf\n!include_try local.conf\n",
      "conf.d/10-ssl.conf": "ssl = yes\n",
    };
    expect(await access(files)).toEqual(["offered", "TLSv1.2"]);
    expect(await access({ ...files, "local.conf": "ssl = required\n" })).toEqual(["required", "TLSv1.2"]);
  });

  it("with a library that speaks older protocols: as it is set, or not known", async () => {
    expect(await conf("ssl = required\n", "SSLv2")).toEqual(["required", null]);
    expect(await conf("ssl = required\nssl_min_protocol = TLSv1.1\n", "SSLv2")).toEqual(["required", "TLSv1.1"]);
    expect(await conf("ssl = required\nssl_min_protocol = ANY\n", "SSLv2")).toEqual(["required", "SSLv2"]);
    const narrowed = "ssl = required\nssl_min_protocol = TLSv1.2\nprotocol imap {\n  ssl_min_protocol = TLSv1\n}\n";
    expect(await conf(narrowed, "SSLv2")).toEqual(["required", "TLSv1"]);
  });

  it("that only this machine reaches is nobody's way to mail", async () => {
    expect(await conf("listen = 127.0.0.1, ::1\nssl = no\n")).toBeNull();
    expect(await conf("listen = *, ::\nssl = no\n")).toEqual(["off", "TLSv1.2"]);
  });
});

describe("submission", () => {
  const access = (master: string, main = "") => {
    const found = submissionAccess(parseMainCf(main), parseMasterCf(master), oldest);
    return found && [found.tls, found.oldest];
  };
  const service = (name: string, ...options: string[]) =>
    `${name} inet n - y - - smtpd\n${options.map((o) => `  -o ${o}\n`).join("")}`;

  it.each([
    [service("smtp"), null],
    [service("submission", "smtpd_tls_security_level=encrypt"), ["required", "TLSv1"]],
    [service("submissions", "smtpd_tls_wrappermode=yes"), ["required", "TLSv1"]],
    [service("587", "smtpd_tls_security_level=may", "smtpd_tls_auth_only=yes"), ["offered", "TLSv1"]],
    [service("submission", "smtpd_tls_security_level=may"), ["off", "TLSv1"]],
    [service("submission"), ["off", "TLSv1"]],
    [service("127.0.0.1:submission"), null],
    // The weakest of two.
    [service("smtps", "smtpd_tls_wrappermode=yes") + service("submission"), ["off", "TLSv1"]],
  ])("%s", (master, expected) => {
    expect(access(master)).toEqual(expected);
  });

  it("has main.cf's settings where a service says nothing", () => {
    const main = "smtpd_tls_security_level = encrypt\nsmtpd_tls_mandatory_protocols = >=TLSv1.2\n";
    expect(access(service("submission"), main)).toEqual(["required", "TLSv1.2"]);
  });
});

import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { auditHost, type Edit, outcomeOf } from "../../../test/helpers/hosts.ts";

/** The good host, with another package manager than apt. */
const NO_APT: Edit = { command: "apt-get --simulate", exit: 127, to: "" };
const command = (words: string, to: string, exit = 0): Edit => ({ command: words, to, exit });
const repomd = (path: string, types: readonly string[], modified: string): readonly Edit[] => [
  {
    file: `${path}/repodata/repomd.xml`,
    to: `<?xml version="1.0" encoding="UTF-8"?>\n<repomd xmlns="http://linux.duke.edu/metadata/repo">\n${types.map((t) => `  <data type="${t}">\n  </data>\n`).join("")}</repomd>\n`,
  },
  {
    stat: {
      [`/${path}/repodata/repomd.xml`]: { type: "file", mode: 420, uid: 0, gid: 0, size: 300, modified },
    },
  },
];

/** The state and the codes of GOV-01, and what its first sentence says. */
async function updates(edits: readonly Edit[]) {
  const { state, remarks, facts } = outcomeOf(await auditHost([NO_APT, ...edits]), "GOV-01");
  return { seen: `${state} ${remarks.map((r) => r.code).join(" ")}`, first: remarks[0]!, facts };
}

const DNF = "env TZ=UTC dnf --quiet --cacheonly";
// dnf needs-restarting(8), dnf-plugins-core 4.3 and dnf5-plugins 5.2.
const NO_RESTART = "No core libraries or services have been updated since boot-up.\nReboot should not be necessary.\n";

describe("dnf", () => {
  // As dnf 4.14 prints it (dnf/cli/commands/updateinfo.py, display_info).
  const DNF4 = `===============================================================================
  Moderate: bzip2 security update
===============================================================================
  Update ID: RLSA-2026:0925
       Type: security
    Updated: 2026-11-18 10:02:11
       Bugs: 2724459 - bzip2: out-of-bounds write
       CVEs: CVE-2026-12900
Description: For more details, see the page
           : Type : bugfix
   Severity: Moderate

===============================================================================
  bash bug fix
===============================================================================
  Update ID: RLBA-2026:0100
       Type: bugfix
    Updated: 2025-01-18 10:02:11

`;
  // As dnf5 5.2 prints it (dnf5-advisory(8); libdnf5-cli, output/advisoryinfo).
  const DNF5 = `Name        : FEDORA-2026-d08c298940
Title       : openssh-9.9p1-14.fc42
Severity    : Important
Type        : security
Status      : stable
Vendor      : updates@fedoraproject.org
Issued      : 2026-10-20 01:57:11
Description : Fixes a weakness:
            : - Type        : bugfix
Message     :${" "}
Rights      : Copyright (C) 2026 Red Hat, Inc. and others.
Reference   :${" "}
  Title     : CVE-2026-35385
  Id        : CVE-2026-35385
  Type      : cve
  Url       : https://bugzilla.redhat.com/show_bug.cgi?id=2454469
Collection  :${" "}
  Packages  : openssh-9.9p1-14.fc42.x86_64
`;
  const host = (advisories: string, check: number, more: readonly Edit[] = []): Edit[] => [
    command(`${DNF} updateinfo info --security`, advisories),
    command(`${DNF} check-update --security`, "", check),
    command(`${DNF} repolist --enabled`, "repo id     repo name\nbaseos      Base\nappstream   Streams\n"),
    command(`${DNF} needs-restarting --reboothint`, NO_RESTART),
    ...repomd("var/cache/dnf/baseos-0123456789abcdef", ["primary", "updateinfo"], "2026-11-23T06:00:00.000Z"),
    ...more,
  ];

  it("has nothing pending, as of its lists", async () => {
    const { seen, first } = await updates(host("", 0));
    expect(seen).toBe("pass none supported");
    expect(first.values.date).toEqual({ kind: "date", value: "2026-11-23T06:00:00.000Z" });
  });

  it("4 tells of an advisory of last week", async () => {
    const { seen, first } = await updates(host(DNF4, 100));
    expect(seen).toBe("pass issued-recent supported");
    expect(first.values).toMatchObject({ count: { value: 1 }, names: { value: "RLSA-2026:0925" } });
  });

  it("5 tells of one of last month, in the cache of its own", async () => {
    const dnf5 = repomd("var/cache/libdnf5/appstream-fedcba9876543210", ["updateinfo"], "2026-11-22T06:00:00.000Z");
    const { seen, first } = await updates(host(DNF5, 100, dnf5));
    expect(seen).toBe("warn issued-late supported");
    expect(first.values).toMatchObject({ names: { value: "FEDORA-2026-d08c298940" }, days: { value: 14 } });
  });

  it("of two months ago is too late; one without a date that can be is not known", async () => {
    const at = (date: string) => updates(host(DNF5.replace("2026-10-20", date), 100));
    expect((await at("2026-09-20")).seen).toBe("fail issued-late supported");
    // As archives print it that have no date.
    expect((await at("1969-12-31")).seen).toBe("unknown no-date supported");
  });

  it("that says there are updates and names none, fails, or prints something else is not believed", async () => {
    expect((await updates(host("", 100))).seen).toBe("unknown not-apt supported");
    expect((await updates(host("", 1))).seen).toBe("unknown not-apt supported");
    expect((await updates(host("Fehler: nichts\n", 0))).seen).toBe("unknown not-apt supported");
    const failed = [...host("", 0), command(`${DNF} updateinfo info --security`, "", 1)];
    expect((await updates(failed)).seen).toBe("unknown not-apt supported");
  });

  it("whose archives have no advisories cannot know; nor does a disabled one count, nor an old list", async () => {
    const plain = host("", 0, repomd("var/cache/dnf/baseos-0123456789abcdef", ["primary"], "2026-11-23T06:00:00.000Z"));
    expect((await updates(plain)).seen).toBe("unknown no-security-archive supported");
    const other = repomd("var/cache/dnf/extra-0123456789abcdef", ["updateinfo"], "2020-01-01T00:00:00.000Z");
    expect((await updates(host("", 0, other))).seen).toBe("pass none supported");
    const old = repomd("var/cache/dnf/baseos-0123456789abcdef", ["updateinfo"], "2026-10-01T00:00:00.000Z");
    expect((await updates(host("", 0, old))).seen).toBe("unknown lists-old supported");
  });

  it("asks for a restart, or cannot say so without its plug-in", async () => {
    const hint = (text: string, exit: number) => [
      ...host("", 0),
      command(`${DNF} needs-restarting --reboothint`, text, exit),
    ];
    const required =
      "Core libraries or services have been updated since boot-up:\n  * kernel\n\nReboot is required to fully utilize these updates.\n";
    expect((await updates(hint(required, 1))).seen).toBe("warn none supported reboot");
    expect((await updates(hint("", 1))).seen).toBe("unknown none supported reboot-unknown");
  });
});

describe("zypper", () => {
  const ZYPPER = "zypper --xmlout --non-interactive --no-refresh";
  // As zypper 1.14 prints it (xmlout.rng), Leap 15.6 and 16.0.
  const patch = (name: string, status: string, category: string, date: string) =>
    `<update kind="patch" name="${name}" edition="1" arch="noarch" status="${status}" category="${category}" severity="important" pkgmanager="false" restart="false" interactive="false"><summary>Security update for x &lt;y&gt;</summary><description>This update fixes:
- CVE-2026-1 (bsc#1).</description><license/><source url="https://download.opensuse.org/update/leap/15.6/sle" alias="repo-sle-update"/><issue-date time_t="${Date.parse(date) / 1000}" text="${date}"/><issue-list><issue type="cve" id="CVE-2026-1"><title>t</title><href>h</href></issue></issue-list></update>`;
  const stream = (list: string, blocked = "") => `<?xml version='1.0'?>
<stream>
<message type="info">Loading repository data...</message>
<message type="info">Reading installed packages...</message>
<update-status version="0.6">
${list === "" ? "<update-list/>" : `<update-list>\n${list}</update-list>`}
${blocked === "" ? "" : `<blocked-update-list>\n${blocked}</blocked-update-list>\n`}</update-status>
</stream>
`;
  const REPOS = `<?xml version='1.0'?>
<stream>
<repo-list>
<repo alias="repo-sle-update" name="Updates" type="rpm-md" priority="99" enabled="1" autorefresh="1" gpgcheck="1" repo_gpgcheck="0" pkg_gpgcheck="0"><url>http://x</url></repo>
<repo alias="repo-debug" name="Debug" type="rpm-md" priority="99" enabled="0" autorefresh="1" gpgcheck="1"><url>http://x</url></repo>
</repo-list>
</stream>
`;
  const host = (patches: string, more: readonly Edit[] = []): Edit[] => [
    command(`${ZYPPER} list-patches`, patches),
    command(`${ZYPPER} repos`, REPOS),
    command(`${ZYPPER} needs-rebooting`, ""),
    ...repomd("var/cache/zypp/raw/repo-sle-update", ["primary", "updateinfo"], "2026-11-23T06:00:00.000Z"),
    ...repomd("var/cache/zypp/raw/repo-debug", ["primary", "updateinfo"], "2024-01-01T06:00:00.000Z"),
    ...more,
  ];

  it("has nothing pending, as of the lists of what is enabled", async () => {
    expect((await updates(host(stream("")))).seen).toBe("pass none supported");
  });

  it("counts needed patches for security, those behind its own too", async () => {
    const own = patch("SUSE-2026-10", "needed", "security", "2026-11-20T12:42:03Z");
    const behind = patch("SUSE-2026-9", "needed", "security", "2026-10-30T12:42:03Z");
    const none = [
      patch("SUSE-2026-8", "needed", "recommended", "2026-01-01T00:00:00Z"),
      patch("SUSE-2026-7", "applied", "security", "2026-01-01T00:00:00Z"),
    ].join("\n");
    const { seen, first } = await updates(host(stream(own + none, behind)));
    expect(seen).toBe("warn issued-late supported");
    expect(first.values).toMatchObject({ count: { value: 2 }, names: { value: "SUSE-2026-10, SUSE-2026-9" } });
  });

  it("that skipped repositories or was cut short is not believed", async () => {
    const skipped = [...host(stream("")), command(`${ZYPPER} list-patches`, stream(""), 106)];
    expect((await updates(skipped)).seen).toBe("unknown not-apt supported");
    expect((await updates(host(stream("").replace("</stream>", "")))).seen).toBe("unknown not-apt supported");
  });

  it("asks for a restart", async () => {
    const reboot = command(`${ZYPPER} needs-rebooting`, "", 102);
    expect((await updates(host(stream(""), [reboot]))).seen).toBe("warn none supported reboot");
  });
});

it("a host with neither says so by name, and a minor release has the end of its major one", async () => {
  expect((await updates([])).seen).toBe("unknown no-manager supported");
  const rhel: Edit = { file: "etc/os-release", to: 'ID="rhel"\nVERSION_ID="9.6"\n' };
  const { seen, facts } = await updates([rhel]);
  expect([seen, facts]).toEqual([
    "unknown no-manager supported",
    { release: "rhel 9.6", supportEnd: null, updates: null },
  ]);
});

describe("what dnf and zypper themselves said of a small archive (test/fixtures/updates/record.sh)", () => {
  interface Said {
    readonly argv: readonly string[];
    readonly exit: number;
    readonly stdout: string;
  }
  const recorded: {
    readonly versions: readonly string[];
    readonly caches: readonly [dnf: string, zypper: string];
    readonly repomd: string;
    readonly pending: readonly Said[];
    readonly none: readonly Said[];
  } = JSON.parse(readFileSync("test/fixtures/updates/recorded.json", "utf8"));
  const [dnfCache, zypperCache] = recorded.caches;
  const lists = [`var/cache/dnf/${dnfCache}`, `var/cache/zypp/raw/${zypperCache}`].flatMap((path): Edit[] => [
    ...repomd(path, [], "2026-11-23T06:00:00.000Z"),
    { file: `${path}/repodata/repomd.xml`, to: recorded.repomd },
  ]);
  const host = (said: readonly Said[], program: string): Edit[] => [
    ...said.filter((c) => c.argv.includes(program)).map((c) => command(c.argv.join(" "), c.stdout, c.exit)),
    ...lists,
  ];

  it("was said by them", () => {
    expect(recorded.versions).toEqual(["dnf 4.14.0", "zypper 1.14.42"]);
  });

  it.each([
    // The plug-in that tells of restarts is not there with dnf alone.
    ["dnf", " reboot-unknown", "EX-2026-0003, EX-2026-0001", "unknown"],
    ["zypper", "", "EX-2026-0001, EX-2026-0003", "pass"],
  ])(
    "%s: two advisories for security, one of last month, and none after the upgrade",
    async (name, restart, names, then) => {
      const { seen, first } = await updates(host(recorded.pending, name));
      expect(seen).toBe(`${restart === "" ? "warn" : "unknown"} issued-late supported${restart}`);
      expect(first.values).toMatchObject({ count: { value: 2 }, names: { value: names } });
      expect((await updates(host(recorded.none, name))).seen).toBe(`${then} none supported${restart}`);
    },
  );
});

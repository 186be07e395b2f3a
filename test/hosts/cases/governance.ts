import type { Case } from "./edits.ts";

const APT = "apt-get --simulate";
const NONE = "0 upgraded, 0 newly installed, 0 to remove and 0 not upgraded.\n";
// As apt 2.6.1 prints it.
const PENDING = `1 upgraded, 0 newly installed, 0 to remove and 0 not upgraded.
Inst libssl3 [3.0.21-1~deb12u1] (3.0.22-1~deb12u2 Debian-Security:12/oldstable-security [amd64])
Conf libssl3 (3.0.22-1~deb12u2 Debian-Security:12/oldstable-security [amd64])
`;
const HISTORY = "var/log/apt/history.log";
const LISTS = "var/lib/apt/lists/deb.debian.org_debian-security_dists_bookworm-security_InRelease";
const on = (month: string) => ({ file: HISTORY, from: /2026-11-20/g, to: month });

export const GOVERNANCE: readonly Case[] = [
  {
    name: "a security update that came after the last upgrade",
    edits: [{ command: APT, from: NONE, to: PENDING }],
    seen: { "GOV-01 host": "pass recent supported" },
  },
  {
    name: "an update that is none of the security archive",
    edits: [
      {
        command: APT,
        from: NONE,
        to: PENDING.replaceAll("Debian-Security:12/oldstable-security", "Debian:12.15/oldstable"),
      },
    ],
    seen: {},
  },
  {
    name: "pending for three weeks at most",
    edits: [{ command: APT, from: NONE, to: PENDING }, on("2026-11-01")],
    seen: { "GOV-01 host": "warn late supported" },
  },
  {
    name: "pending for two months perhaps",
    edits: [{ command: APT, from: NONE, to: PENDING }, on("2026-09-20")],
    seen: { "GOV-01 host": "fail late supported" },
  },
  {
    name: "pending since nobody knows when: only single packages were upgraded",
    edits: [
      { command: APT, from: NONE, to: PENDING },
      { file: HISTORY, from: "/usr/bin/unattended-upgrade", to: "apt-get install openssl" },
    ],
    seen: { "GOV-01 host": "unknown since-unknown supported" },
  },
  {
    name: "package lists of last month",
    edits: [{ file: LISTS, from: /^Date: .*$/m, to: "Date: Mon, 19 Oct 2026 11:22:37 UTC" }],
    seen: { "GOV-01 host": "unknown lists-old supported" },
  },
  {
    name: "apt that gives up",
    edits: [{ command: APT, exit: 100 }],
    seen: { "GOV-01 host": "unknown not-apt supported" },
  },
  {
    name: "a release out of support",
    edits: [{ file: "etc/os-release", from: 'VERSION_ID="12"', to: 'VERSION_ID="10"' }],
    seen: { "GOV-01 host": "fail none unsupported" },
  },
  {
    name: "a release that says itself when it ends",
    edits: [{ file: "etc/os-release", from: 'VERSION_ID="12"', to: 'VERSION_ID="12"\nSUPPORT_END=2026-05-12' }],
    seen: { "GOV-01 host": "fail none unsupported" },
  },
  {
    name: "a restart that is required",
    edits: [
      {
        stat: {
          "/run/reboot-required": {
            type: "file",
            mode: 420,
            uid: 0,
            gid: 0,
            size: 32,
            modified: "2026-11-20T06:41:15.000Z",
          },
        },
      },
    ],
    seen: { "GOV-01 host": "warn none supported reboot" },
  },
];

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { type Alteration, auditAltered } from "../../../test/helpers/altered-host.ts";
import { auditHost, GOOD } from "../../../test/helpers/hosts.ts";
import type { AuditDocument, CheckOutcome } from "../model.ts";
import { sentenceOf } from "../verdict.ts";
import { CHECKS } from "./index.ts";

const WEB = "bd0276b4-69f2-5c0a-930b-82b30f9bbddb";
const MAIL_UUID = "a02523b8-fea2-5369-add0-0c2f184f2203";
const IMAGE = "/var/lib/libvirt/images/web.qcow2";
const OWN = /^(PERM|NET|BAK|MAIL|DEL)-/;

let good: AuditDocument;
beforeAll(async () => {
  good = await auditHost();
});

const key = ({ id, guest }: CheckOutcome) => (guest === null ? id : `${id} ${guest}`);
const statesOf = (doc: AuditDocument) =>
  new Map(doc.checks.filter((c) => OWN.test(c.id)).map((c) => [key(c), c] as const));

test("all of the good host pass, or have nothing to judge", () => {
  expect([...statesOf(good)].filter(([, c]) => c.state !== "pass").map(([k, c]) => [k, c.state])).toEqual([
    ["MAIL-01 web", "n-a"],
    ["MAIL-02 web", "n-a"],
    ["MAIL-03 web", "n-a"],
    ["DEL-01", "n-a"],
    ["DEL-02", "n-a"],
  ]);
});

const dumpxml = (uuid: string) => `dumpxml --domain=${uuid}`;
const before = (mark: string, text: string) => (xml: string) => xml.replace(mark, `${text}${mark}`);
const record = (target: object, more: object = {}) =>
  JSON.stringify({
    schema: "unterbau/retire/1",
    run: "20261101-080000-aaaa",
    state: "done",
    ended: "2026-11-01T09:00:00Z",
    targets: [
      {
        role: "disk",
        path: "/dev/vg9/old",
        wasPlaintext: true,
        medium: { type: "hdd" },
        method: "random-overwrite",
        verified: { at: "2026-11-01T09:00:00Z", samples: 128, sha256: "0" },
        removed: true,
        verdict: "pass",
        ...target,
      },
    ],
    ...more,
  });
const RECORD = "/var/lib/unterbau/retirements/20261101-080000-aaaa.json";
const MAIL = (path: string) => `vm:mail:/etc/${path}`;
const ROOT = "UUID=6f0c9a55-2a0e-4b7c-9a34-8b6f5a0d1c11 / ext4 defaults 0 1\n";
const main = (edit: (text: string) => string) => edit(readFileSync(join(GOOD, MAIL("postfix/main.cf")), "utf8"));
const folder = { type: "folder", mode: 0o755, uid: 0, gid: 0, size: 0, modified: "2026-11-01T00:00:00Z" } as const;

/** What is flipped, and all outcomes whose state changes by it, with the remark that decides. */
const FLIPS: readonly (readonly [string, Alteration, Readonly<Record<string, readonly string[]>>])[] = [
  [
    "an image that everybody may read",
    { stat: { [IMAGE]: { mode: 0o644 } } },
    { "PERM-01 web": ["fail", "others-read"] },
  ],
  [
    "the same in a folder that is closed",
    { stat: { [IMAGE]: { mode: 0o644 }, "/var/lib/libvirt/images": { mode: 0o700 } } },
    { "PERM-01 web": ["warn", "folder-only"] },
  ],
  ["an image of a person's", { stat: { [IMAGE]: { uid: 1000 } } }, { "PERM-01 web": ["fail", "person"] }],
  [
    "an ACL entry",
    { commands: { "getfacl --omit-header --absolute-names -- /dev/dm-4": (t) => `${t}user:anna:r--\nmask::rw-\n` } },
    { "PERM-01 mail": ["fail", "acl"] },
  ],
  [
    "a member of the group of disks",
    {
      files: {
        "/etc/group": "root:x:0:\ndisk:x:6:\nkvm:x:108:bert\nlibvirt:x:110:anna\n",
        "/etc/passwd":
          "root:x:0:0::/:/bin/sh\nlibvirt-qemu:x:64055:108::/:/bin/false\nanna:x:1000:1000::/:/bin/sh\nbert:x:1001:1001::/:/bin/sh\n",
      },
    },
    { "PERM-01 mail": ["warn", "group"], "PERM-02": ["warn", "additional"] },
  ],
  [
    "libvirt on TCP",
    { files: { "/etc/libvirt/libvirtd.conf": "listen_tcp = 1\n" } },
    { "PERM-02": ["fail", "listen-tcp"] },
  ],
  [
    "a console on the network",
    { commands: { "ss -Htlnp": (t) => t.replace("127.0.0.1:5900", "0.0.0.0:5900") } },
    { "PERM-02": ["fail", "console"] },
  ],
  [
    "a socket for all, without authentication",
    {
      files: { "/etc/libvirt/libvirtd.conf": 'auth_unix_rw = "none"\nunix_sock_rw_perms = "0777"\n' },
      stat: { "/run/libvirt/libvirt-sock": { mode: 0o777 } },
    },
    { "PERM-02": ["fail", "open-socket"] },
  ],
  [
    "SSH with passwords",
    { commands: { "sshd -T": (t) => t.replace("passwordauthentication no", "passwordauthentication yes") } },
    { "PERM-02": ["warn", "ssh-passwords"] },
  ],
  [
    "an admin that is not declared",
    { scope: (t) => t.replace("[anna]", "[bert]") },
    { "PERM-02": ["warn", "additional"] },
  ],
  ["no ss", { commands: { "ss -Htlnp": null } }, { "PERM-02": ["unknown", "program-missing"] }],
  [
    "a profile that only complains",
    { files: { "/proc/1843/attr/current": "libvirt-x (complain)\n" } },
    { "PERM-03 mail": ["warn", "permissive"] },
  ],
  ["no profile", { files: { "/proc/1843/attr/current": "unconfined\n" } }, { "PERM-03 mail": ["fail", "none"] }],
  ["QEMU as root", { files: { "/proc/1843/status": "Uid:\t0\t0\t0\t0\n" } }, { "PERM-03 mail": ["fail", "root"] }],
  [
    "no security module",
    {
      commands: {
        capabilities: (t) => t.replace("<model>apparmor</model>\n      <doi>", "<model>none</model>\n      <doi>"),
      },
    },
    { "PERM-03 web": ["fail", "none"] },
  ],
  [
    "confinement switched off",
    { commands: { [dumpxml(WEB)]: before("</domain>", "<seclabel type='none'/>") } },
    { "PERM-03 web": ["fail", "switched-off"] },
  ],
  [
    "a disk of another guest, both in scope",
    {
      commands: {
        [dumpxml(WEB)]: before(
          "<controller",
          "<disk type='block' device='disk'><source dev='/dev/vg1/mail'/><target dev='vdb' bus='virtio'/><shareable/></disk>",
        ),
      },
    },
    { "PERM-04 mail": ["warn", "within-scope"], "PERM-04 web": ["warn", "within-scope"] },
  ],
  [
    "the base image of another guest, as a disk to write to",
    {
      commands: {
        [dumpxml(MAIL_UUID)]: before(
          "<controller",
          "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/var/lib/libvirt/images/debian-12.qcow2'/><target dev='vdb' bus='virtio'/></disk>",
        ),
      },
    },
    { "PERM-04 mail": ["warn", "within-scope"], "PERM-04 web": ["warn", "within-scope"] },
  ],
  [
    "a clipboard",
    {
      commands: {
        [dumpxml(WEB)]: before(
          "<controller",
          "<graphics type='spice'/><channel type='spicevmc'><target type='virtio' name='com.redhat.spice.0'/></channel>",
        ),
      },
    },
    { "PERM-04 web": ["warn", "clipboard"] },
  ],
  [
    "a filter without its last rule",
    { commands: { "nwfilter=egress-web": (t) => t.replace(/ {2}<rule action='drop'[\s\S]*?<\/rule>\n/, "") } },
    { "NET-01 web": ["fail", "open"], "NET-02 web": ["fail", "everything"] },
  ],
  [
    "macvtap",
    {
      commands: {
        [dumpxml(WEB)]: (t) =>
          t
            .replace("interface type='bridge'", "interface type='direct'")
            .replace("source bridge='br0'", "source dev='eno1'"),
      },
    },
    { "NET-01 web": ["fail", "bypass"], "NET-02 web": ["fail", "everything"] },
  ],
  [
    "a peer that is not declared",
    { scope: (t) => t.replace("198.51.100.25", "198.51.100.26") },
    { "NET-02 mail": ["fail", "undeclared"] },
  ],
  [
    "a port that is not declared",
    { scope: (t) => t.replace("ports: [25]", "ports: [465]") },
    { "NET-02 mail": ["fail", "undeclared"] },
  ],
  [
    "a declared peer that the filter stops",
    { scope: (t) => t.replace("ports: [25]", "ports: [25, 465]") },
    { "NET-02 mail": ["warn", "lacking"] },
  ],
  [
    "a declaration with a mistake",
    { scope: (t) => t.replace("ports: [25]", "ports: [x]") },
    { "NET-02 mail": ["unknown", "egress-not-understood"], "NET-02 web": ["unknown", "egress-not-understood"] },
  ],
  [
    "a filter that lets IPv6 through",
    {
      commands: {
        "nwfilter=egress-web": (t) =>
          t.replace(
            "<filterref filter='no-other-l2-traffic'/>",
            "<rule action='accept' direction='inout' priority='-400'><mac protocolid='ipv6'/></rule>",
          ),
      },
    },
    { "NET-03 web": ["fail", "open6"] },
  ],
  [
    "a filter that does not look at addresses",
    { commands: { "nwfilter=egress-web": (t) => t.replace("<filterref filter='no-ip-spoofing'/>", "") } },
    { "NET-04 web": ["warn", "only-mac"] },
  ],
  [
    "a filter that is not in force",
    { commands: { "nwfilter-binding-list": () => "" } },
    { "NET-04 mail": ["fail", "not-bound"] },
  ],
  [
    "a late backup",
    {
      commands: {
        "restic snapshots": (t) =>
          t.replaceAll("2026-11-24T02", "2026-11-22T22").replaceAll("2026-11-23T02", "2026-11-22T02"),
      },
    },
    { "BAK-01 mail": ["warn", "late"], "BAK-01 web": ["warn", "late"] },
  ],
  [
    "an old backup",
    { commands: { "restic snapshots": (t) => t.replaceAll("2026-11", "2026-10") } },
    { "BAK-01 mail": ["fail", "old"], "BAK-01 web": ["fail", "old"] },
  ],
  [
    "no restic",
    { commands: { "restic snapshots": null } },
    {
      "BAK-01 mail": ["unknown", "unknown"],
      "BAK-01 web": ["unknown", "unknown"],
      "BAK-02 mail": ["unknown", "unknown"],
      "BAK-02 web": ["unknown", "unknown"],
    },
  ],
  [
    "a key that is nowhere else",
    { scope: (t) => t.replace("keyElsewhere: true", "keyElsewhere: false") },
    { "BAK-02 mail": ["warn", "key-here-only"], "BAK-02 web": ["warn", "key-here-only"] },
  ],
  [
    "a backup of one guest only",
    { scope: (t) => t.replace("    kind: restic", "    guests: [mail]\n    kind: restic") },
    { "BAK-01 web": ["fail", "no-backup"], "BAK-02 web": ["fail", "no-backup"], "BAK-03 web": ["fail", "no-backup"] },
  ],
  [
    "a test of long ago",
    { scope: (t) => t.replace("2026-06-15", "2025-06-15") },
    { "BAK-04 mail": ["warn", "aging"], "BAK-04 web": ["warn", "aging"] },
  ],
  [
    "no test ever",
    { scope: (t) => t.replace(/ {2}- \{ date:.*\n/, "  []\n") },
    { "BAK-04 mail": ["fail", "never"], "BAK-04 web": ["fail", "never"] },
  ],
  [
    "a mailbox on a network drive",
    { files: { [MAIL("fstab")]: `${ROOT}nas:/mail /var/mail nfs4 rw 0 0\n` } },
    { "MAIL-01 mail": ["fail", "outside"] },
  ],
  [
    "a mailbox on a folder of the host's",
    { files: { [MAIL("fstab")]: `${ROOT}share /home virtiofs rw 0 0\n` } },
    { "MAIL-01 mail": ["warn", "share"] },
  ],
  [
    "a mailbox on a disk that nobody knows",
    { files: { [MAIL("fstab")]: `${ROOT}/dev/vdz /home ext4 rw 0 0\n` } },
    { "MAIL-01 mail": ["unknown", "unclear"] },
  ],
  [
    "no policy for a client's domain",
    { files: { [MAIL("postfix/tls_policy")]: "other.example secure\n" } },
    { "MAIL-02 mail": ["warn", "opportunistic"] },
  ],
  [
    "a policy whose source is gone",
    {
      scope: (t) => t.replace("[client.example]", "[]"),
      files: {
        [MAIL("postfix/main.cf")]: main((t) =>
          t
            .replace("hash:/etc/postfix/tls_policy", "hash:/etc/postfix/gone")
            .replace("smtp_tls_security_level=may", "smtp_tls_security_level=encrypt"),
        ),
      },
    },
    { "MAIL-02 mail": ["unknown", "table"] },
  ],
  [
    "TLS off for one client of master.cf",
    {
      files: {
        [MAIL("postfix/tls_policy")]: "#\n",
        [MAIL("postfix/master.cf")]:
          "smtp inet n - y - - smtpd\nsmtp unix - - y - - smtp\nrelay unix - - y - - smtp\n  -o smtp_tls_security_level=none\n",
      },
    },
    { "MAIL-02 mail": ["fail", "not-encrypted"] },
  ],
  [
    "no certificate to offer",
    { files: { [MAIL("postfix/main.cf")]: main((t) => t.replace(/^smtpd_tls_cert_file.*$/m, "")) } },
    { "MAIL-02 mail": ["fail", "receiving-off"] },
  ],
  [
    "an old protocol, with a library that still has it",
    {
      files: {
        [MAIL("os-release")]: 'ID=debian\nVERSION_ID="11"\n',
        [MAIL("postfix/main.cf")]: main((t) => t.replace("protocols = >=TLSv1.2", "protocols = !SSLv2, !SSLv3")),
      },
    },
    { "MAIL-02 mail": ["fail", "old-received"] },
  ],
  [
    "Razor without a declaration",
    {
      files: {
        [MAIL("spamassassin/local.cf")]: "use_pyzor 0\nskip_uribl_checks 1\n",
        "vm:mail:/usr/share/perl5/Razor2/Client.pm": "",
      },
    },
    { "MAIL-03 mail": ["fail", "undeclared"] },
  ],
  [
    "a block list in Postfix without a declaration",
    {
      files: {
        [MAIL("postfix/main.cf")]: main((t) =>
          t.replace("reject_unauth_destination", "reject_unauth_destination,\n    reject_rbl_client zen.spamhaus.org"),
        ),
      },
    },
    { "MAIL-03 mail": ["fail", "undeclared"] },
  ],
  [
    "a service without a country",
    { scope: (t) => t.replace(", country: several", "") },
    { "MAIL-03 mail": ["warn", "incomplete"] },
  ],
  [
    "mail that nobody looked for",
    { scope: (t) => t.replace(/^mail:[\s\S]*?(?=^spam)/m, "") },
    Object.fromEntries(
      ["MAIL-01", "MAIL-02", "MAIL-03"].flatMap((id) =>
        ["mail", "web"].map((guest) => [`${id} ${guest}`, ["unknown", "not-asked"]]),
      ),
    ),
  ],
  [
    "a disk destroyed by record",
    { files: { [RECORD]: record({}) } },
    { "DEL-01": ["pass", ""], "DEL-02": ["pass", ""] },
  ],
  [
    "the same on an SSD",
    { files: { [RECORD]: record({ medium: { type: "ssd" }, verdict: "warn" }) } },
    { "DEL-01": ["warn", "spare-area"], "DEL-02": ["pass", ""] },
  ],
  [
    "keys erased where there was plaintext",
    { files: { [RECORD]: record({ method: "luks-erase" }) } },
    { "DEL-01": ["fail", "not-deleted"], "DEL-02": ["pass", ""] },
  ],
  [
    "a destruction that did not end",
    { files: { [RECORD]: record({ verdict: null }, { state: "begun", ended: null }) } },
    { "DEL-01": ["fail", "not-ended"], "DEL-02": ["pass", ""] },
  ],
  [
    "a file system that is still there",
    {
      files: { [RECORD]: record({ removed: false }) },
      stat: { "/dev/vg9/old": { ...folder, type: "block", mode: 0o660 } },
      added: [
        {
          argv: ["blkid", "--probe", "--output", "export", "/dev/vg9/old"],
          stdout: "DEVNAME=/dev/vg9/old\nTYPE=ext4\n",
        },
      ],
    },
    { "DEL-01": ["pass", ""], "DEL-02": ["fail", "remains"] },
  ],
  [
    "a migration whose old disk nobody tells of",
    {
      files: {
        "/var/lib/unterbau/migrations/20261101-080000-bbbb.migration": `${JSON.stringify({ schema: "unterbau/migration/2", plan: { id: "20261101-080000-bbbb", guest: { name: "web" } } })}\n${JSON.stringify({ step: "finish", state: "done", facts: {} })}\n`,
      },
    },
    { "DEL-01": ["fail", "unrecorded"] },
  ],
  [
    "a declared volume that was only discarded",
    {
      scope: (t) =>
        `${t}deletions:\n  - { name: /dev/vg9/x, date: 2026-10-01, medium: ssd, wasPlaintext: true, method: discard }\n`,
    },
    { "DEL-01": ["fail", "not-deleted"], "DEL-02": ["pass", ""] },
  ],
];

test.each(FLIPS)("%s", async (_, alteration, expected) => {
  const was = statesOf(good);
  const changed = Object.fromEntries(
    [...statesOf(await auditAltered(alteration))].flatMap(([k, c]) => {
      const why = c.state === "pass" ? "" : c.remarks.find((r) => r.state === c.state)?.code;
      return c.state === was.get(k)?.state ? [] : [[k, [c.state, why]]];
    }),
  );
  expect(changed).toEqual(expected);
});

test("a host without any of the programs has unknowns and no crash", async () => {
  const doc = await auditAltered({
    commands: Object.fromEntries(
      ["nft", "iptables-save", "ip6tables-save", "ss", "getfacl", "restic", "nwfilter"].map((n) => [n, null]),
    ),
  });
  const own = doc.checks.filter((c) => OWN.test(c.id));
  expect(own.every((c) => c.remarks.every((r) => r.code !== "check-failed"))).toBe(true);
  expect(own.filter((c) => c.id === "NET-01").map((c) => c.state)).toEqual(["unknown", "unknown"]);
});

test("every sentence has its values in both languages", async () => {
  for (const check of CHECKS.filter((c) => OWN.test(c.id))) {
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

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { testFlips } from "../../../test/helpers/flipped.ts";
import { GOOD } from "../../../test/helpers/hosts.ts";

const ROOT = "UUID=6f0c9a55-2a0e-4b7c-9a34-8b6f5a0d1c11 / ext4 defaults 0 1\n";
const MAIL = (path: string) => `vm:mail:/etc/${path}`;
const main = (edit: (text: string) => string) => edit(readFileSync(join(GOOD, MAIL("postfix/main.cf")), "utf8"));

testFlips([
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
]);

import { type Case, file } from "./edits.ts";

export const KEYS: readonly Case[] = [
  {
    name: "a key file on a plain file system",
    edits: [
      { file: "/etc/crypttab", from: /(data_crypt \S+) none/, to: "$1 /boot/data.key" },
      { stat: { "/boot/data.key": { ...file(), mode: 0o400 } } },
    ],
    seen: { "KEY-01 host": "fail passphrase keyfile-plain", "KEY-02 host": "fail plain" },
  },
  {
    name: "a key file on an encrypted file system",
    edits: [
      { file: "/etc/crypttab", from: /(data_crypt \S+) none/, to: "$1 /etc/data.key" },
      { stat: { "/etc/data.key": { ...file(), mode: 0o400 } } },
    ],
    seen: { "KEY-01 host": "warn passphrase keyfile-encrypted", "KEY-02 host": "pass protected" },
  },
  {
    name: "a key file that others can read",
    edits: [
      { file: "/etc/crypttab", from: /(data_crypt \S+) none/, to: "$1 /etc/data.key" },
      { stat: { "/etc/data.key": { ...file(), mode: 0o644 } } },
    ],
    seen: { "KEY-01 host": "warn passphrase keyfile-encrypted", "KEY-02 host": "fail readable" },
  },
  {
    name: "a TPM without PIN",
    edits: [{ file: "/etc/crypttab", from: "none luks,noauto", to: "none luks,noauto,tpm2-device=auto" }],
    seen: { "KEY-01 host": "warn passphrase tpm2" },
  },
  {
    name: "a key file on the kernel's command line",
    edits: [{ file: "/proc/cmdline", from: "quiet", to: "quiet rd.luks.key=/boot/k" }],
    seen: { "KEY-01 host": "fail boot-key passphrase passphrase" },
  },
  {
    name: "a key file in the initramfs",
    edits: [{ command: "lsinitramfs", from: "cryptroot/crypttab", to: "cryptroot/keyfiles/sys.key" }],
    seen: { "KEY-02 host": "fail in-initramfs" },
  },
  {
    name: "a guest that starts with the host",
    edits: [
      {
        command: "virsh --quiet --readonly dominfo --domain=a0",
        from: "Autostart:      disable",
        to: "Autostart:      enable",
      },
    ],
    seen: { "KEY-03 mail": "warn no-dependency" },
  },
  {
    name: "an image where a mount should be",
    edits: [{ file: "/proc/self/mountinfo", from: /^94 .*\n/m, to: "" }],
    seen: {
      "ENC-02 web": "pass whole",
      "ENC-03 web": "pass strong",
      "ENC-04 web": "pass same",
      "ENC-05 web": "pass argon2id random",
      "ENC-06 web": "pass as-declared",
      "ENC-07 web": "pass current",
      "KEY-03 web": "fail beneath by-hand",
      "DISC-01 web": "pass blocked medium",
    },
  },
  {
    name: "a plain /var",
    edits: [
      {
        file: "/proc/self/mountinfo",
        from: "94 27 254:5",
        to: "93 27 259:2 / /var rw,relatime - ext4 /dev/nvme0n1p2 rw\n94 93 254:5",
      },
    ],
    seen: {
      "ENC-01 mail": "fail encrypted plain",
      "ENC-01 web": "fail encrypted plain",
      "ENC-02 mail": "pass whole",
      "ENC-02 web": "pass whole",
      "ENC-03 mail": "pass strong",
      "ENC-03 web": "pass strong",
      "ENC-04 mail": "pass same",
      "ENC-04 web": "pass same",
      "ENC-05 mail": "pass argon2id random",
      "ENC-05 web": "pass argon2id random",
      "ENC-06 mail": "pass as-declared",
      "ENC-06 web": "pass as-declared",
      "ENC-07 mail": "pass current",
      "ENC-07 web": "pass current",
      "KEY-04 host": "fail encrypted plain-empty encrypted plain-empty plain-empty plain-filled",
      "LEAK-05 host": "fail excluded plain",
      "DISC-01 mail": "pass blocked medium medium medium",
      "DISC-01 web": "pass blocked medium medium medium",
    },
  },
];

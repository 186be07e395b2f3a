import { BACKUP, type Case, DATA, DUMP, file, IMAGES, LSBLK, TABLE, XML } from "./edits.ts";

export const ENCRYPTION: readonly Case[] = [
  {
    name: "firmware variables of a guest that was never started are not there yet",
    edits: [{ stat: { "/var/lib/libvirt/qemu/nvram/web_VARS.fd": null } }],
    seen: {},
  },
  {
    name: "a cipher that encrypts nothing",
    edits: [{ command: TABLE, from: DATA, to: "crypt cipher_null-ecb - 0 9:0 32768" }],
    seen: {
      "ENC-01 mail": "fail plain encrypted",
      "ENC-01 web": "fail plain encrypted",
      "ENC-04 mail": "fail null-cipher same",
      "ENC-04 web": "fail null-cipher same",
    },
  },
  {
    name: "no table of mapped devices",
    edits: [{ command: TABLE, exit: 1, to: "" }],
    seen: {
      "ENC-01 mail": "unknown unknown unknown",
      "ENC-01 web": "unknown unknown unknown",
      "ENC-04 mail": "unknown no-facts no-facts",
      "ENC-04 web": "unknown no-facts no-facts",
      "ENC-07 mail": "unknown place-unknown place-unknown",
      "ENC-07 web": "unknown place-unknown place-unknown",
      "KEY-04 host": "unknown unknown unknown unknown unknown unknown unknown",
      "LEAK-01 host": "unknown unknown",
      "LEAK-05 host": "unknown excluded unknown",
      "DISC-01 mail": "unknown table-unknown table-unknown medium medium medium",
      "DISC-01 web": "unknown table-unknown table-unknown medium medium medium",
    },
  },
  {
    name: "a backing image outside of the encryption",
    edits: [
      {
        command: "qemu-img info",
        from: `"filename": "${IMAGES}/debian-12.qcow2"`,
        to: '"filename": "/boot/debian-12.qcow2"',
      },
      { stat: { "/boot/debian-12.qcow2": file() } },
    ],
    seen: { "ENC-01 web": "fail plain encrypted" },
  },
  {
    name: "a medium outside of the encryption",
    edits: [
      {
        command: XML,
        from: "    <controller type='usb'",
        to: "    <disk type='file' device='cdrom'>\n      <driver name='qemu' type='raw'/>\n      <source file='/boot/debian.iso'/>\n      <target dev='sda' bus='sata'/>\n      <readonly/>\n    </disk>\n    <controller type='usb'",
      },
      { stat: { "/boot/debian.iso": file() } },
    ],
    seen: { "ENC-01 mail": "warn encrypted read-only encrypted" },
  },
  {
    name: "a disk elsewhere",
    edits: [
      {
        command: XML,
        from: /<disk type='block'[\s\S]*?<\/disk>/,
        to: "<disk type='network' device='disk'>\n      <driver name='qemu' type='raw'/>\n      <source protocol='rbd' name='pool/mail'/>\n      <target dev='vda' bus='virtio'/>\n    </disk>",
      },
    ],
    seen: {
      "ENC-01 mail": "unknown unknown encrypted",
      "ENC-02 mail": "pass whole",
      "ENC-03 mail": "pass strong",
      "ENC-04 mail": "pass same",
      "ENC-05 mail": "pass argon2id random",
      "ENC-06 mail": "pass as-declared",
      "ENC-07 mail": "pass current",
      "DISC-01 mail": "pass blocked medium",
    },
  },
  {
    name: "a container in a file of a plain file system",
    edits: [
      { command: LSBLK, from: '"kname": "md0",\n', to: '"kname": "loop0",\n' },
      { command: LSBLK, from: '"path": "/dev/md0"', to: '"path": "/dev/loop0"' },
      { command: LSBLK, from: '"type": "raid1"', to: '"type": "loop"' },
      { command: "losetup", to: '{"loopdevices": [{"name":"/dev/loop0","back-file":"/boot/container"}]}' },
      { stat: { "/boot/container": file() } },
    ],
    seen: {
      "ENC-02 mail": "fail file-plain whole",
      "ENC-02 web": "fail file-plain whole",
      "ENC-03 mail": "unknown no-header strong",
      "ENC-03 web": "unknown no-header strong",
      "ENC-04 mail": "unknown no-facts same",
      "ENC-04 web": "unknown no-facts same",
      "ENC-05 mail": "unknown no-header argon2id random",
      "ENC-05 web": "unknown no-header argon2id random",
      "ENC-06 mail": "unknown no-header as-declared",
      "ENC-06 web": "unknown no-header as-declared",
      "ENC-07 mail": "unknown no-header current",
      "ENC-07 web": "unknown no-header current",
      "DISC-01 mail": "pass blocked blocked medium",
      "DISC-01 web": "pass blocked blocked medium",
    },
  },
  {
    name: "a key of 128 bits",
    edits: [{ command: DUMP, from: '"key_size": 64', to: '"key_size": 16' }],
    seen: {
      "ENC-03 mail": "fail weak strong",
      "ENC-03 web": "fail weak strong",
      "ENC-04 mail": "fail differs same",
      "ENC-04 web": "fail differs same",
    },
  },
  {
    name: "a key of 256 bits",
    edits: [
      { command: DUMP, from: '"key_size": 64', to: '"key_size": 32' },
      { command: TABLE, from: ":64:logon:cryptsetup:debf", to: ":32:logon:cryptsetup:debf" },
    ],
    seen: { "ENC-03 mail": "warn acceptable strong", "ENC-03 web": "warn acceptable strong" },
  },
  {
    name: "a header with CBC",
    edits: [
      {
        command: DUMP,
        from: '"encryption": "aes-xts-plain64",\n      "sector_size"',
        to: '"encryption": "aes-cbc-plain",\n      "sector_size"',
      },
    ],
    seen: {
      "ENC-03 mail": "fail weak strong",
      "ENC-03 web": "fail weak strong",
      "ENC-04 mail": "fail differs same",
      "ENC-04 web": "fail differs same",
    },
  },
  {
    name: "a mapping of another device",
    edits: [{ command: TABLE, from: "0 9:0 32768", to: "0 8:1 32768" }],
    seen: { "ENC-04 mail": "fail differs same", "ENC-04 web": "fail differs same" },
  },
  {
    name: "a mapping with another offset",
    edits: [{ command: TABLE, from: "0 9:0 32768", to: "0 9:0 4096" }],
    seen: { "ENC-04 mail": "fail differs same", "ENC-04 web": "fail differs same" },
  },
  {
    name: "a re-encryption that is not complete",
    edits: [
      { command: DUMP, from: '"json_size"', to: '"requirements": {"mandatory": ["online-reencrypt-v2"]}, "json_size"' },
    ],
    seen: { "ENC-04 mail": "warn re-encryption same", "ENC-04 web": "warn re-encryption same" },
  },
  {
    name: "an encryption that is not complete",
    edits: [{ command: DUMP, from: '"type": "crypt"', to: '"type": "linear"' }],
    seen: { "ENC-04 mail": "fail unfinished same", "ENC-04 web": "fail unfinished same" },
  },
  {
    name: "PBKDF2",
    edits: [
      {
        command: DUMP,
        from: '"type": "argon2id",\n        "time": 6,\n        "memory": 1048576,',
        to: '"type": "pbkdf2",\n        "iterations": 500000,',
      },
    ],
    seen: { "ENC-05 mail": "warn pbkdf2 random argon2id random", "ENC-05 web": "warn pbkdf2 random argon2id random" },
  },
  {
    name: "PBKDF2 with few iterations",
    edits: [
      {
        command: DUMP,
        from: '"type": "argon2id",\n        "time": 6,\n        "memory": 1048576,',
        to: '"type": "pbkdf2",\n        "iterations": 1000,',
      },
    ],
    seen: {
      "ENC-05 mail": "fail few-iterations random argon2id random",
      "ENC-05 web": "fail few-iterations random argon2id random",
    },
  },
  {
    name: "Argon2i",
    edits: [{ command: DUMP, from: '"argon2id"', to: '"argon2i"' }],
    seen: { "ENC-05 mail": "warn argon2i random argon2id random", "ENC-05 web": "warn argon2i random argon2id random" },
  },
  {
    name: "Argon2id with little memory",
    edits: [{ command: DUMP, from: '"memory": 1048576', to: '"memory": 32768' }],
    seen: {
      "ENC-05 mail": "warn little-memory random argon2id random",
      "ENC-05 web": "warn little-memory random argon2id random",
    },
  },
  {
    name: "a keyslot that opens no data",
    edits: [
      {
        command: DUMP,
        from: '"keyslots": [\n        "0",\n        "1"\n      ]',
        to: '"keyslots": [\n        "0"\n      ]',
      },
    ],
    seen: {
      "ENC-05 mail": "fail argon2id unbound argon2id random",
      "ENC-05 web": "fail argon2id unbound argon2id random",
    },
  },
  {
    name: "a keyslot more than declared",
    edits: [
      {
        command: DUMP,
        from: /"1": \{/,
        to: '"2": {"type": "luks2", "key_size": 64, "kdf": {"type": "argon2id", "time": 6, "memory": 1048576}},\n    "1": {',
      },
      { command: DUMP, from: '"keyslots": [\n        "0",', to: '"keyslots": [\n        "0", "2",' },
    ],
    seen: {
      "ENC-05 mail": "pass argon2id random argon2id argon2id random",
      "ENC-05 web": "pass argon2id random argon2id argon2id random",
      "ENC-06 mail": "warn more-than-declared as-declared",
      "ENC-06 web": "warn more-than-declared as-declared",
    },
  },
  {
    name: "a keyslot of Clevis",
    edits: [{ command: DUMP, from: "systemd-recovery", to: "clevis" }],
    seen: {
      "ENC-06 mail": "fail undeclared-network fewer-than-declared as-declared",
      "ENC-06 web": "fail undeclared-network fewer-than-declared as-declared",
    },
  },
  {
    name: "only a TPM",
    edits: [
      { command: DUMP, from: "systemd-recovery", to: "systemd-tpm2" },
      { command: DUMP, from: '"keyslots": [\n        "1"\n      ]', to: '"keyslots": ["0", "1"]' },
    ],
    seen: {
      "ENC-05 mail": "pass random random argon2id random",
      "ENC-05 web": "pass random random argon2id random",
      "ENC-06 mail": "warn only-tpm2 fewer-than-declared fewer-than-declared more-than-declared as-declared",
      "ENC-06 web": "warn only-tpm2 fewer-than-declared fewer-than-declared more-than-declared as-declared",
    },
  },
  {
    name: "no keyslots",
    edits: [{ command: DUMP, from: /"keyslots": \{[\s\S]*?"tokens"/, to: '"keyslots": {}, "tokens"' }],
    seen: {
      "ENC-05 mail": "unknown no-keyslots argon2id random",
      "ENC-05 web": "unknown no-keyslots argon2id random",
      "ENC-06 mail": "fail no-keyslots as-declared",
      "ENC-06 web": "fail no-keyslots as-declared",
    },
  },
  {
    name: "a header's backup that is older",
    edits: [{ command: `cryptsetup luksDump ${BACKUP}`, from: /Epoch:\s+5/, to: "Epoch: 4" }],
    seen: { "ENC-07 mail": "warn old current", "ENC-07 web": "warn old current" },
  },
  {
    name: "a backup of another header",
    edits: [{ command: `cryptsetup luksDump ${BACKUP}`, from: /UUID:\s+debf78a6/, to: "UUID: 00000000" }],
    seen: { "ENC-07 mail": "fail other current", "ENC-07 web": "fail other current" },
  },
  {
    name: "a backup that others can read",
    edits: [{ stat: { [BACKUP]: { ...file(), mode: 0o644 } } }],
    seen: { "ENC-07 mail": "fail readable current", "ENC-07 web": "fail readable current" },
  },
  {
    name: "a backup that is gone",
    edits: [{ stat: { [BACKUP]: null } }],
    seen: { "ENC-07 mail": "fail gone current", "ENC-07 web": "fail gone current" },
  },
  {
    name: "a backup on a plain disk",
    edits: [{ command: TABLE, from: /tresor: 0 (\d+) crypt \S+ \S+ /, to: "tresor: 0 $1 crypt cipher_null-ecb - " }],
    seen: { "ENC-07 mail": "fail plain plain", "ENC-07 web": "fail plain plain" },
  },
  {
    name: "a block job that copies to a plain file system",
    edits: [
      {
        command: XML,
        from: "      <target dev='vda' bus='virtio'/>",
        to: "      <mirror type='file' job='copy'><source file='/boot/copy.img'/></mirror>\n      <target dev='vda' bus='virtio'/>",
      },
      { stat: { "/boot/copy.img": file() } },
    ],
    seen: { "ENC-01 mail": "fail encrypted encrypted plain" },
  },
  {
    name: "a controller that is passed through",
    edits: [
      {
        command: XML,
        from: "    <controller type='usb'",
        to: "    <hostdev mode='subsystem' type='pci' managed='yes'><source><address domain='0x0000' bus='0x03' slot='0x00' function='0x0'/></source></hostdev>\n    <controller type='usb'",
      },
      { file: "/sys/bus/pci/devices/0000:03:00.0/class", to: "0x010802\n" },
    ],
    seen: {
      "ENC-01 mail": "unknown encrypted encrypted unknown",
    },
  },
];

/** Of the captured host's cases: what was changed in the machine, and the outcomes whose state must change by it, with the remark that decides. No other may. */
export const CAPTURED: Readonly<Record<string, Readonly<Record<string, readonly [state: string, why: string]>>>> = {
  // A swap area on a disk without encryption, in use.
  swap_plain: { "LEAK-01 host": ["fail", "plain"] },
  // The second disk of web is a logical volume on a plain disk.
  plain_volume: { "ENC-01 web": ["fail", "plain"] },
  // It is LUKS1 with AES-CBC of 128 bits; nobody declared its keyslots, and no backup of its header is known.
  luks1_cbc: {
    "ENC-03 web": ["fail", "weak"],
    "ENC-05 web": ["warn", "pbkdf2"],
    "ENC-06 web": ["unknown", "not-declared-slots"],
    "ENC-07 web": ["fail", "none"],
  },
  // LUKS2 whose keyslot has PBKDF2 with 1000 iterations.
  pbkdf2_few: {
    "ENC-05 web": ["fail", "few-iterations"],
    "ENC-06 web": ["unknown", "not-declared-slots"],
    "ENC-07 web": ["fail", "none"],
  },
  null_cipher: {
    "ENC-01 web": ["fail", "plain"],
    "ENC-03 web": ["fail", "weak"],
    "ENC-04 web": ["fail", "null-cipher"],
    "ENC-06 web": ["unknown", "not-declared-slots"],
    "ENC-07 web": ["fail", "none"],
  },
  // `cryptsetup reencrypt --encrypt --init-only`: the mapping is there, and nothing of it goes through dm-crypt yet: no encryption that other checks could judge.
  encryption_begun: { "ENC-01 web": ["fail", "plain"], "ENC-04 web": ["fail", "unfinished"] },
  container_plain: {
    "ENC-02 web": ["fail", "file-plain"],
    "ENC-06 web": ["unknown", "not-declared-slots"],
    "ENC-07 web": ["fail", "none"],
  },
  discards: { "DISC-01 mail": ["warn", "not-as-declared"], "DISC-01 web": ["warn", "not-as-declared"] },
  header_gone: { "ENC-07 mail": ["fail", "gone"], "ENC-07 web": ["fail", "gone"] },
  header_readable: { "ENC-07 mail": ["fail", "readable"], "ENC-07 web": ["fail", "readable"] },
  header_other: { "ENC-07 mail": ["fail", "other"], "ENC-07 web": ["fail", "other"] },
  header_plain: { "ENC-07 mail": ["fail", "plain"], "ENC-07 web": ["fail", "plain"] },
  // A key was added after the header was backed up.
  more_keys: {
    "ENC-06 mail": ["warn", "more-than-declared"],
    "ENC-06 web": ["warn", "more-than-declared"],
    "ENC-07 mail": ["warn", "old"],
    "ENC-07 web": ["warn", "old"],
  },
  key_readable: { "KEY-01 host": ["warn", "keyfile-encrypted"], "KEY-02 host": ["fail", "readable"] },
  key_plain: { "KEY-01 host": ["fail", "keyfile-plain"], "KEY-02 host": ["fail", "plain"] },
  autostart: { "KEY-03 mail": ["warn", "no-dependency"] },
  // The images' file system is not mounted, and an image lies where it should be.
  image_beneath: { "KEY-03 web": ["fail", "beneath"] },
  logs_plain: { "KEY-04 host": ["fail", "plain-filled"] },
  hibernation_plain: { "LEAK-02 host": ["fail", "plain"] },
  saved_plain: { "LEAK-03 mail": ["fail", "suspend-plain"], "LEAK-03 web": ["fail", "suspend-plain"] },
  snapshot_old: { "LEAK-04 mail": ["warn", "old"] },
  cores_plain: { "LEAK-05 host": ["fail", "plain"] },
  stray_copy: { "LEAK-06 host": ["fail", "file-candidate"] },
  stray_disk: { "LEAK-06 host": ["fail", "device-candidate"] },
  console_log_plain: { "LEAK-07 web": ["fail", "plain"] },
  image_readable: { "PERM-01 web": ["fail", "others-read"] },
  image_acl: { "PERM-01 web": ["fail", "acl"] },
  vnc_everywhere: { "PERM-02 host": ["fail", "console"] },
  ssh_passwords: { "PERM-02 host": ["warn", "ssh-passwords"] },
  undeclared_admin: { "PERM-02 host": ["warn", "additional"] },
  unconfined: { "PERM-03 web": ["fail", "switched-off"] },
  qemu_root: { "PERM-03 web": ["fail", "root"] },
  // A guest that nobody declared writes to the base image of web.
  undeclared_guest: { "INV-02 host": ["warn", "undeclared"], "PERM-04 web": ["fail", "disk"] },
  guest_gone: { "INV-02 host": ["fail", "missing"] },
  no_filter: { "NET-01 web": ["fail", "open"], "NET-02 web": ["fail", "everything"], "NET-04 web": ["fail", "none"] },
  filter_open: { "NET-01 web": ["fail", "open"], "NET-02 web": ["fail", "everything"] },
  filter_peer: { "NET-02 mail": ["fail", "undeclared"] },
  // Frames of IPv6 pass, and its own rules still drop all: nothing is open. With a rule that drops what goes to one address only it is.
  filter_ipv6_frames: {},
  filter_ipv6: { "NET-03 web": ["fail", "open6"] },
  filter_spoofing: { "NET-04 web": ["fail", "none"] },
  backup_old: { "BAK-01 mail": ["fail", "old"], "BAK-01 web": ["fail", "old"] },
  backup_none: { "BAK-01 mail": ["fail", "never"], "BAK-01 web": ["fail", "never"] },
  // Copied to a plain disk of the same host: a copy that lies around, as well.
  backup_plain: {
    "BAK-02 mail": ["fail", "plain"],
    "BAK-02 web": ["fail", "plain"],
    "BAK-03 mail": ["warn", "other-disk"],
    "BAK-03 web": ["warn", "other-disk"],
    "LEAK-06 host": ["fail", "file-candidate"],
  },
  backup_same_disk: { "BAK-03 mail": ["fail", "same-disk"], "BAK-03 web": ["fail", "same-disk"] },
  // The client's domain is no longer in the mail guest's table of TLS policies.
  mail_policy: { "MAIL-02 mail": ["warn", "opportunistic"] },
  mail_in_clear: { "MAIL-02 mail": ["fail", "receiving-off"] },
  // Razor is switched on, and its client is not installed there: nobody is asked. Lists of senders are asked by DNS alone.
  mail_razor: {},
  mail_dnsbl: { "MAIL-03 mail": ["fail", "undeclared"] },
  mail_store_nfs: { "MAIL-01 mail": ["fail", "outside"] },
  // Nothing is wrong with a guest whose firmware variables libvirt has not made yet.
  never_started: {},
  reboot_wanted: { "GOV-01 host": ["warn", "reboot"] },
};

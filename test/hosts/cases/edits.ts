import type { Edit } from "../../helpers/hosts.ts";

/** Facts of the good host changed, and all that sees it. Checks that are not named must not change. */
export interface Case {
  readonly name: string;
  readonly edits: readonly Edit[];
  /** `ENC-01 mail` → state and remarks. */
  readonly seen: Readonly<Record<string, string>>;
}

export const XML = "virsh --quiet --readonly dumpxml --domain=a02523b8-fea2-5369-add0-0c2f184f2203";
export const DUMP = "cryptsetup luksDump --dump-json-metadata /dev/md0";
export const TABLE = "dmsetup table";
export const LSBLK = "lsblk --json --bytes";
export const DATA = "crypt aes-xts-plain64 :64:logon:cryptsetup:debf78a6-cecc-581c-8d5f-a66d0e609831-d0 0 9:0 32768";
export const BACKUP = "/media/tresor/kvm1-data.header";
export const IMAGES = "/var/lib/libvirt/images";
export const file = (size = 1_000_000) => ({
  type: "file",
  mode: 0o600,
  uid: 0,
  gid: 0,
  size,
  modified: "2026-01-01T00:00:00Z",
});

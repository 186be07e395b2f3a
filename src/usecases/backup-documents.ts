import type { CheckDocument } from "./documents.ts";

/** One disk in a backup. */
export interface BackedUpDisk {
  /** `vda` */
  readonly target: string;
  /** Name of the item that has its bytes: `vda.raw`. */
  readonly name: string;
  /** Bytes, as the guest (or, for ciphertext, who decrypts) sees the disk. */
  readonly size: number;
  readonly sha256: string;
  /** ciphertext: the LUKS volume that the host or QEMU opens, header and all. content: what the guest sees. */
  readonly kind: "ciphertext" | "content";
  /** It is encrypted on this host, and these bytes are not, or not all. */
  readonly decrypted: boolean;
  /** Path or device that was read. */
  readonly source: string;
  /** Name of the item with the LUKS header of that volume, else null. */
  readonly header: string | null;
  /** Its line of /etc/crypttab, else null. */
  readonly crypttab: string | null;
}

/** Written last: a backup without it is none. */
export interface BackupManifest {
  readonly schema: "unterbau/backup-manifest/1";
  readonly id: string;
  /** ISO 8601, UTC: the moment that the bytes are of. */
  readonly created: string;
  readonly guest: string;
  readonly uuid: string;
  /** From a running guest, as it was in one instant. */
  readonly live: boolean;
  readonly disks: readonly BackedUpDisk[];
  /** libvirt's XML, as it will be started. */
  readonly domain: string;
  /** The firmware's variables: name of the item, and where they belong; null: it has none, or they could not be read. */
  readonly nvram: { readonly name: string; readonly path: string } | null;
}

export interface BackupDocument {
  readonly schema: "unterbau/backup/1";
  readonly to: string;
  readonly id: string;
  readonly guest: string;
  readonly uuid: string;
  readonly live: boolean;
  readonly disks: readonly BackedUpDisk[];
  readonly seconds: number;
}

export interface BackupListDocument {
  readonly schema: "unterbau/backup-list/1";
  readonly to: string;
  readonly backups: readonly {
    readonly id: string;
    readonly created: string;
    readonly guest: string;
    readonly uuid: string;
    readonly live: boolean;
    /** Bytes of all disks. */
    readonly size: number;
  }[];
  /** Ids of backups that were cut off: they are not whole, and nothing is restored from them. */
  readonly unfinished: readonly string[];
}

export interface BackupVerifyDocument {
  readonly schema: "unterbau/backup-verify/1";
  readonly from: string;
  readonly id: string;
  readonly guest: string;
  readonly created: string;
  /** Disks whose bytes have the hash that was noted. */
  readonly disks: readonly { readonly target: string; readonly size: number; readonly sha256: string }[];
  /** LUKS headers that are such. */
  readonly headers: readonly { readonly target: string; readonly uuid: string }[];
  readonly check: CheckDocument;
  /** As fsck(8). */
  readonly exitCode: number;
}

/** The documents of the header verbs (docs/schemas). */

export interface HeaderBackupDocument {
  readonly schema: "unterbau/header-backup/1";
  readonly backups: readonly HeaderDocument[];
}

export interface HeaderListDocument {
  readonly schema: "unterbau/header-list/1";
  readonly backups: readonly (HeaderDocument & Standing)[];
}

export interface HeaderVerifyDocument {
  readonly schema: "unterbau/header-verify/1";
  readonly backups: readonly (HeaderDocument & Standing & Proof)[];
  /** Every one is whole, and was shown to unlock. */
  readonly ok: boolean;
}

export interface HeaderRestoreDocument {
  readonly schema: "unterbau/header-restore/1";
  readonly device: string;
  readonly backup: string;
  readonly uuid: string;
  /** What `unterbau undo` wants to put the old header back; null: it was the same, nothing was changed. */
  readonly run: string | null;
}

export interface HeaderDocument {
  /** Absolute path of the backup. */
  readonly file: string;
  readonly device: string;
  readonly uuid: string;
  readonly version: 1 | 2;
  readonly label: string | null;
  /** LUKS2 only. */
  readonly epoch: number | string | null;
  /** Bytes. */
  readonly size: number;
  readonly sha256: string;
  readonly made: string;
}

export interface Standing {
  /** damaged: its bytes are not those that were written. */
  readonly state: "whole" | "damaged" | "missing";
  /**
   * current: the device's header is the same, byte for byte; changed: it has the same UUID, and keys were changed since; other: another
   * container lies there; none: no header does; absent: there is no such device now.
   */
  readonly onDevice: "current" | "changed" | "other" | "none" | "absent";
}

export interface Proof {
  /** Whether a key that was given opens the header, restored by cryptsetup into a file of its own; null: no key was given. */
  readonly unlocks: boolean | null;
  /** Why it is not whole or does not unlock. */
  readonly reason: string | null;
}

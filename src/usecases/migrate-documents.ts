/** The documents of migrate (docs/schemas). */

export interface MigrateDocument {
  readonly schema: "unterbau/migrate/1";
  /** For --resume and --rollback; null for --dry-run. */
  readonly run: string | null;
  readonly state: "planned" | "done" | "rolled-back";
  readonly guest: { readonly name: string; readonly uuid: string };
  readonly clone: { readonly name: string; readonly uuid: string };
  readonly disks: readonly MigratedDiskDocument[];
  /** Disks of the guest that are not moved: both guests have them. */
  readonly stays: readonly { readonly disk: string; readonly why: string }[];
  /** `back`: how it is taken back; null: it leaves nothing. */
  readonly steps: readonly { readonly name: string; readonly what: string; readonly back: string | null }[];
  /** What a person should know of this guest. */
  readonly notes: readonly string[];
}

export interface MigratedDiskDocument {
  /** `vda` */
  readonly disk: string;
  /** Bytes of the guest's disk. */
  readonly size: number;
  readonly target: string;
  /** The logical volume that is made for it, `GROUP/VOLUME`, or null. */
  readonly volume: string | null;
  /** Who decrypts. */
  readonly openedBy: "qemu" | "host";
  /** Of the container, in bytes. */
  readonly sectorSize: number;
  /** SHA-256 of the disk, and of what a second reader decrypted; null: not done. */
  readonly sha256: string | null;
  /** The backup of the header. */
  readonly header: string | null;
}

export interface MigrationsDocument {
  readonly schema: "unterbau/migrations/1";
  readonly migrations: readonly {
    readonly run: string;
    readonly guest: string;
    readonly clone: string;
    readonly targets: readonly string[];
    /** done, or the step that it stands at; retiring: the old disk is being destroyed, retired: it is. */
    readonly state: string;
  }[];
}

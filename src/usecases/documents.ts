/** The JSON documents that other programs rely on (docs/schemas). Plain data only: reports are made from these and nothing else. */

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json | undefined };

export interface FindingDocument {
  readonly severity: "info" | "warning" | "error";
  readonly code: string;
  readonly message: string;
  readonly layer: string;
  readonly offset?: number | undefined;
}

export interface NodeDocument {
  readonly id: string;
  readonly kind: string;
  readonly selector: string | null;
  /** Bytes in the parent, or null when it is not one run there. */
  readonly offset: number | null;
  /** Bytes. */
  readonly size: number;
  readonly details: { readonly [key: string]: Json | undefined };
  readonly findings: readonly FindingDocument[];
  readonly children: readonly NodeDocument[];
}

export interface VolumeDocument {
  readonly selector: string;
  readonly path: readonly string[];
  readonly kind: "filesystem" | "swap" | "unknown" | "locked";
  readonly type: string | null;
  readonly size: number;
  readonly uuid: string | null;
  readonly label: string | null;
  readonly state: string | null;
  readonly readable: boolean;
  readonly reason: string | null;
}

export interface InspectDocument {
  readonly schema: "unterbau/inspect/1";
  readonly tree: readonly NodeDocument[];
  readonly groups: readonly NodeDocument[];
  readonly volumes: readonly VolumeDocument[];
  readonly findings: readonly FindingDocument[];
}

/**
 * With `--live` only: `errors`, which cannot be repaired while the guest runs; `snapshot-invalid`, when the view of the running guest broke
 * off, so that what was found in it proves nothing.
 */
export type Verdict =
  | "clean"
  | "would-repair"
  | "repaired"
  | "errors-left"
  | "not-checked"
  | "errors"
  | "snapshot-invalid";

export interface CheckedVolumeDocument {
  readonly selector: string;
  readonly type: string | null;
  readonly verdict: Verdict;
  readonly reason: string | null;
  /** The checker's own exit code; null when it did not run or was ended by a signal. */
  readonly exitCode: number | null;
  /** Name and version of the checker. */
  readonly checker: string | null;
  /** What the checker printed. */
  readonly log: string;
  /** Bytes of the volume that differ from before (on the overlay in a preview). */
  readonly changedBytes: number;
  readonly seconds: number;
}

export interface ConvertDocument {
  readonly schema: "unterbau/convert/1";
  readonly sources: readonly string[];
  /** Null: the whole disk. */
  readonly volume: string | null;
  readonly target: string;
  readonly format: "raw" | "qcow2" | "luks";
  /** Bytes of the source. */
  readonly size: number;
  /** Bytes that were written, zeros aside; after an interruption those of the last part. */
  readonly writtenBytes: number;
  /** Where an interrupted copy went on; 0 for one from the start. */
  readonly continuedAt: number;
  /** All of it was read back and compared. */
  readonly verified: boolean;
  /** The container that was made (`--to-luks`); absent where none was. */
  readonly luks?: NewLuksDocument | undefined;
  readonly seconds: number;
}

/** A LUKS container as it was made. */
export interface NewLuksDocument {
  readonly version: 1 | 2;
  readonly uuid: string;
  /** As dm-crypt spells it. */
  readonly cipher: string;
  readonly keyBits: number;
  readonly hash: string;
  readonly pbkdf: string;
  /** Of the first keyslot: rounds of PBKDF2, passes of Argon2. */
  readonly iterations: number | null;
  /** Argon2 only. */
  readonly memoryKiB: number | null;
  readonly sectorSize: number;
  /** Bytes from the container's start to its payload. */
  readonly dataOffset: number;
  readonly keyslots: number;
}

/** A guest that was to be shut down for a check (`--shutdown`). */
export interface CheckedGuestDocument {
  readonly name: string;
  readonly uuid: string;
  /** As virsh domstate says it. */
  readonly stateBefore: string;
  /** How it was brought to be off; null: it was off already. */
  readonly shutDown: "acpi" | "forced" | null;
  /** It runs again. */
  readonly started: boolean;
  /** Why it could not be started, else null. */
  readonly startError: string | null;
}

export interface CheckDocument {
  readonly schema: "unterbau/check/1";
  /** The run's id, by which `undo` takes it back; null when nothing was committed. */
  readonly run: string | null;
  readonly mode: "preview" | "repair" | "live";
  readonly volumes: readonly CheckedVolumeDocument[];
  /** Only with `--live`. */
  readonly live?: {
    readonly guest: string;
    readonly uuid: string;
    /** Its file systems were frozen for the instant that was checked. */
    readonly quiesced: boolean;
    /** How it was seen. */
    readonly via: "backup" | "lvm-snapshot";
  };
  /** Only with `--shutdown`. */
  readonly guests?: readonly CheckedGuestDocument[];
  /** As fsck(8), OR-ed over all volumes. */
  readonly exitCode: number;
}

/** A device of the host that a disk rests on, and what that rests on. */
export interface HostDeviceDocument {
  readonly name: string;
  /** `crypt`, `lvm`, `raid1`, `partition`, `loop`, `disk`, `memory`, `network` and others. */
  readonly kind: string;
  readonly path: string;
  readonly below: readonly HostDeviceDocument[];
}

export interface LastCheckDocument {
  /** ISO 8601, UTC. */
  readonly checked: string;
  readonly mode: "preview" | "repair" | "live";
  /** The worst of all volumes. */
  readonly verdict: Verdict;
  /** All file systems were checked. */
  readonly complete: boolean;
  /** Something may have written to it since; null: that cannot be known of a block device. */
  readonly changedSince: boolean | null;
}

export interface GuestDiskDocument {
  /** `vda` */
  readonly target: string;
  readonly device: "disk" | "lun" | "cdrom" | "floppy";
  readonly format: string;
  readonly readOnly: boolean;
  readonly shareable: boolean;
  /** Path, NBD URI, or words for what has neither. */
  readonly place: string;
  /** Real path; null when it is not on this host, or not there. */
  readonly path: string | null;
  /** Bytes of the file or device. */
  readonly size: number | null;
  /** Real paths of the images below it. */
  readonly backing: readonly string[];
  /** For the disk and each image below it. */
  readonly restsOn: readonly HostDeviceDocument[];
  readonly encryption: {
    /** Every path from the disk down to a physical device crosses dm-crypt. */
    readonly host: boolean;
    /** LUKS in the disk itself. */
    readonly inside: "full" | "partial" | "none" | "unknown" | null;
    /** QEMU decrypts it, with a secret of libvirt's; else what is inside is the guest's own. */
    readonly byQemu: boolean;
  } | null;
  /** No byte of a volume comes to rest in the clear. */
  readonly encrypted: boolean;
  readonly lastCheck: LastCheckDocument | null;
  /** Why it cannot be looked at, else null. */
  readonly problem: string | null;
}

export interface GuestDocument {
  readonly name: string;
  readonly uuid: string;
  /** libvirt's URI; null: virsh's default. */
  readonly connection: string | null;
  /** As virsh domstate says it. */
  readonly state: string;
  readonly managedSave: boolean;
  readonly persistent: boolean;
  readonly nvram: string | null;
  /** All its disks are. */
  readonly encrypted: boolean;
  /** Its storage was migrated, or it is the copy that another guest was migrated to. */
  readonly migration: GuestMigrationDocument | null;
  readonly disks: readonly GuestDiskDocument[];
}

export interface GuestMigrationDocument {
  /** old: what is to be kept off. new: what took its place. */
  readonly role: "old" | "new";
  /** For `migrate` and `retire`. */
  readonly run: string;
  /** copying: neither is to be started until the migration went on or was taken back. */
  readonly state: "copying" | "done";
  /** The other one of both. `name`: null when nobody here knows it. `defined`: on a connection that was asked. */
  readonly partner: { readonly uuid: string; readonly name: string | null; readonly defined: boolean };
  /** Where the guest was before. kept: `retire` did not begin with it. unknown: who destroyed it keeps the record elsewhere. */
  readonly oldDisk: "kept" | "destroyed-in-part" | "destroyed" | "unknown";
  /** When its destruction was finished (ISO 8601, UTC), else null. */
  readonly retired: string | null;
}

export interface GuestsDocument {
  readonly schema: "unterbau/list/1";
  readonly guests: readonly GuestDocument[];
  readonly findings: readonly FindingDocument[];
}

/** One file in a volume. */
export interface FileDocument {
  /** As UTF-8; where it is none, `nameBase64` has the bytes. */
  readonly name: string;
  readonly nameBase64?: string;
  readonly type: "file" | "directory" | "symlink" | "char" | "block" | "fifo" | "socket";
  /** Octal, four digits: `0755`. */
  readonly mode: string;
  readonly uid: number;
  readonly gid: number;
  /** Bytes. */
  readonly size: number;
  readonly allocatedBytes: number;
  readonly links: number;
  readonly inode: number;
  /** ISO 8601 with nanoseconds. */
  readonly mtime: string;
  /** char and block only, else null. */
  readonly device: { readonly major: number; readonly minor: number } | null;
  /** What a symbolic link holds. */
  readonly target?: string;
  readonly targetBase64?: string;
}

export interface ListingDocument {
  readonly path: string;
  /** Sorted by the bytes of the names. */
  readonly entries: readonly FileDocument[];
}

/** What could not be read, or not be kept, and why. */
export interface ProblemDocument {
  readonly path: string;
  readonly message: string;
}

export interface ListDocument {
  readonly schema: "unterbau/ls/1";
  readonly volume: string;
  readonly path: string;
  /** The folder, and with -R those in it, each before what is in it. */
  readonly listings: readonly ListingDocument[];
  readonly problems: readonly ProblemDocument[];
}

export interface CopyDocument {
  readonly schema: "unterbau/cp/1";
  readonly volume: string;
  readonly path: string;
  /** Absolute path of the copy. */
  readonly destination: string;
  readonly files: number;
  readonly folders: number;
  /** Symbolic links and further names of files. */
  readonly links: number;
  readonly special: number;
  /** Bytes of data written; holes are not counted. */
  readonly bytes: number;
  readonly problems: readonly ProblemDocument[];
}

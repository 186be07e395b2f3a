/** One layer between a guest's file system and the disk. */
export interface TrimLinkDocument {
  /** `virtio`, `qcow2`, `raw`, `file system`, `crypt`, `lvm`, `raid1`, `partition`, `loop`, `disk` … */
  readonly layer: string;
  readonly name: string;
  /** Null: cannot be known. */
  readonly passes: boolean | null;
  readonly why: string;
  /** Commands, or XML, that let it pass; empty where there is nothing to do. */
  readonly turnOn: readonly string[];
  /** What turning it on gives away, or costs. */
  readonly givesAway: string | null;
}

export interface TrimMountDocument {
  readonly what: string;
  readonly where: string;
  readonly type: string;
  /** discard: with every deletion. timer: by fstrim.timer. never. unknown. */
  readonly sent: "discard" | "timer" | "never" | "unknown";
  /** Encrypted by the guest itself, and whether that passes TRIM. */
  readonly guestCrypt: "passes" | "drops" | "unknown" | null;
}

export interface TrimExplainDocument {
  readonly schema: "unterbau/trim-explain/1";
  readonly guest: string;
  readonly uuid: string;
  readonly state: string;
  readonly inside: {
    /** Why the guest's mounts are not known, else null. */
    readonly reason: string | null;
    readonly mounts: readonly TrimMountDocument[];
  };
  readonly disks: readonly {
    readonly target: string;
    readonly place: string;
    /** From the top down. */
    readonly links: readonly TrimLinkDocument[];
    /** The first layer that drops it; null: none does. */
    readonly stopsAt: string | null;
  }[];
  /** 0: TRIM gets from every disk down to its medium. */
  readonly exitCode: number;
}

export interface TrimRunDocument {
  readonly schema: "unterbau/trim-run/1";
  readonly guest: string;
  readonly uuid: string;
  /** Bytes that each disk has on the host, before and after; null for what is no file. */
  readonly disks: readonly {
    readonly target: string;
    readonly allocatedBefore: number | null;
    readonly allocatedAfter: number | null;
  }[];
  readonly remarks: readonly string[];
}

/** One thing that has to happen at the host's boot before the guest runs. */
export interface BootStepDocument {
  readonly kind: "crypt" | "volume" | "mount" | "libvirt" | "guest";
  readonly name: string;
  /** What will happen, for a person. */
  readonly how: string;
  /** False: this keeps the guest, or the whole host, from coming up; `hint` says what helps. */
  readonly ok: boolean;
  readonly hint: string | null;
}

/** A change of a file of the host. */
export interface BootChangeDocument {
  readonly path: string;
  readonly action: "create" | "edit" | "remove" | "enable" | "disable" | "autostart-on" | "autostart-off";
  /** As `diff -u` says it; null for what is no file. */
  readonly diff: string | null;
  /** Where the file is kept as it was before an edit; null when it was not ours to keep, or not changed yet. */
  readonly backup: string | null;
}

export interface BootDocument {
  readonly schema: "unterbau/boot/1";
  readonly action: "enable" | "disable" | "status";
  readonly guest: string;
  readonly uuid: string;
  readonly dryRun: boolean;
  /** `boot enable` was done for this guest. */
  readonly enabled: boolean;
  /** Whether the guest will run after the next boot, as it is now. */
  readonly willStart: "yes" | "after-passphrase" | "no";
  readonly steps: readonly BootStepDocument[];
  readonly changes: readonly BootChangeDocument[];
  readonly remarks: readonly string[];
  /** 0; 1: status finds that the guest will not start, or something could not be taken back. */
  readonly exitCode: number;
}

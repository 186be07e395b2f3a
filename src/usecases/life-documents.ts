/** One thing of the host that a guest needs, and what was done about it. */
export interface LifeStepDocument {
  readonly kind: "crypt" | "volume" | "mount" | "secret" | "guest";
  /** Name of the mapping, GROUP/VOLUME, mount point, disks that QEMU decrypts (`vda`), or the guest's name. */
  readonly name: string;
  /** As a person would type them; never with a secret. */
  readonly commands: readonly string[];
  /**
   * done: it was done now. already: nothing had to be done. planned: with --dry-run. failed: see reason. kept: another running guest or the
   * host itself needs it.
   */
  readonly outcome: "done" | "already" | "planned" | "failed" | "kept";
  readonly reason: string | null;
}

/** unlock and lock. */
export interface LifeDocument {
  readonly schema: "unterbau/unlock/1" | "unterbau/lock/1";
  readonly guest: string;
  readonly uuid: string;
  readonly dryRun: boolean;
  /** In the order in which they are done. */
  readonly steps: readonly LifeStepDocument[];
  /** What works now, and would not after the next boot of the host. */
  readonly remarks: readonly { readonly what: string; readonly hint: string }[];
  /** 0: all is as it was asked for; 1: something failed or is kept. */
  readonly exitCode: number;
}

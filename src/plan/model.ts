/** A piece of an argument: text, or the device that a step chose for itself. */
export type Part = string | { readonly ref: string };
/** One argument of a command, its pieces put together. */
export type Argument = readonly Part[];

/** The passphrase that a command wants: of the LUKS header with this UUID. */
export interface WantedKey {
  readonly uuid: string;
  /** Absolute path of the file that has it; null: it was typed, or came in another way that cannot be named. */
  readonly file: string | null;
}

export type Action =
  | {
      readonly kind: "run";
      readonly argv: readonly Argument[];
      /** Goes on while the step is done: a server. */
      readonly background?: boolean;
      /** Given as `--key-file`, after the command's second word. */
      readonly key?: WantedKey;
    }
  | { readonly kind: "write"; readonly path: string; readonly text: string }
  | { readonly kind: "remove"; readonly path: string };

/** How to see whether a step is done, and by us: nothing but looking. */
export type Probe =
  | { readonly kind: "path"; readonly path: string }
  /** A device-mapper device of this name. */
  | { readonly kind: "mapped"; readonly name: string }
  /** A volume group with an active volume. */
  | { readonly kind: "group"; readonly name: string }
  /** Any device-mapper device whose UUID begins so. */
  | { readonly kind: "uuid"; readonly prefix: string; readonly what: string }
  /** A loop device that shows this file or device from this byte on. */
  | { readonly kind: "loop"; readonly device: Argument; readonly backing: Argument; readonly offset: number }
  /** An nbd device that qemu-nbd serves from this file. */
  | { readonly kind: "nbd"; readonly device: Argument; readonly file: Argument }
  | { readonly kind: "mounted"; readonly path: string }
  /** A module of the kernel is there. */
  | { readonly kind: "module"; readonly name: string };

/** What the kernel is asked to do, how that is taken back, and how to tell which of both is the case. */
export interface Step {
  /** Unique in a plan; other steps refer to its device by it. A name for a variable of the shell. */
  readonly id: string;
  /** One line for a person. */
  readonly title: string;
  /** More lines: how an offset comes about, why something is done. */
  readonly notes: readonly string[];
  /** A free device of this kind is chosen before anything is done; the other steps know it by the id. */
  readonly choose: "loop" | "nbd" | null;
  readonly act: readonly Action[];
  /** What must not be there when it begins; null: nothing but the step itself. */
  readonly unless: Probe | null;
  /** Empty: it stays (a loaded module). Each may be done twice, and after half of `act`. */
  readonly undo: readonly Action[];
  readonly probe: Probe;
}

/** The work in the middle, on the devices that the steps made. */
export interface Check {
  readonly selector: string;
  /** As blkid's TYPE. */
  readonly type: string;
  readonly device: Argument;
  /** Null: nothing is installed anywhere that checks this type. */
  readonly argv: readonly Argument[] | null;
  /** The same when nobody can answer questions. */
  readonly unattended: readonly Argument[] | null;
}

export interface PlanGuest {
  readonly name: string;
  readonly uuid: string;
  /** libvirt's connection; null: virsh's own default. */
  readonly uri: string | null;
}

/** A runbook: steps in order, checks, the undo of the steps in reverse order. */
export interface Plan {
  /** Names all that is made: device-mapper names, the work folder. */
  readonly tag: string;
  /** A folder of the plan's own, made by its first step. */
  readonly work: string;
  /** Real paths of the files and devices of the host. */
  readonly sources: readonly string[];
  /** Guests of libvirt whose disks they are: they have to be shut off. */
  readonly guests: readonly PlanGuest[];
  /** Images inside, as the user named them. */
  readonly inside: readonly string[];
  /** Whether the checks may change the volumes. */
  readonly repair: boolean;
  readonly steps: readonly Step[];
  readonly checks: readonly Check[];
  /** Variables for every command. */
  readonly env: { readonly [name: string]: string };
}

/** The pieces of an argument with the devices put in. Throws when a step that it needs chose none: a plan refers backwards only. */
export function argumentText(argument: Argument, devices: ReadonlyMap<string, string>): string {
  return argument
    .map((part) => {
      if (typeof part === "string") return part;
      const device = devices.get(part.ref);
      if (device === undefined) throw new Error(`step ${part.ref} has no device`);
      return device;
    })
    .join("");
}

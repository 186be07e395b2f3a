/** What `audit` measures and what it says of it. Plain data: reports are written from it, in either language. */

/** `unknown` is never read as `pass`; `n-a`: there is nothing here that the check is about. */
export type State = "pass" | "warn" | "fail" | "unknown" | "n-a";

export type Lang = "de" | "en";

/** A sentence in both languages; `{name}` stands for a value of that name. */
export interface Text {
  readonly de: string;
  readonly en: string;
}

/** A value that a sentence names. Its kind decides who may read it: a client sees no paths, serial numbers, addresses or rules. */
export interface Value {
  readonly kind:
    | "path"
    | "serial"
    | "address"
    | "rule"
    | "person"
    | "guest"
    | "program"
    | "text"
    | "number"
    | "bytes"
    | "date";
  /** Dates are RFC 3339, bytes and numbers are numbers. */
  readonly value: string | number;
}

/** One thing that a check found. */
export interface Remark {
  readonly state: State;
  /** Names one of the check's sentences (`Check.sentences`). */
  readonly code: string;
  readonly values: Readonly<Record<string, Value>>;
}

export interface Verdict {
  /** The worst of its remarks: fail before unknown before warn before pass. */
  readonly state: State;
  readonly remarks: readonly Remark[];
}

/** A number of an outside catalogue, with the title that it has there; never its text. */
export interface Reference {
  readonly id: string;
  readonly title: string;
  /** GS++ renumbers: its own UUID stays. */
  readonly uuid?: string | undefined;
  /** IT-Grundschutz: B, S or H. */
  readonly level?: string | undefined;
}

/**
 * One check: what it reads, how it judges. `collect` reads and parses, and never throws for what is not there; `verdict` is pure, of JSON facts.
 * Facts say `null` for what could not be read.
 */
export interface Check<Facts> {
  /** `ENC-01`; stays for ever. */
  readonly id: string;
  /** Once for the host, or once for every guest. */
  readonly about: "host" | "guest";
  readonly title: Text;
  /** Letters of Art. 32(1) GDPR. */
  readonly letters: readonly ("a" | "b" | "c" | "d")[];
  readonly sdm: { readonly goal: string; readonly measures: readonly string[] };
  readonly itGrundschutz: readonly Reference[];
  readonly grundschutzPlusPlus: readonly Reference[];
  /** Why it matters, for somebody who does not know the subject. */
  readonly explanation: Text;
  /** What to do when it does not pass. */
  readonly remedy: Text;
  readonly sentences: Readonly<Record<string, Text>>;
  collect(context: CheckContext): Promise<Facts>;
  verdict(facts: Facts, rules: Rules): Verdict;
}

/** What a collector may use. */
export interface CheckContext {
  readonly host: HostReader;
  /** All guests of the host, with the layers under their disks; read once. */
  readonly guests: readonly AuditGuest[] | null;
  /** The one it is about; null for a check of the host. */
  readonly guest: AuditGuest | null;
  /** Says where to look (backups, deletion records); what is declared is judged in `verdict` only. */
  readonly declared: Declared | null;
  /** The guest's own configuration files; null when nobody asked for them to be read. */
  readonly inside: GuestFiles | null;
  /** Null: this run is not added to a chain. */
  readonly chain: ChainState | null;
}

/** The audits of this host before this one. */
export interface ChainState {
  readonly runs: number;
  /** When the last of them began, RFC 3339; null: there is none. */
  readonly last: string | null;
  /** What is wrong with the chain and the kept runs, in English. */
  readonly problems: readonly string[];
}

/** Configuration inside a guest that is read through the layers under it, without booting it. Nothing throws. */
export interface GuestFiles {
  /** Why nothing of it can be read (`locked`, another file system …); null: it can. */
  readonly problem: string | null;
  /** A symbolic link is followed inside the guest. Files beyond a megabyte are `unreadable`. */
  file(path: string): Promise<FileResult>;
  /** Names in a folder, sorted; null: not there. */
  list(path: string): Promise<readonly string[] | null>;
  /** The disk (`vda`) under the volume that the guest's fstab names so (`UUID=…`, `/dev/vg/lv`); null: not among its disks. */
  diskOf(volume: string): string | null;
}

/** What verdicts are measured against. */
export interface Rules {
  readonly policy: AuditPolicy;
  /** What the office declares of this host; null: nothing was declared. */
  readonly declared: Declared | null;
  /** The time of the run, RFC 3339. */
  readonly now: string;
}

/** Thresholds: a dated file that a user can replace (`--policy FILE`). Extended by the checks that need more. */
export interface AuditPolicy {
  /** `2026-11`. */
  readonly date: string;
  readonly ciphers: { readonly pass: readonly string[]; readonly warn: readonly string[] };
  readonly keyBits: number;
  readonly argon2MemoryKiB: number;
  readonly pbkdf2Iterations: number;
  readonly snapshotDays: number;
  readonly restoreTestMonths: { readonly pass: number; readonly warn: number };
  readonly tlsFloor: string;
  /** How long a security update may be pending. */
  readonly updateDays: { readonly pass: number; readonly warn: number };
  /** Last day of security updates, by ID and VERSION_ID of os-release(5): `debian 12`. */
  readonly releaseEnds: Readonly<Record<string, string>>;
  /** Days between two audits where nothing is declared (`auditEveryDays`). */
  readonly auditEveryDays: number;
}

/** The part of the declarations that checks are measured against (scope.yaml). */
export interface Declared {
  readonly guests: readonly { readonly name: string; readonly uuid: string }[];
  readonly values: Readonly<Record<string, unknown>>;
}

/** Reads a host: this one, or a recorded or mounted tree. Nothing throws: what is not there is said. All that is read becomes evidence. */
export interface HostReader {
  readonly recorded: boolean;
  /** Runs a program that only reads. `secrets`: patterns whose first group is replaced before anything is kept. */
  run(argv: readonly string[], options?: { readonly secrets?: readonly RegExp[] }): Promise<CommandResult>;
  file(path: string): Promise<FileResult>;
  /** Names in a folder, sorted; null: not there or not readable. */
  list(path: string): Promise<readonly string[] | null>;
  stat(path: string): Promise<FileStat | null>;
  /** The first bytes of a file or device, at most `length`. */
  head(path: string, length: number): Promise<Uint8Array | null>;
  /** Symbolic links followed, inside the tree. */
  real(path: string): Promise<string | null>;
}

export type CommandResult =
  | {
      readonly kind: "ran";
      readonly exit: number;
      readonly stdout: string;
      readonly stderr: string;
      readonly evidence: number;
    }
  /** Not installed, or not recorded. */
  | { readonly kind: "missing"; readonly program: string };

export type FileResult =
  | { readonly kind: "text"; readonly text: string; readonly evidence: number }
  | { readonly kind: "absent" }
  | { readonly kind: "unreadable"; readonly reason: string };

export interface FileStat {
  readonly type: "file" | "folder" | "block" | "link" | "socket" | "other";
  /** Permission bits, as of chmod(1). */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  /** RFC 3339. */
  readonly modified: string;
}

/** One layer under a disk, and all that it lies on. */
export interface AuditLayer {
  /** `image`, `backing image`, `file system`, `loop`, `lvm`, `raid1`, `crypt`, `partition`, `disk`, `multipath`, `memory`, `network`, `luks inside`, `unknown` */
  readonly kind: string;
  /** `dm-3`, `vg0-web`, `sda1`. */
  readonly name: string;
  readonly path: string | null;
  /** Of an active dm-crypt layer or a LUKS header: `aes-xts-plain64`. */
  readonly cipher: string | null;
  readonly keyBits: number | null;
  /** True when this very layer encrypts, with a real cipher. */
  readonly encrypts: boolean;
  /** Of a disk. */
  readonly medium: {
    readonly rotational: boolean | null;
    readonly transport: string | null;
    readonly model: string | null;
    readonly serial: string | null;
  } | null;
  readonly below: readonly AuditLayer[];
}

export interface AuditDisk {
  /** `vda`. */
  readonly target: string;
  /** `disk`, `cdrom`, `floppy`, `lun`, `nvram`. */
  readonly device: string;
  readonly format: string | null;
  readonly readOnly: boolean;
  /** For a person: a path, or the URL of a network disk. */
  readonly place: string;
  /** `yes` only when every way down crosses real encryption, or LUKS inside was proven by our own reader. */
  readonly encrypted: "yes" | "no" | "unknown";
  readonly layers: AuditLayer | null;
  readonly problem: string | null;
}

export interface AuditGuest {
  readonly name: string;
  readonly uuid: string;
  readonly state: string;
  readonly autostart: boolean | null;
  readonly disks: readonly AuditDisk[];
}

export interface CheckOutcome {
  readonly id: string;
  /** Name of the guest; null: of the host. */
  readonly guest: string | null;
  readonly state: State;
  /** RFC 3339, UTC. */
  readonly at: string;
  readonly remarks: readonly Remark[];
  /** What the verdict was made from. */
  readonly facts: unknown;
  /** Numbers of `AuditDocument.evidence`. */
  readonly evidence: readonly number[];
}

export interface EvidenceEntry {
  readonly n: number;
  readonly kind: "command" | "file" | "folder" | "bytes";
  /** A command's argv, else one path. */
  readonly what: readonly string[];
  readonly at: string;
  readonly exit: number | null;
  /** Version line of the program. */
  readonly version: string | null;
  /** SHA-256 in hex of what was read; of what is kept, where secrets were taken out. */
  readonly sha256: string;
  readonly sha256Redacted: string | null;
  readonly bytes: number;
  /** The kept output in the run's folder. */
  readonly file: string | null;
  /** Of a command: the beginning of what it wrote to standard error, where there is any. */
  readonly stderr?: string | undefined;
}

/** What `--sample` found of one mapping that is said to encrypt. */
export interface AuditSample {
  readonly mapping: string;
  readonly state: State;
  /** See `SampleFinding`; null: it could not be read. */
  readonly finding: "random" | "structured" | "same" | "unopened" | "empty" | "few" | null;
  readonly reason: string | null;
  /** Bytes that were judged. */
  readonly bytes: number;
  readonly pieces: number;
  readonly emptyPieces: number;
  /** 255 degrees of freedom. */
  readonly chiSquare: number | null;
  /** Share of places with the same byte below and above. */
  readonly equalShare: number | null;
  /** Of what was read below. */
  readonly sha256: string | null;
}

/** One run. As canonical JSON it is the manifest of the run's folder. */
export interface AuditDocument {
  readonly schema: "unterbau/audit/1";
  readonly run: string;
  readonly started: string;
  readonly ended: string;
  readonly program: { readonly name: "unterbau"; readonly version: string };
  readonly host: {
    readonly name: string | null;
    readonly machineIdSha256: string | null;
    readonly os: string | null;
    readonly kernel: string | null;
    /** The tree came by `--root`. */
    readonly recorded: boolean;
  };
  readonly policy: { readonly date: string; readonly file: string | null; readonly sha256: string };
  readonly guests: readonly AuditGuest[];
  readonly checks: readonly CheckOutcome[];
  /** Of `--sample`; absent: it was not asked for. */
  readonly samples?: readonly AuditSample[] | undefined;
  readonly evidence: readonly EvidenceEntry[];
  /** SHA-256 of the manifest before this one; null: the first. */
  readonly previous: string | null;
  readonly state: State;
}

import * as v from "valibot";
import type { Declared } from "./model.ts";

/** More of anything than an office declares. */
const MAX = 1000;
const TEXT = v.pipe(v.string(), v.trim(), v.minLength(1), v.maxLength(1000));
const MANY = <S extends v.GenericSchema>(schema: S) => v.pipe(v.array(schema), v.maxLength(MAX));
const DAY = v.pipe(v.string(), v.regex(/^\d{4}-\d{2}-\d{2}(T.*)?$/, "a date as 2026-11-24"));

/** `25`, `"1000-1010"` */
const PORT = v.union([
  v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(65535)),
  v.pipe(v.string(), v.regex(/^\d{1,5}(-\d{1,5})?$/, "a port, or two with - between them")),
]);

/** What a guest may reach. */
const EGRESS = v.object({
  /** A router filters instead of this host. */
  elsewhere: v.optional(v.boolean(), false),
  /** Servers for names and for time: addresses. */
  dns: v.optional(MANY(TEXT), []),
  ntp: v.optional(MANY(TEXT), []),
  peers: v.optional(
    MANY(
      v.object({
        name: TEXT,
        /** Addresses or networks; host names are looked up by `egress plan` only. */
        addresses: v.pipe(MANY(TEXT), v.minLength(1)),
        protocol: v.optional(v.picklist(["tcp", "udp"]), "tcp"),
        ports: v.pipe(MANY(PORT), v.minLength(1)),
      }),
    ),
    [],
  ),
});

const BACKUP = v.object({
  name: TEXT,
  kind: v.picklist(["borg", "restic", "timer", "file", "unterbau"]),
  /** A repository, the name of a timer, a file or folder. */
  place: TEXT,
  /** Names of the guests that it holds; absent: all. */
  guests: v.optional(MANY(TEXT)),
  intervalHours: v.pipe(v.number(), v.minValue(1)),
  /** What holds its password, as the backup program has it: a file. */
  passwordFile: v.optional(TEXT),
  /** The key is kept elsewhere too. */
  keyElsewhere: v.optional(v.boolean(), false),
  /** The medium is taken out, or the store takes additions only. */
  offline: v.optional(v.boolean(), false),
  appendOnly: v.optional(v.boolean(), false),
});

const RESTORE_TEST = v.object({
  date: DAY,
  /** LUKS was opened with the header's backup. */
  luksHeader: v.optional(v.boolean(), false),
  /** The log of the test, and its SHA-256 in hex. */
  log: v.optional(TEXT),
  sha256: v.optional(v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/, "64 hex digits"))),
  guests: v.optional(MANY(TEXT)),
});

const SPAM_SERVICE = v.object({
  /** `razor2`, `pyzor`, `dcc`, `rspamd-fuzzy`, or the zone of a block list: `zen.spamhaus.org`. */
  name: TEXT,
  /** What leaves: `checksum`, `address`, `url`, `full text`. */
  data: v.optional(TEXT),
  country: v.optional(TEXT),
});

const MAIL = v.object({
  /** Domains of clients, to which mail must be encrypted on its way. */
  tlsDomains: v.optional(MANY(TEXT), []),
  /** Selector of the guest's root volume, when it has several with an /etc. */
  volume: v.optional(TEXT),
});

/** A volume that was given up otherwise than by `retire`. */
const DELETION = v.object({
  /** Device, logical volume or file as it was called. */
  name: TEXT,
  date: DAY,
  serial: v.optional(TEXT),
  volumeUuid: v.optional(TEXT),
  medium: v.picklist(["hdd", "ssd", "other"]),
  wasPlaintext: v.boolean(),
  method: v.picklist([
    "random-overwrite",
    "random-overwrite-discard",
    "discard",
    "luks-erase",
    "luks-erase-and-headers",
    "sanitize",
    "reencrypt",
    "removed",
    "destroyed",
  ]),
  /** Destroyed or sanitized: who did it, and the number of the certificate. */
  operator: v.optional(TEXT),
  certificate: v.optional(TEXT),
  residualAccepted: v.optional(v.boolean(), false),
});

const PARTS = {
  /** Accounts that may manage guests. */
  admins: MANY(TEXT),
  egress: v.record(v.string(), EGRESS),
  backups: MANY(BACKUP),
  restoreTests: MANY(RESTORE_TEST),
  spamServices: MANY(SPAM_SERVICE),
  mail: v.record(v.string(), MAIL),
  deletions: MANY(DELETION),
  /** Days between two audits. */
  auditEveryDays: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(3660)),
} as const;

export type Part = keyof typeof PARTS;
export type PartOf<P extends Part> = v.InferOutput<(typeof PARTS)[P]>;
export type DeclaredEgress = v.InferOutput<typeof EGRESS>;
export type DeclaredBackup = v.InferOutput<typeof BACKUP>;
export type DeclaredDeletion = v.InferOutput<typeof DELETION>;

export type Said<T> =
  | { readonly kind: "said"; readonly value: T }
  | { readonly kind: "nothing" }
  /** `where`: the field, as `peers.0.ports`. */
  | { readonly kind: "wrong"; readonly where: string; readonly why: string };

/** One part of what is declared; docs/audit-scope.md says how it is written. */
export function declaredPart<P extends Part>(declared: Declared | null, part: P): Said<PartOf<P>> {
  const given = declared?.values[part];
  if (given === undefined || given === null) return { kind: "nothing" };
  const result = v.safeParse(PARTS[part], given);
  if (result.success) return { kind: "said", value: result.output as PartOf<P> };
  const [issue] = result.issues;
  const where = v.getDotPath(issue);
  return { kind: "wrong", where: where === null ? part : `${part}.${where}`, why: issue.message };
}

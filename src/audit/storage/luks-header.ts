/** A LUKS header as cryptsetup tells of it; no salt, no digest. */
export interface LuksHeader {
  readonly version: 1 | 2;
  readonly uuid: string | null;
  /** LUKS2: raised by every change of the header. */
  readonly epoch: number | null;
  /** Of every data segment: `crypt`, or `linear` where nothing is encrypted yet. Flagged ones (backups of a re-encryption) are left out. */
  readonly segments: readonly {
    readonly type: string;
    readonly cipher: string | null;
    readonly offset: number | null;
  }[];
  /** Of the volume key. */
  readonly keyBits: number | null;
  readonly keyslots: readonly Keyslot[];
  /** `systemd-tpm2`, `systemd-fido2`, `systemd-recovery`, `systemd-pkcs11`, `clevis`. */
  readonly tokens: readonly { readonly type: string; readonly keyslots: readonly string[] }[];
  /** `online-reencrypt-v2` */
  readonly requirements: readonly string[];
  /** Persistent flags: `allow-discards`. */
  readonly flags: readonly string[];
}

export interface Keyslot {
  readonly id: string;
  /** `argon2id`, `argon2i`, `pbkdf2`; null: not known. */
  readonly kdf: string | null;
  readonly iterations: number | null;
  readonly memoryKiB: number | null;
  /** A slot that opens no data. */
  readonly unbound: boolean;
}

/** `cryptsetup luksDump DEVICE` (cryptsetup 2.x, in the C locale): version, UUID, epoch, and of LUKS1 all. Null: it is none. */
export function parseDump(text: string): LuksHeader | null {
  const field = (name: string) => new RegExp(`^${name}:[ \\t]*(.*)$`, "m").exec(text)?.[1]?.trim() ?? null;
  const version = field("Version");
  const base = { uuid: field("UUID"), tokens: [], requirements: [], flags: [] };
  if (version === "2")
    return { ...base, version: 2, epoch: count(field("Epoch")), segments: [], keyBits: null, keyslots: [] };
  if (version !== "1") return null;
  const cipher = `${field("Cipher name")}-${field("Cipher mode")}`;
  const offset = count(field("Payload offset"));
  const keyslots = [...text.matchAll(/^Key Slot (\d+): ENABLED\n((?:[ \t].*\n?)*)/gm)].map(([, id, body]) => ({
    id: id!,
    kdf: "pbkdf2",
    iterations: count(/Iterations:\s*(\d+)/.exec(body!)?.[1] ?? null),
    memoryKiB: null,
    unbound: false,
  }));
  const segments = [{ type: "crypt", cipher, offset: offset === null ? null : offset * 512 }];
  return { ...base, version: 1, epoch: null, segments, keyBits: count(field("MK bits")), keyslots };
}

/** `cryptsetup luksDump --dump-json-metadata DEVICE` (LUKS2 on-disk format, 3): what the text does not tell as surely. Null: not understood. */
export function withMetadata(header: LuksHeader, text: string): LuksHeader | null {
  let json: Record<string, unknown>;
  try {
    json = record(JSON.parse(text));
  } catch {
    return null;
  }
  const bound = new Set(
    Object.values(record(json.digests)).flatMap((d) =>
      strings(record(d).segments).length > 0 ? strings(record(d).keyslots) : [],
    ),
  );
  const segments = Object.values(record(json.segments))
    .map(record)
    .filter((s) => strings(s.flags).length === 0)
    .map((s) => ({
      type: String(s.type),
      cipher: typeof s.encryption === "string" ? s.encryption : null,
      offset: count(s.offset),
    }));
  const slots = Object.entries(record(json.keyslots)).filter(([, slot]) => record(slot).type === "luks2");
  const keyslots = slots.map(([id, slot]): Keyslot => {
    const kdf = record(record(slot).kdf);
    return {
      id,
      kdf: typeof kdf.type === "string" ? kdf.type : null,
      iterations: count(kdf.iterations ?? kdf.time),
      memoryKiB: count(kdf.memory),
      unbound: !bound.has(id),
    };
  });
  const sizes = slots.filter(([id]) => bound.has(id)).map(([, slot]) => count(record(slot).key_size));
  const config = record(json.config);
  return {
    ...header,
    segments,
    keyBits: sizes[0] == null ? null : sizes[0] * 8,
    keyslots,
    tokens: Object.values(record(json.tokens)).map((t) => ({
      type: String(record(t).type),
      keyslots: strings(record(t).keyslots),
    })),
    requirements: strings(record(config.requirements).mandatory),
    flags: strings(config.flags),
  };
}

function record(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}

function strings(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((v) => typeof v === "string") : [];
}

function count(value: unknown): number | null {
  const n = typeof value === "string" && /^\d{1,15}\b/.test(value) ? Number.parseInt(value, 10) : value;
  return typeof n === "number" && Number.isSafeInteger(n) ? n : null;
}

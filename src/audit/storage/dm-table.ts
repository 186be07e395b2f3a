/** One line of a mapped device's table. */
export interface CryptSegment {
  /** `crypt`, `linear`, `striped` … */
  readonly target: string;
  /** Of a crypt target: `aes-xts-plain64`, or the kernel crypto API's name after `capi:`. */
  readonly cipher: string | null;
  readonly keyBits: number | null;
  /** `MAJOR:MINOR` or a path; of a crypt target. */
  readonly device: string | null;
  /** Sectors of 512 bytes. */
  readonly start: number;
  readonly length: number;
  readonly offset: number | null;
  /** Optional parameters: `allow_discards`. */
  readonly options: readonly string[];
}

const MAX_LINES = 100_000;

/**
 * `dmsetup table`: `NAME: START LENGTH TARGET …`, for crypt `CIPHER KEY IV-OFFSET DEVICE OFFSET [COUNT OPTION…]` (Linux,
 * Documentation/admin-guide/device-mapper/dm-crypt.rst). The key is zeros of its length, or `:BYTES:TYPE:NAME` in the kernel's keyring.
 */
export function parseDmTable(text: string): Map<string, CryptSegment[]> {
  const tables = new Map<string, CryptSegment[]>();
  for (const line of text.split("\n", MAX_LINES)) {
    const match = /^(\S+): (\d+) (\d+) (\S+) ?(.*)$/.exec(line);
    if (!match) continue;
    const [, name, start, length, target, rest] = match as unknown as [string, string, string, string, string, string];
    const words = rest.split(" ");
    const crypt = target === "crypt";
    const segment: CryptSegment = {
      target,
      cipher: crypt ? (words[0] ?? null) : null,
      keyBits: crypt ? keyBits(words[1] ?? "") : null,
      device: crypt ? (words[3] ?? null) : null,
      start: Number(start),
      length: Number(length),
      offset: crypt && /^\d+$/.test(words[4] ?? "") ? Number(words[4]) : null,
      options: crypt ? words.slice(6) : [],
    };
    tables.set(name, [...(tables.get(name) ?? []), segment]);
  }
  return tables;
}

function keyBits(field: string): number | null {
  const keyring = /^:(\d+):/.exec(field);
  if (keyring) return Number(keyring[1]) * 8;
  if (field === "-") return 0;
  // "[taken out]" stands where a key was shown after all.
  return /^[0-9a-f]+$/.test(field) ? field.length * 4 : null;
}

/** A cipher that hides something: not `cipher_null`, not an empty key. */
export function isReal({ target, cipher, keyBits }: CryptSegment): boolean {
  return target === "crypt" && cipher !== null && !/cipher_null/.test(cipher) && keyBits !== 0;
}

const HIDDEN = "[taken out]";

/**
 * What must not be kept, whoever asked for it: each pattern's first group. libvirt's XML holds passwords of consoles only when asked
 * (`--security-info`), `dmsetup table` zeros for keys; LUKS metadata holds salts, digests and keyslots' salts.
 */
const ALWAYS: readonly RegExp[] = [
  /\bpasswd=(?:"([^"]+)"|'([^']+)')/g,
  /<secret\b[^>]*\bvalue=(?:"([^"]+)"|'([^']+)')/g,
  /"(?:salt|digest)"\s*:\s*"([^"]+)"/g,
  // `cryptsetup luksDump`: hex digits in rows, the first beside its name.
  /^\s*(?:MK digest|MK salt|Salt|Digest):\s*((?:[0-9a-f]{2}[ \t]*)+(?:\n[ \t]+(?:[0-9a-f]{2}[ \t]*)+$)*)/gm,
  // `dmsetup table`: a key in clear, should it ever be there; zeros are shown instead of one.
  /\bcrypt \S+ ((?!0+ )[0-9a-f]{32,}) \d+ /g,
];

export interface Redacted {
  readonly text: string;
  /** Whether anything was taken out. */
  readonly changed: boolean;
}

/** The text without what the patterns' groups match. */
export function redact(text: string, more: readonly RegExp[] = []): Redacted {
  let out = text;
  for (const pattern of [...ALWAYS, ...more]) {
    const flags = new Set([...pattern.flags, "g", "d"]);
    let at = 0;
    const parts: string[] = [];
    for (const match of out.matchAll(new RegExp(pattern.source, [...flags].join("")))) {
      for (const range of match.indices?.slice(1) ?? []) {
        if (!range || range[0] < at || range[0] === range[1]) continue;
        parts.push(out.slice(at, range[0]), HIDDEN);
        at = range[1];
      }
    }
    if (parts.length > 0) out = parts.join("") + out.slice(at);
  }
  return { text: out, changed: out !== text };
}

/** LUKS (on-disk format 1.2.3, 2.1 and 2, 2.2): magic, version and UUID stay, salts and digests do not. */
export function redactHead(bytes: Uint8Array): { readonly bytes: Uint8Array; readonly changed: boolean } {
  const LUKS = [0x4c, 0x55, 0x4b, 0x53, 0xba, 0xbe];
  if (!LUKS.every((b, i) => bytes[i] === b)) return { bytes, changed: false };
  const out = new Uint8Array(bytes.length);
  out.set(bytes.subarray(0, 8));
  out.set(bytes.subarray(168, 208), Math.min(168, out.length));
  return { bytes: out, changed: true };
}

import * as v from "valibot";
import type { Declared } from "./model.ts";

const COUNT = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(32));

/** What is declared of one LUKS volume. */
const VOLUME = v.object({
  /** Keyslots by what opens them; what is not named is none. A key file's slot looks like a passphrase's: both count there. */
  keyslots: v.optional(
    v.object({
      passphrase: v.optional(COUNT, 0),
      recovery: v.optional(COUNT, 0),
      tpm2: v.optional(COUNT, 0),
      fido2: v.optional(COUNT, 0),
      pkcs11: v.optional(COUNT, 0),
      clevis: v.optional(COUNT, 0),
    }),
  ),
  /** Files. */
  headerBackups: v.optional(v.pipe(v.array(v.pipe(v.string(), v.startsWith("/"))), v.maxLength(20))),
  /** They lie on a medium that is not attached. */
  headerBackupOffline: v.optional(v.boolean(), false),
  /** Whether what the guest discards may show on the disk. */
  discard: v.optional(v.boolean()),
});

export type DeclaredVolume = v.InferOutput<typeof VOLUME>;

/** By the volume's UUID or its mapping's name, in `luks` of the scope file. Null: nothing was declared, or it is not understood. */
export function declaredVolume(declared: Declared | null, uuid: string | null, name: string): DeclaredVolume | null {
  const all = declared?.values.luks;
  if (typeof all !== "object" || all === null) return null;
  const entries = all as Record<string, unknown>;
  const key = uuid !== null && Object.hasOwn(entries, uuid) ? uuid : name;
  const result = v.safeParse(VOLUME, Object.hasOwn(entries, key) ? entries[key] : undefined);
  return result.success ? result.output : null;
}

import { StorageError } from "../core/errors.ts";
import type { KeyProvider, Secret } from "../core/layer.ts";
import { DEFAULT_LIMITS, type Limits } from "../core/limits.ts";
import { openUnlocked } from "../host/open-source.ts";
import { readLuksHeader } from "../layers/luks/layer.ts";
import type { LuksHeader } from "../layers/luks/types.ts";
import { type FormatParameters, luksAddKey, luksFormat } from "../tools/cryptsetup.ts";
import type { NewLuksDocument } from "./documents.ts";
import { type Policy, refuseShort, weaker, weaknesses } from "./luks-policy.ts";
import { newRecoveryKey, writeKeyFile } from "./recovery-key.ts";

/** Where the keys of a new container come from; asked again it gives the same ones. Whoever made it wipes them. */
export interface NewKeyProvider extends KeyProvider {
  /** `target` is named in the question. Throws `key` when there is none. */
  first(target: string): Promise<Secret>;
  /** A second passphrase or key file, where one was wished for. */
  second(target: string): Promise<Secret | null>;
  /** Shows a recovery key, once. Throws when there is nobody to show it to. */
  showRecoveryKey(key: Uint8Array, target: string): Promise<void>;
}

/** How a new container is made. */
export interface NewLuks {
  readonly parameters: FormatParameters;
  readonly policy: Policy;
  readonly keys: NewKeyProvider;
  /** A generated key in a keyslot of its own: into a new file, or shown. */
  readonly recoveryKey: { readonly file: string } | "show" | null;
}

export interface FormatOptions {
  /** What the container is called for a person; default: its path. */
  readonly name?: string | undefined;
  readonly limits?: Limits | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** The keys that a container will get; asked for before anything is written. Throws `usage` for one that is too short. */
export async function askKeys({ keys, policy }: NewLuks, target: string): Promise<readonly Secret[]> {
  const second = async () => (await keys.second(target)) ?? [];
  const secrets = [await keys.first(target), await second()].flat();
  for (const { bytes, origin } of secrets) refuseShort(bytes, origin, policy);
  const [first, other] = secrets;
  if (other && Buffer.compare(first!.bytes, other.bytes) === 0)
    throw new StorageError("usage", "the second key is the same as the first", { layer: "luks" });
  return secrets;
}

/**
 * Makes a LUKS container on a file or device, which loses what it holds, with all the keys that were wished for, and looks at what
 * cryptsetup has made of it. Throws `usage` when that is weaker than the policy. Until it returns there may be half a container.
 */
export async function formatLuks(path: string, luks: NewLuks, options: FormatOptions = {}): Promise<NewLuksDocument> {
  const { parameters, recoveryKey } = luks;
  const name = options.name ?? path;
  const [first, second] = await askKeys(luks, name);
  await luksFormat(path, parameters, first!.bytes, options);
  if (second) await luksAddKey(path, parameters, first!.bytes, second.bytes, options);
  if (recoveryKey !== null) {
    const key = newRecoveryKey();
    try {
      // Known to somebody before it opens anything.
      if (recoveryKey === "show") await luks.keys.showRecoveryKey(key, name);
      else writeKeyFile(recoveryKey.file, key);
      await luksAddKey(path, parameters, first!.bytes, key, options);
    } finally {
      key.fill(0);
    }
  }
  const header = await headerOf(path, options.limits);
  const keyslots = 1 + (second ? 1 : 0) + (recoveryKey ? 1 : 0);
  refuseOther(path, header, luks, keyslots);
  return newLuksDocument(header, parameters);
}

/** The verified header at the start of a file or device. */
export async function headerOf(path: string, limits: Limits = DEFAULT_LIMITS): Promise<LuksHeader> {
  await using device = openUnlocked(path);
  // Awaited here: the device is closed when this returns.
  return await readLuksHeader(device, { limits });
}

export function newLuksDocument(header: LuksHeader, parameters: FormatParameters): NewLuksDocument {
  const { version, cipher, keyBits, hash, sectorSize, dataOffset } = parameters;
  const [kdf] = header.keyslots.map((k) => k.kdf);
  return {
    version,
    uuid: header.uuid,
    cipher,
    keyBits,
    hash,
    pbkdf: kdf?.type ?? parameters.pbkdf,
    iterations: kdf === undefined ? null : kdf.type === "pbkdf2" ? kdf.iterations : kdf.time,
    memoryKiB: kdf === undefined || kdf.type === "pbkdf2" ? null : kdf.memoryKiB,
    sectorSize,
    dataOffset,
    keyslots: header.keyslots.length,
  };
}

/** cryptsetup measures this host and takes less memory where there is little: what it has made is what counts. */
function refuseOther(path: string, header: LuksHeader, { parameters, policy }: NewLuks, keyslots: number): void {
  const { payload } = header;
  const other = (what: string) =>
    new StorageError("io", `cryptsetup made another container on ${path} than it was told to: ${what}`, {
      layer: "luks",
    });
  if (header.kind !== `luks${parameters.version}`) throw other(header.kind);
  if ("refused" in payload) throw other(payload.refused);
  if (payload.offset !== parameters.dataOffset) throw other(`its payload starts at byte ${payload.offset}`);
  if (payload.sectorSize !== parameters.sectorSize) throw other(`sectors of ${payload.sectorSize} bytes`);
  if (payload.keyBytes * 8 !== parameters.keyBits) throw other(`a key of ${payload.keyBytes * 8} bits`);
  if (header.keyslots.length !== keyslots) throw other(`${header.keyslots.length} keyslots instead of ${keyslots}`);
  const weak = header.keyslots.flatMap(({ slot, kdf }) => {
    const made =
      kdf.type === "pbkdf2"
        ? { ...parameters, pbkdf: kdf.type, iterations: kdf.iterations }
        : { ...parameters, pbkdf: kdf.type, iterations: kdf.time, memoryKiB: kdf.memoryKiB };
    return weaknesses(made, policy).map((what) => `keyslot ${slot}: ${what}`);
  });
  if (weak.length > 0) throw weaker(weak, policy);
}

import { readFileSync } from "node:fs";
import { ioError, StorageError } from "../core/errors.ts";
import { isKnownCipher } from "../layers/luks/ciphers.ts";
import type { FormatParameters } from "../tools/cryptsetup.ts";

/** What the user says of a new LUKS container; what is left out, the policy says. */
export type FormatWishes = {
  readonly [Name in keyof Omit<FormatParameters, "dataOffset">]?: FormatParameters[Name] | undefined;
};

/** The least that may be made. */
interface Least {
  readonly versions: readonly number[];
  readonly ciphers: readonly string[];
  readonly keyBits: number;
  readonly hashes: readonly string[];
  readonly pbkdfs: readonly string[];
  readonly pbkdf2Iterations: number;
  readonly argon2Iterations: number;
  readonly memoryKiB: number;
  readonly passphraseBytes: number;
}

interface Defaults {
  readonly version: 1 | 2;
  readonly cipher: string;
  readonly keyBits: number;
  readonly hash: string;
  readonly pbkdf: FormatParameters["pbkdf"];
  readonly iterTimeMs: number;
  readonly memoryKiB: number;
  readonly parallel: number;
  readonly sectorSize: number;
}

/** What new containers are made with, and the least that is allowed. */
export interface Policy {
  /** The file it is from; null: built in. */
  readonly file: string | null;
  readonly default: Defaults;
  readonly least: Least;
}

/** Bytes from the start of a container to its payload: what cryptsetup itself takes on a large device (cryptsetup(8), --offset). */
export const DATA_OFFSET: Readonly<Record<1 | 2, number>> = { 1: 2 * 1024 * 1024, 2: 16 * 1024 * 1024 };

/** A policy is a page of text. */
const MAX_FILE = 64 * 1024;

export const BUILT_IN: Policy = {
  file: null,
  default: {
    version: 2,
    cipher: "aes-xts-plain64",
    // Two keys of AES-256.
    keyBits: 512,
    hash: "sha512",
    pbkdf: "argon2id",
    iterTimeMs: 2000,
    memoryKiB: 1024 * 1024,
    parallel: 4,
    sectorSize: 512,
  },
  least: {
    versions: [1, 2],
    ciphers: ["aes-xts-plain64"],
    keyBits: 256,
    hashes: ["sha256", "sha384", "sha512", "sha3-256", "sha3-512"],
    pbkdfs: ["argon2id", "pbkdf2"],
    // OWASP, "Password Storage Cheat Sheet": PBKDF2-HMAC-SHA512.
    pbkdf2Iterations: 210_000,
    // RFC 9106, 4: the second recommended option has three passes over 64 MiB; cryptsetup makes at least four.
    argon2Iterations: 4,
    memoryKiB: 64 * 1024,
    passphraseBytes: 8,
  },
};

/** Reads a policy file (JSON); what it does not say is as built in. Throws `usage` for what is not understood. */
export function readPolicy(path: string | undefined): Policy {
  if (path === undefined) return BUILT_IN;
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw ioError(error, `cannot read the policy ${path}`);
  }
  const bad = (why: string) =>
    new StorageError("usage", `the policy ${path} is not understood: ${why}`, {
      hint: 'for example: {"schema":"unterbau/luks-policy/1","default":{"version":2},"least":{"versions":[2],"keyBits":512}}',
    });
  if (text.length > MAX_FILE) throw bad(`it has more than ${MAX_FILE} characters`);
  let given: unknown;
  try {
    given = JSON.parse(text);
  } catch (error) {
    throw bad(error instanceof Error ? error.message : "no JSON");
  }
  if (!isRecord(given) || given.schema !== "unterbau/luks-policy/1")
    throw bad('"schema" is not unterbau/luks-policy/1');
  const { schema: _, ...parts } = given;
  for (const name of Object.keys(parts))
    if (name !== "default" && name !== "least") throw bad(`"${name}" is not known`);
  const policy: Policy = {
    file: path,
    default: merged(BUILT_IN.default, parts.default, "default", bad),
    least: merged(BUILT_IN.least, parts.least, "least", bad),
  };
  // A default that its own policy forbids would be found only when somebody has waited for it.
  parametersFor({}, policy);
  return policy;
}

/** The file's members over those built in; each must be known and of the same kind. */
function merged<T extends object>(base: T, given: unknown, where: string, bad: (why: string) => StorageError): T {
  if (given === undefined) return base;
  if (!isRecord(given)) throw bad(`"${where}" is no object`);
  const known = base as Record<string, unknown>;
  for (const [name, value] of Object.entries(given)) {
    const like = known[name];
    if (like === undefined) throw bad(`"${where}.${name}" is not known`);
    const fits = Array.isArray(like)
      ? Array.isArray(value) && value.length > 0 && value.every((v) => typeof v === typeof like[0])
      : typeof value === typeof like && (typeof value !== "number" || (Number.isSafeInteger(value) && value >= 0));
    if (!fits) throw bad(`"${where}.${name}" is not of the right kind`);
  }
  return { ...base, ...given };
}

/** All parameters of a new container. Throws `usage`, naming each value that is weaker than the policy allows or makes no sense. */
export function parametersFor(wishes: FormatWishes, policy: Policy): FormatParameters {
  const version = wishes.version ?? policy.default.version;
  const said = Object.fromEntries(Object.entries(wishes).filter(([, value]) => value !== undefined)) as Partial<
    Omit<FormatParameters, "dataOffset">
  >;
  const parameters: FormatParameters = {
    ...policy.default,
    iterations: null,
    label: null,
    uuid: null,
    // LUKS1 knows one key derivation and one sector size only.
    ...(version === 1 ? { pbkdf: "pbkdf2", sectorSize: 512 } : {}),
    ...said,
    dataOffset: DATA_OFFSET[version],
  };
  refuseNonsense(parameters);
  const weak = weaknesses(parameters, policy);
  if (weak.length > 0) throw weaker(weak, policy);
  return parameters;
}

/** Throws `usage` when a passphrase or key file is shorter than the policy allows. `origin` names it; its bytes are shown nowhere. */
export function refuseShort(secret: Uint8Array, origin: string, policy: Policy): void {
  const least = Math.max(1, policy.least.passphraseBytes);
  if (secret.length >= least) return;
  throw new StorageError("usage", `the key from ${origin} is shorter than ${least} bytes`, {
    layer: "luks",
    hint:
      secret.length === 0
        ? "give a passphrase or key file"
        : `take a longer one; the least is set by ${policyName(policy)} (another one: --policy FILE, least.passphraseBytes)`,
  });
}

export function weaker(weak: readonly string[], policy: Policy): StorageError {
  return new StorageError("usage", `weaker than the policy allows: ${weak.join("; ")}`, {
    layer: "luks",
    hint: `the least is set by ${policyName(policy)}; another one: --policy FILE`,
  });
}

/** In what these parameters fall short of the policy, each by name. */
export function weaknesses(
  p: Pick<FormatParameters, "version" | "cipher" | "keyBits" | "hash" | "pbkdf" | "iterations" | "memoryKiB">,
  { least }: Policy,
): string[] {
  const found: string[] = [];
  const among = (name: string, value: string | number, allowed: readonly (string | number)[]) => {
    if (!allowed.includes(value)) found.push(`${name} ${value} (allowed: ${allowed.join(", ")})`);
  };
  const atLeast = (name: string, value: number | null, bound: number) => {
    if (value !== null && value < bound) found.push(`${name} ${value} (least: ${bound})`);
  };
  among("LUKS version", p.version, least.versions);
  among("cipher", p.cipher, least.ciphers);
  atLeast("key size", p.keyBits, least.keyBits);
  among("hash", p.hash, least.hashes);
  among("key derivation", p.pbkdf, least.pbkdfs);
  if (p.pbkdf === "pbkdf2") atLeast("iterations", p.iterations, least.pbkdf2Iterations);
  else {
    atLeast("iterations", p.iterations, least.argon2Iterations);
    atLeast("memory in KiB", p.memoryKiB, least.memoryKiB);
  }
  return found;
}

function refuseNonsense(p: FormatParameters): void {
  const no = (what: string, hint?: string) => new StorageError("usage", what, { layer: "luks", hint });
  if (p.version === 1 && p.pbkdf !== "pbkdf2")
    throw no(`LUKS1 has no ${p.pbkdf}: its key derivation is pbkdf2`, "leave --pbkdf out, or make LUKS2");
  if (p.version === 1 && p.sectorSize !== 512) throw no("LUKS1 encrypts sectors of 512 bytes only", "or make LUKS2");
  if (p.version === 1 && p.label !== null) throw no("LUKS1 has no label", "or make LUKS2");
  if (![512, 1024, 2048, 4096].includes(p.sectorSize))
    throw no(`sectors of ${p.sectorSize} bytes are not possible`, "512, 1024, 2048 or 4096");
  if (!isKnownCipher(p.cipher, p.keyBits)) {
    throw new StorageError("unsupported", `${p.cipher} with a key of ${p.keyBits} bits is not written here`, {
      layer: "luks",
      feature: `${p.cipher}, ${p.keyBits} bits`,
      hint: "aes-xts-plain64 with 512 or 256 bits",
    });
  }
}

function policyName({ file }: Policy): string {
  return file ?? "the built-in policy";
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

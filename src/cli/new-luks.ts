import { StorageError } from "../core/errors.ts";
import type { NewLuks } from "../usecases/luks-format.ts";
import { parametersFor, readPolicy } from "../usecases/luks-policy.ts";
import type { NewLuksFlags } from "./luks-options.ts";
import { NewKeys } from "./new-keys.ts";
import { hasTerminal } from "./tty.ts";

/** The keys that the flags name, or that are typed. */
export function newKeysFrom(flags: NewLuksFlags & { readonly prompt: boolean }): NewKeys {
  const { targetKeyFile, secondKeyFile, secondPassphrase, prompt } = flags;
  return new NewKeys({ keyFile: targetKeyFile, secondKeyFile, secondPassphrase: secondPassphrase ?? false, prompt });
}

/** The container that the flags describe. Throws `usage` when the policy forbids it. */
export function newLuksFrom(flags: NewLuksFlags, keys: NewKeys): NewLuks {
  const policy = readPolicy(flags.policy);
  const parameters = parametersFor(
    {
      version: flags.luks1 ? 1 : undefined,
      cipher: flags.cipher,
      keyBits: flags.keySize,
      hash: flags.hash,
      pbkdf: flags.pbkdf,
      iterTimeMs: flags.iterTime,
      iterations: flags.pbkdfForceIterations,
      memoryKiB: flags.pbkdfMemory,
      parallel: flags.pbkdfParallel,
      sectorSize: flags.sectorSize,
      label: flags.label,
      uuid: flags.uuid,
    },
    policy,
  );
  const { recoveryKeyFile, recoveryKey } = flags;
  if (recoveryKey && !hasTerminal()) {
    throw new StorageError("usage", "there is no terminal to show the recovery key on", {
      hint: "--recovery-key-file FILE writes it into a new file",
    });
  }
  return {
    parameters,
    policy,
    keys,
    recoveryKey: recoveryKeyFile !== undefined ? { file: recoveryKeyFile } : recoveryKey ? "show" : null,
  };
}

const NEW_ONLY = [
  "luks1",
  "cipher",
  "keySize",
  "hash",
  "pbkdf",
  "iterTime",
  "pbkdfForceIterations",
  "pbkdfMemory",
  "pbkdfParallel",
  "sectorSize",
  "label",
  "uuid",
  "policy",
  "secondKeyFile",
  "secondPassphrase",
  "recoveryKey",
  "recoveryKeyFile",
] as const satisfies readonly (keyof NewLuksFlags)[];

/** Throws `usage` when a flag describes a new container although none is made. */
export function refuseNewLuksFlags(flags: NewLuksFlags): void {
  const given = NEW_ONLY.find((name) => flags[name] !== undefined);
  if (given === undefined) return;
  const option = given.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`);
  throw new StorageError("usage", `--${option} is for a container that is made`, { hint: "--to-luks makes one" });
}

import { printable } from "../bytes/text.ts";
import { StorageError } from "../core/errors.ts";
import { type CryptEntry, cryptOption } from "../host/crypttab.ts";
import { cryptsetupUnit } from "../host/unit-names.ts";

/** How a line of crypttab(5) is opened. */
export type Opening =
  | {
      readonly by: "cryptsetup";
      readonly options: readonly string[];
      /** Tried before anybody is asked; with what limits what is read of it. */
      readonly keyFile: string | null;
      readonly keyOptions: readonly string[];
    }
  /** A token (TPM2, FIDO2, PKCS#11) or a key on a medium of its own, which systemd-cryptsetup(8) knows how to ask. */
  | { readonly by: "systemd"; readonly unit: string };

const PLAIN_OPTIONS: { readonly [option: string]: string } = {
  discard: "--allow-discards",
  readonly: "--readonly",
  "read-only": "--readonly",
  "same-cpu-crypt": "--perf-same_cpu_crypt",
  "submit-from-crypt-cpus": "--perf-submit_from_crypt_cpus",
  "no-read-workqueue": "--perf-no_read_workqueue",
  "no-write-workqueue": "--perf-no_write_workqueue",
};
const VALUE_OPTIONS = ["header", "key-slot"];
const KEY_OPTIONS = ["keyfile-offset", "keyfile-size"];
const TOKENS = ["tpm2-device", "fido2-device", "pkcs11-uri"];
const REFUSED = ["plain", "tcrypt", "bitlk", "fvault2", "swap", "tmp", "tcrypt-hidden", "tcrypt-system"];

/** Throws `unsupported` for what is no LUKS, by the option's name. */
export function openingOf(entry: CryptEntry): Opening {
  const other = REFUSED.find((o) => cryptOption(entry, o) !== null);
  if (other !== undefined) {
    throw new StorageError(
      "unsupported",
      `${printable(entry.name)} (line ${entry.line} of crypttab) is no LUKS volume`,
      {
        layer: "crypttab",
        feature: other,
        hint: `systemctl start '${cryptsetupUnit(entry.name)}' opens it`,
      },
    );
  }
  const { keyFile } = entry;
  const onMedium = keyFile?.startsWith("/") === true && /:[A-Z]+=|:\/dev\//.test(keyFile);
  if (onMedium || TOKENS.some((t) => cryptOption(entry, t) !== null))
    return { by: "systemd", unit: cryptsetupUnit(entry.name) };
  const valued = (names: readonly string[]) =>
    names.flatMap((name) => {
      const value = cryptOption(entry, name);
      return typeof value === "string" ? [`--${name}=${value}`] : [];
    });
  const plain = Object.entries(PLAIN_OPTIONS).flatMap(([name, option]) =>
    cryptOption(entry, name) === null ? [] : [option],
  );
  return {
    by: "cryptsetup",
    options: [...new Set(plain), ...valued(VALUE_OPTIONS)],
    keyFile,
    keyOptions: valued(KEY_OPTIONS),
  };
}

/** crypttab(5): without a key file, these are looked for. */
export function usualKeyFiles(name: string): string[] {
  return [`/etc/cryptsetup-keys.d/${name}.key`, `/run/cryptsetup-keys.d/${name}.key`];
}

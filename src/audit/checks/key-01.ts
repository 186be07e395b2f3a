import { cryptOption, parseCrypttab } from "../../host/crypttab.ts";
import { KEY_01 } from "../catalogue/key.ts";
import type { Check, Remark } from "../model.ts";
import { kernelParameters } from "../parse/settings-line.ts";
import { encryptionOf, storageOf } from "../storage/layers.ts";
import { remark, value, verdictOf } from "../verdict.ts";

type Way = "passphrase" | "fido2" | "pkcs11" | "tpm2-pin" | "tpm2" | "network" | "random" | "script" | "keyfile";

interface Facts {
  /** Null: /etc/crypttab cannot be read. */
  readonly entries:
    | readonly {
        readonly name: string;
        readonly way: Way;
        readonly keyFile: string | null;
        readonly keyOn: "yes" | "no" | "unknown" | null;
      }[]
    | null;
  /** Key files that the kernel's command line names. */
  readonly bootKeys: readonly string[];
}

const STATES: Readonly<Record<Exclude<Way, "keyfile">, "pass" | "warn">> = {
  passphrase: "pass",
  fido2: "pass",
  pkcs11: "pass",
  "tpm2-pin": "pass",
  random: "pass",
  tpm2: "warn",
  network: "warn",
  script: "warn",
};

export const key01: Check<Facts> = {
  ...KEY_01,
  about: "host",
  explanation: {
    de: "Verschlüsselung schützt nur, wenn der Schlüssel nicht mitgestohlen wird. Liegt er lesbar auf demselben Rechner oder gibt ihn ein TPM ohne PIN beim Einschalten heraus, schützt sie einen gestohlenen Rechner kaum.",
    en: "Encryption protects only when the key is not stolen along with it. Where it lies readable on the same machine, or a TPM gives it out at power-on without a PIN, it hardly protects a machine that is stolen.",
  },
  remedy: {
    de: "Lassen Sie die Passphrase eingeben oder verlangen Sie FIDO2 oder TPM2 mit PIN (`systemd-cryptenroll --tpm2-device=auto --tpm2-with-pin=yes GERÄT`); entfernen Sie Schlüsseldateien von unverschlüsselten Dateisystemen und aus der Kernel-Kommandozeile.",
    en: "Have the passphrase typed, or ask for FIDO2 or TPM2 with a PIN (`systemd-cryptenroll --tpm2-device=auto --tpm2-with-pin=yes DEVICE`); remove key files from unencrypted file systems and from the kernel's command line.",
  },
  sentences: {
    passphrase: { de: "{volume} verlangt eine eingegebene Passphrase.", en: "{volume} asks for a typed passphrase." },
    fido2: { de: "{volume} wird mit einem FIDO2-Token geöffnet.", en: "{volume} is opened with a FIDO2 token." },
    pkcs11: {
      de: "{volume} wird mit einer Chipkarte geöffnet (PKCS#11).",
      en: "{volume} is opened with a smart card (PKCS#11).",
    },
    "tpm2-pin": { de: "{volume} wird vom TPM mit PIN geöffnet.", en: "{volume} is opened by the TPM with a PIN." },
    random: {
      de: "{volume} bekommt bei jedem Start einen neuen Zufallsschlüssel.",
      en: "{volume} gets a new random key at every start.",
    },
    tpm2: {
      de: "{volume} wird vom TPM ohne PIN geöffnet: Wer den ganzen Rechner hat, bekommt ihn entsperrt.",
      en: "{volume} is opened by the TPM without a PIN: whoever has the whole machine gets it unlocked.",
    },
    network: {
      de: "{volume} wird über das Netz geöffnet (Clevis/Tang).",
      en: "{volume} is opened over the network (Clevis/Tang).",
    },
    script: {
      de: "{volume} wird von einem Programm geöffnet (keyscript); woher es den Schlüssel hat, wurde nicht geprüft.",
      en: "{volume} is opened by a program (keyscript); where it has the key from was not looked at.",
    },
    "keyfile-encrypted": {
      de: "{volume} wird mit der Schlüsseldatei {file} geöffnet, die selbst verschlüsselt liegt.",
      en: "{volume} is opened with the key file {file}, which lies encrypted itself.",
    },
    "keyfile-plain": {
      de: "{volume} wird mit der Schlüsseldatei {file} geöffnet, die unverschlüsselt liegt.",
      en: "{volume} is opened with the key file {file}, which lies unencrypted.",
    },
    "keyfile-unknown": {
      de: "Worauf die Schlüsseldatei {file} von {volume} liegt, ist nicht feststellbar.",
      en: "What the key file {file} of {volume} lies on cannot be determined.",
    },
    "boot-key": {
      de: "Die Kernel-Kommandozeile nennt eine Schlüsseldatei: {file}.",
      en: "The kernel's command line names a key file: {file}.",
    },
    "by-hand": {
      de: "Beim Start wird kein Volume selbsttätig geöffnet (/etc/crypttab ist leer oder nicht da).",
      en: "No volume is opened at boot (/etc/crypttab is empty or not there).",
    },
  },
  collect: async ({ host }) => {
    const [table, cmdline, storage] = await Promise.all([
      host.file("/etc/crypttab"),
      host.file("/proc/cmdline"),
      storageOf(host),
    ]);
    const bootKeys = cmdline.kind === "text" ? kernelParameters(cmdline.text, "rd.luks.key") : [];
    if (table.kind === "unreadable") return { entries: null, bootKeys: bootKeys.map(String) };
    const entries = [];
    for (const entry of parseCrypttab(table.kind === "text" ? table.text : "")) {
      const way = wayOf(entry);
      const path = entry.keyFile?.replace(/:.*$/, "") ?? null;
      const there = way === "keyfile" && path !== null && (await host.stat(path)) !== null;
      const keyOn = way !== "keyfile" ? null : there ? encryptionOf(await storage.under(path)) : "unknown";
      entries.push({ name: entry.name, way, keyFile: way === "keyfile" ? entry.keyFile : null, keyOn });
    }
    return { entries, bootKeys: bootKeys.map(String) };
  },
  verdict: ({ entries, bootKeys }) => {
    const found: Remark[] = bootKeys.map((file) => remark("fail", "boot-key", { file: value.path(file) }));
    if (entries === null) found.push(remark("unknown", "file-unreadable", { file: value.path("/etc/crypttab") }));
    else if (entries.length === 0) found.push(remark("pass", "by-hand"));
    for (const { name, way, keyFile, keyOn } of entries ?? []) {
      const volume = value.text(name);
      if (way !== "keyfile") {
        found.push(remark(STATES[way], way, { volume }));
        continue;
      }
      const values = { volume, file: value.path(keyFile ?? "?") };
      if (keyOn === "yes") found.push(remark("warn", "keyfile-encrypted", values));
      else
        found.push(
          keyOn === "no" ? remark("fail", "keyfile-plain", values) : remark("unknown", "keyfile-unknown", values),
        );
    }
    return verdictOf(found);
  },
};

/** crypttab(5), of systemd and of Debian's cryptsetup-initramfs. */
function wayOf(entry: ReturnType<typeof parseCrypttab>[number]): Way {
  const has = (name: string) => cryptOption(entry, name) !== null;
  if (has("fido2-device")) return "fido2";
  if (has("pkcs11-uri")) return "pkcs11";
  if (has("tpm2-device"))
    return cryptOption(entry, "tpm2-pin") === "yes" || cryptOption(entry, "tpm2-pin") === "true" ? "tpm2-pin" : "tpm2";
  if (has("keyscript")) return cryptOption(entry, "keyscript") === "decrypt_keyctl" ? "passphrase" : "script";
  if (entry.keyFile === null) return has("_netdev") && has("tang") ? "network" : "passphrase";
  return /^\/dev\/u?random$/.test(entry.keyFile) ? "random" : "keyfile";
}

import { ENC_06 } from "../catalogue/enc.ts";
import { type DeclaredVolume, declaredVolume } from "../declared-luks.ts";
import type { Check, Declared, Remark } from "../model.ts";
import { type CryptVolume, type CryptVolumes, luksVolumes, noVolumes } from "../storage/crypt-volumes.ts";
import { storageOf } from "../storage/layers.ts";
import type { LuksHeader } from "../storage/luks-header.ts";
import { remark, value, verdictOf } from "../verdict.ts";

type Kind = keyof NonNullable<DeclaredVolume["keyslots"]>;
const KINDS: readonly Kind[] = ["passphrase", "recovery", "tpm2", "fido2", "pkcs11", "clevis"];

export const enc06: Check<CryptVolumes> = {
  ...ENC_06,
  about: "guest",
  explanation: {
    de: "Jeder Keyslot ist ein Weg zu allen Daten. Einer, von dem niemand weiß, ist eine Hintertür; gibt es nur einen, der an einem TPM hängt, sind die Daten mit dem Mainboard verloren. Deshalb gehört zu jedem Volume eine Liste seiner Keyslots und ein Wiederherstellungsschlüssel.",
    en: "Every keyslot is a way to all data. One that nobody knows of is a back door; where the only one hangs on a TPM, the data are lost with the mainboard. So every volume needs a list of its keyslots, and a recovery key.",
  },
  remedy: {
    de: "Entfernen Sie, was nicht erklärt ist (`cryptsetup luksKillSlot GERÄT N`), legen Sie einen Wiederherstellungsschlüssel an (`systemd-cryptenroll --recovery-key GERÄT`) und tragen Sie den Bestand in scope.yaml unter `luks` ein. Erneuern Sie danach die Header-Sicherung.",
    en: "Remove what is not declared (`cryptsetup luksKillSlot DEVICE N`), add a recovery key (`systemd-cryptenroll --recovery-key DEVICE`) and write what there is into scope.yaml under `luks`. Renew the header's backup then.",
  },
  sentences: {
    "as-declared": {
      de: "{volume}: {slots} Keyslots, wie erklärt ({kinds}).",
      en: "{volume}: {slots} keyslots, as declared ({kinds}).",
    },
    "more-than-declared": {
      de: "{volume}: {found} Keyslots der Art {kind}, erklärt sind {declared}.",
      en: "{volume}: {found} keyslots of the kind {kind}, {declared} are declared.",
    },
    "fewer-than-declared": {
      de: "{volume}: nur {found} Keyslots der Art {kind}, erklärt sind {declared}.",
      en: "{volume}: only {found} keyslots of the kind {kind}, {declared} are declared.",
    },
    "undeclared-network": {
      de: "{volume}: ein Keyslot wird über Clevis geöffnet, und das ist nicht erklärt.",
      en: "{volume}: a keyslot is opened by Clevis, and that is not declared.",
    },
    "only-tpm2": {
      de: "{volume}: Nur das TPM öffnet dieses Volume; mit dem Mainboard wären die Daten verloren.",
      en: "{volume}: only the TPM opens this volume; with the mainboard the data would be lost.",
    },
    "no-recovery": {
      de: "{volume}: Ein Wiederherstellungsschlüssel ist nicht vorhanden.",
      en: "{volume}: there is no recovery key.",
    },
    "not-declared-slots": {
      de: "{volume}: {slots} Keyslots ({kinds}); welche es sein sollen, ist nicht erklärt.",
      en: "{volume}: {slots} keyslots ({kinds}); which there should be is not declared.",
    },
    "no-keyslots": {
      de: "{volume} hat keinen Keyslot: Nach dem Schließen kommt niemand mehr an die Daten.",
      en: "{volume} has no keyslot: once it is closed, nobody gets at the data any more.",
    },
    "no-header": {
      de: "Der Header von {volume} ist nicht lesbar ({reason}).",
      en: "The header of {volume} cannot be read ({reason}).",
    },
  },
  collect: async ({ guest, host }) => luksVolumes(guest, host, await storageOf(host)),
  verdict: ({ volumes, known }, { declared }) =>
    verdictOf(volumes.length === 0 ? [noVolumes(known)] : volumes.flatMap((v) => judge(v, declared))),
};

function judge({ name, header, problem, deviceUuid }: CryptVolume, declared: Declared | null): Remark[] {
  const volume = value.text(name);
  if (header === null) return [remark("unknown", "no-header", { volume, reason: value.path(problem ?? "?") })];
  const slots = value.number(header.keyslots.length);
  if (header.keyslots.length === 0) return [remark("fail", "no-keyslots", { volume })];
  const counts = countsOf(header);
  const kinds = value.text(KINDS.flatMap((k) => (counts[k] > 0 ? [`${counts[k]} × ${k}`] : [])).join(", "));
  const found: Remark[] = [];
  if (counts.tpm2 === header.keyslots.length) found.push(remark("warn", "only-tpm2", { volume }));
  const wanted = declaredVolume(declared, header.uuid ?? deviceUuid, name)?.keyslots;
  if (wanted === undefined) return [...found, remark("unknown", "not-declared-slots", { volume, slots, kinds })];
  if (counts.clevis > 0 && wanted.clevis === 0) found.push(remark("fail", "undeclared-network", { volume }));
  for (const kind of KINDS) {
    if (counts[kind] === wanted[kind] || (kind === "clevis" && wanted.clevis === 0)) continue;
    const code = counts[kind] > wanted[kind] ? "more-than-declared" : "fewer-than-declared";
    const numbers = { found: value.number(counts[kind]), declared: value.number(wanted[kind]) };
    found.push(remark("warn", code, { volume, kind: value.text(kind), ...numbers }));
  }
  if (counts.recovery === 0 && wanted.recovery === 0) found.push(remark("warn", "no-recovery", { volume }));
  return found.length > 0 ? found : [remark("pass", "as-declared", { volume, slots, kinds })];
}

/** A slot without a token is opened by a passphrase or key file. */
function countsOf({ keyslots, tokens }: LuksHeader): Record<Kind, number> {
  const counts = { passphrase: 0, recovery: 0, tpm2: 0, fido2: 0, pkcs11: 0, clevis: 0 };
  for (const { id } of keyslots) {
    const type = tokens.find((t) => t.keyslots.includes(id))?.type.replace(/^systemd-/, "");
    counts[KINDS.find((k) => k === type) ?? "passphrase"]++;
  }
  return counts;
}

import { ENC_05 } from "../catalogue/enc.ts";
import type { AuditPolicy, Check, Remark } from "../model.ts";
import { type CryptVolume, type CryptVolumes, luksVolumes, noVolumes } from "../storage/crypt-volumes.ts";
import { storageOf } from "../storage/layers.ts";
import type { Keyslot } from "../storage/luks-header.ts";
import { remark, value, verdictOf } from "../verdict.ts";

/** What a machine opens with a secret of its own that nobody can guess: a slow derivation adds nothing. */
const RANDOM = /^(systemd-(tpm2|fido2|pkcs11|recovery)|clevis)$/;

export const enc05: Check<CryptVolumes> = {
  ...ENC_05,
  about: "guest",
  explanation: {
    de: "Wer den Header hat, kann Passphrasen ausprobieren. Wie schnell, bestimmt die Schlüsselableitung jedes einzelnen Keyslots: Argon2id mit viel Speicher macht jeden Versuch teuer, PBKDF2 mit wenigen Durchläufen nicht.",
    en: "Whoever has the header can try passphrases. How fast depends on the key derivation of every single keyslot: Argon2id with much memory makes each try expensive, PBKDF2 with few iterations does not.",
  },
  remedy: {
    de: "Stellen Sie den Keyslot um: `cryptsetup luksConvertKey --key-slot N --pbkdf argon2id GERÄT` (LUKS1 vorher mit `cryptsetup convert --type luks2`). Erneuern Sie danach die Header-Sicherung.",
    en: "Convert the keyslot: `cryptsetup luksConvertKey --key-slot N --pbkdf argon2id DEVICE` (LUKS1 first with `cryptsetup convert --type luks2`). Renew the header's backup then.",
  },
  sentences: {
    argon2id: {
      de: "{volume}, Keyslot {slot}: Argon2id mit {memory} KiB.",
      en: "{volume}, keyslot {slot}: Argon2id with {memory} KiB.",
    },
    "little-memory": {
      de: "{volume}, Keyslot {slot}: Argon2id mit nur {memory} KiB (Richtlinie: {wanted} KiB).",
      en: "{volume}, keyslot {slot}: Argon2id with only {memory} KiB (policy: {wanted} KiB).",
    },
    argon2i: {
      de: "{volume}, Keyslot {slot}: Argon2i mit {memory} KiB; empfohlen ist Argon2id.",
      en: "{volume}, keyslot {slot}: Argon2i with {memory} KiB; Argon2id is recommended.",
    },
    pbkdf2: {
      de: "{volume}, Keyslot {slot}: PBKDF2 mit {iterations} Durchläufen, ohne Speicherbedarf; empfohlen ist Argon2id.",
      en: "{volume}, keyslot {slot}: PBKDF2 with {iterations} iterations, without need of memory; Argon2id is recommended.",
    },
    "few-iterations": {
      de: "{volume}, Keyslot {slot}: PBKDF2 mit nur {iterations} Durchläufen (Richtlinie: {wanted}).",
      en: "{volume}, keyslot {slot}: PBKDF2 with only {iterations} iterations (policy: {wanted}).",
    },
    random: {
      de: "{volume}, Keyslot {slot}: Zufallsgeheimnis ({token}); die Ableitung {kdf} genügt.",
      en: "{volume}, keyslot {slot}: a random secret ({token}); the derivation {kdf} is enough.",
    },
    unbound: {
      de: "{volume}, Keyslot {slot} öffnet keine Daten; wozu er da ist, ist nicht erkennbar.",
      en: "{volume}, keyslot {slot} opens no data; what it is for cannot be seen.",
    },
    "kdf-unknown": {
      de: "{volume}, Keyslot {slot}: Die Ableitung {kdf} ist nicht bekannt.",
      en: "{volume}, keyslot {slot}: the derivation {kdf} is not known.",
    },
    "no-header": {
      de: "Der Header von {volume} ist nicht lesbar ({reason}).",
      en: "The header of {volume} cannot be read ({reason}).",
    },
    "no-keyslots": { de: "{volume} hat keinen Keyslot.", en: "{volume} has no keyslot." },
  },
  collect: async ({ guest, host }) => luksVolumes(guest, host, await storageOf(host)),
  verdict: ({ volumes, known }, { policy }) =>
    verdictOf(volumes.length === 0 ? [noVolumes(known)] : volumes.flatMap((v) => ofVolume(v, policy))),
};

function ofVolume({ name, header, problem }: CryptVolume, policy: AuditPolicy): Remark[] {
  const volume = value.text(name);
  if (header === null) return [remark("unknown", "no-header", { volume, reason: value.path(problem ?? "?") })];
  if (header.keyslots.length === 0) return [remark("unknown", "no-keyslots", { volume })];
  return header.keyslots.map((slot) => {
    const token = header.tokens.find((t) => t.keyslots.includes(slot.id) && RANDOM.test(t.type))?.type ?? null;
    return ofSlot(name, slot, token, policy);
  });
}

function ofSlot(name: string, slot: Keyslot, token: string | null, policy: AuditPolicy): Remark {
  const { id, kdf, iterations, memoryKiB, unbound } = slot;
  const base = { volume: value.text(name), slot: value.text(id) };
  const memory = value.number(memoryKiB ?? 0);
  if (unbound) return remark("fail", "unbound", base);
  if (token !== null)
    return remark("pass", "random", { ...base, token: value.text(token), kdf: value.text(kdf ?? "?") });
  if (kdf === "argon2id" && (memoryKiB ?? 0) >= policy.argon2MemoryKiB)
    return remark("pass", "argon2id", { ...base, memory });
  if (kdf === "argon2id")
    return remark("warn", "little-memory", { ...base, memory, wanted: value.number(policy.argon2MemoryKiB) });
  if (kdf === "argon2i") return remark("warn", "argon2i", { ...base, memory });
  if (kdf !== "pbkdf2") return remark("fail", "kdf-unknown", { ...base, kdf: value.text(kdf ?? "?") });
  const values = { ...base, iterations: value.number(iterations ?? 0) };
  if ((iterations ?? 0) >= policy.pbkdf2Iterations) return remark("warn", "pbkdf2", values);
  return remark("fail", "few-iterations", { ...values, wanted: value.number(policy.pbkdf2Iterations) });
}

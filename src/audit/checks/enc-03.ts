import { ENC_03 } from "../catalogue/enc.ts";
import type { AuditPolicy, Check, Remark } from "../model.ts";
import { type CryptVolume, type CryptVolumes, cryptVolumes, noVolumes } from "../storage/crypt-volumes.ts";
import { storageOf } from "../storage/layers.ts";
import { luksInsideVolumes } from "../storage/luks-inside.ts";
import { remark, value, verdictOf } from "../verdict.ts";

/** Less than this is no protection whatever the cipher (BSI TR-02102-1: at least AES-128, and XTS takes two keys). */
const LEAST_BITS = 256;

export const enc03: Check<CryptVolumes> = {
  ...ENC_03,
  about: "guest",
  explanation: {
    de: "Eine Verschlüsselung schützt nur mit einem Verfahren, das als sicher gilt, und einem Schlüssel, der lang genug ist. Das Maß steht in der datierten Richtlinie des Programms (nach BSI TR-02102-1).",
    en: "Encryption protects only with a cipher that counts as secure and a key that is long enough. The measure is in the program's dated policy (after BSI TR-02102-1).",
  },
  remedy: {
    de: "Verschlüsseln Sie das Volume neu: `cryptsetup reencrypt --cipher aes-xts-plain64 --key-size 512 GERÄT` (vorher sichern: Header und Daten); LUKS1 wird mit `cryptsetup convert --type luks2 GERÄT` umgestellt.",
    en: "Encrypt the volume anew: `cryptsetup reencrypt --cipher aes-xts-plain64 --key-size 512 DEVICE` (back up header and data before); LUKS1 is changed with `cryptsetup convert --type luks2 DEVICE`.",
  },
  sentences: {
    strong: {
      de: "{volume}: {cipher} mit einem Schlüssel von {bits} Bit, LUKS{version}.",
      en: "{volume}: {cipher} with a key of {bits} bits, LUKS{version}.",
    },
    "old-version": {
      de: "{volume}: {cipher} mit {bits} Bit, aber LUKS1: Header ohne Prüfsumme und ohne Argon2.",
      en: "{volume}: {cipher} with {bits} bits, but LUKS1: a header without checksum and Argon2.",
    },
    acceptable: {
      de: "{volume}: {cipher} mit {bits} Bit ist zulässig, aber nicht die Vorgabe der Richtlinie ({wanted} Bit).",
      en: "{volume}: {cipher} with {bits} bits is acceptable, but not what the policy asks for ({wanted} bits).",
    },
    weak: {
      de: "{volume}: {cipher} mit {bits} Bit schützt nicht ausreichend.",
      en: "{volume}: {cipher} with {bits} bits does not protect sufficiently.",
    },
    "no-header": {
      de: "Der Header von {volume} ist nicht lesbar ({reason}).",
      en: "The header of {volume} cannot be read ({reason}).",
    },
    "plain-mapping": {
      de: "{volume} ist kein LUKS, sondern eine Abbildung ohne Header: {cipher} mit {bits} Bit.",
      en: "{volume} is no LUKS but a mapping without header: {cipher} with {bits} bits.",
    },
  },
  collect: async ({ guest, host }) => {
    const { volumes, known } = await cryptVolumes(guest, host, await storageOf(host));
    return { volumes: [...volumes, ...(await luksInsideVolumes(guest, host))], known };
  },
  verdict: ({ volumes, known }, { policy }) =>
    verdictOf(volumes.length === 0 ? [noVolumes(known)] : volumes.flatMap((v) => judge(v, policy))),
};

function judge({ name, inside, dmUuid, table, header, problem }: CryptVolume, policy: AuditPolicy): Remark[] {
  const volume = value.text(name);
  if (!inside && !/^CRYPT-LUKS/.test(dmUuid)) {
    const active = table?.find((s) => s.target === "crypt");
    if (!active?.cipher) return [remark("unknown", "no-header", { volume, reason: value.text("dmsetup") })];
    const values = { volume, cipher: value.text(active.cipher), bits: value.number(active.keyBits ?? 0) };
    return [
      remark(stateOf(active.cipher, active.keyBits ?? 0, policy) === "fail" ? "fail" : "warn", "plain-mapping", values),
    ];
  }
  if (header === null) return [remark("unknown", "no-header", { volume, reason: value.path(problem ?? "?") })];
  // What a re-encryption has not got to yet is ENC-04's.
  const ciphers = [...new Set(header.segments.flatMap((s) => s.cipher ?? []))];
  // A header without keyslots does not tell the volume key's size; the mapping does.
  const bits = header.keyBits ?? table?.find((s) => s.keyBits !== null)?.keyBits ?? 0;
  if (ciphers.length === 0) return [remark("unknown", "no-header", { volume, reason: value.text("no segment") })];
  if (inside && header.keyBits === null)
    return [remark("unknown", "no-header", { volume, reason: value.text("no keyslot") })];
  return ciphers.map((cipher) => judgeCipher(name, header.version, cipher, bits, policy));
}

function judgeCipher(name: string, version: 1 | 2, cipher: string, bits: number, policy: AuditPolicy): Remark {
  const values = { volume: value.text(name), cipher: value.text(cipher), bits: value.number(bits) };
  const state = stateOf(cipher, bits, policy);
  if (state === "fail") return remark("fail", "weak", values);
  if (state === "warn") return remark("warn", "acceptable", { ...values, wanted: value.number(policy.keyBits) });
  if (version === 1) return remark("warn", "old-version", values);
  return remark("pass", "strong", { ...values, version: value.number(version) });
}

function stateOf(cipher: string, bits: number, { ciphers, keyBits }: AuditPolicy): "pass" | "warn" | "fail" {
  if (bits < LEAST_BITS || !(ciphers.pass.includes(cipher) || ciphers.warn.includes(cipher))) return "fail";
  return ciphers.pass.includes(cipher) && bits >= keyBits ? "pass" : "warn";
}

import { ENC_04 } from "../catalogue/enc.ts";
import type { Check, Remark } from "../model.ts";
import { begunVolumes, type CryptVolume, type CryptVolumes, luksVolumes, noVolumes } from "../storage/crypt-volumes.ts";
import { isReal } from "../storage/dm-table.ts";
import { storageOf } from "../storage/layers.ts";
import { remark, value, verdictOf } from "../verdict.ts";

export const enc04: Check<CryptVolumes> = {
  ...ENC_04,
  about: "guest",
  explanation: {
    de: "Der Header sagt, wie verschlüsselt werden soll; was der Kern wirklich tut, steht in der aktiven Abbildung. Nur wenn beide übereinstimmen, gilt das eine auch für das andere: Eine Abbildung kann auf ein anderes Gerät zeigen, eine Umverschlüsselung halb fertig sein.",
    en: "The header says how to encrypt; what the kernel really does is in the active mapping. Only where both agree does one speak for the other: a mapping can lead to another device, a re-encryption can be half done.",
  },
  remedy: {
    de: "Beenden Sie eine begonnene Umverschlüsselung (`cryptsetup reencrypt --resume-only GERÄT`); schließen Sie eine abweichende Abbildung und öffnen Sie das Volume neu.",
    en: "Complete a re-encryption that was begun (`cryptsetup reencrypt --resume-only DEVICE`); close a mapping that differs, and open the volume anew.",
  },
  sentences: {
    same: {
      de: "{volume}: Die aktive Abbildung entspricht dem Header (Verfahren, Schlüssellänge, Beginn der Daten, Gerät).",
      en: "{volume}: the active mapping is as the header says (cipher, key size, data offset, device).",
    },
    "re-encryption": {
      de: "{volume}: Eine Umverschlüsselung ist begonnen und nicht beendet.",
      en: "{volume}: a re-encryption was begun and is not complete.",
    },
    unfinished: {
      de: "{volume}: Teile der Daten sind noch unverschlüsselt (begonnene Verschlüsselung).",
      en: "{volume}: parts of the data are not encrypted yet (an encryption that was begun).",
    },
    "null-cipher": {
      de: "{volume}: Die aktive Abbildung verschlüsselt nicht ({cipher}).",
      en: "{volume}: the active mapping does not encrypt ({cipher}).",
    },
    differs: {
      de: "{volume}: Die aktive Abbildung weicht vom Header ab ({what}: {active} statt {header}).",
      en: "{volume}: the active mapping differs from the header ({what}: {active} instead of {header}).",
    },
    inside: {
      de: "{volume} wird im Gast oder von dessen QEMU geöffnet: Auf dem Host gibt es keine Abbildung, die abweichen könnte. Eine Umverschlüsselung ist nicht begonnen.",
      en: "{volume} is opened in the guest or by its QEMU: there is no mapping on the host that could differ. No re-encryption was begun.",
    },
    "no-facts": {
      de: "{volume}: Abbildung oder Header sind nicht lesbar ({reason}).",
      en: "{volume}: mapping or header cannot be read ({reason}).",
    },
  },
  collect: async ({ guest, host }) => {
    const storage = await storageOf(host);
    const [{ volumes, known }, begun] = await Promise.all([
      luksVolumes(guest, host, storage),
      begunVolumes(guest, host, storage),
    ]);
    return { volumes: [...volumes, ...begun], known };
  },
  verdict: ({ volumes, known }) => verdictOf(volumes.length === 0 ? [noVolumes(known)] : volumes.flatMap(judge)),
};

function judge(crypt: CryptVolume): Remark[] {
  const { name, inside, dmUuid, table, deviceNumber, deviceUuid, header, problem } = crypt;
  const volume = value.text(name);
  if (inside) return [judgeInside(volume, crypt)];
  if (table === null || header === null)
    return [
      remark("unknown", "no-facts", { volume, reason: value.text(table === null ? "dmsetup" : (problem ?? "?")) }),
    ];
  const found: Remark[] = [];
  const bare = table.find((s) => s.target === "crypt" && !isReal(s));
  if (bare) found.push(remark("fail", "null-cipher", { volume, cipher: value.text(bare.cipher ?? "?") }));
  if (header.segments.some((s) => s.type !== "crypt") || table.some((s) => s.target === "linear"))
    found.push(remark("fail", "unfinished", { volume }));
  if (header.requirements.some((r) => r.includes("reencrypt"))) found.push(remark("warn", "re-encryption", { volume }));
  // While both ciphers are in use there is no one answer to compare.
  if (found.length > 0) return found;
  const differs = (what: string, active: unknown, said: unknown) => {
    const texts = { active: value.text(String(active)), header: value.text(String(said)) };
    found.push(remark("fail", "differs", { volume, what: value.text(what), ...texts }));
  };
  const [segment] = table;
  const [said] = header.segments;
  if (said?.cipher !== segment?.cipher) differs("cipher", segment?.cipher, said?.cipher);
  if (segment?.keyBits !== null && header.keyBits !== null && header.keyBits !== segment?.keyBits)
    differs("key size", segment?.keyBits, header.keyBits);
  if (said?.offset !== null && segment?.offset != null && said !== undefined && segment.offset * 512 !== said.offset)
    differs("offset", segment.offset * 512, said.offset);
  if (deviceNumber !== null && segment?.device !== null && segment?.device !== deviceNumber)
    differs("device", segment?.device, deviceNumber);
  // cryptsetup puts the container's UUID into the mapping's.
  const own = /^CRYPT-LUKS\d-([0-9a-f]{32})-/.exec(dmUuid)?.[1];
  if (own !== undefined && deviceUuid !== null && own !== deviceUuid.replaceAll("-", ""))
    differs("UUID", own, deviceUuid);
  return found.length > 0 ? found : [remark("pass", "same", { volume })];
}

/** What is active is in the guest, out of the host's sight: only the header speaks. */
function judgeInside(volume: ReturnType<typeof value.text>, { header, problem }: CryptVolume): Remark {
  if (header === null) return remark("unknown", "no-facts", { volume, reason: value.text(problem ?? "?") });
  if (header.segments.some((s) => s.type !== "crypt")) return remark("fail", "unfinished", { volume });
  if (header.requirements.some((r) => r.includes("reencrypt"))) return remark("warn", "re-encryption", { volume });
  return remark("n-a", "inside", { volume });
}

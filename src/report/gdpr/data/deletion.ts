import type { State, Text } from "../../../audit/model.ts";

export interface DeletionRule {
  readonly medium: Text;
  readonly method: Text;
  readonly verdict: State;
  readonly residual: Text;
}

const t = (de: string, en: string): Text => ({ de, en });
const NONE = t("–", "–");

/** How an old disk is deleted after data have moved away from it. Our judgment after SDM M60 and DIN 66399 / ISO 21964. */
export const DELETION: readonly DeletionRule[] = [
  {
    medium: t("Festplatte (Partition, LV), war Klartext", "Hard disk (partition, LV), was plaintext"),
    method: t("einmal ganz mit Zufallsdaten überschreiben", "one full pass of random data"),
    verdict: "pass",
    residual: t("ersetzte Sektoren", "remapped sectors"),
  },
  {
    medium: t("SSD/NVMe, das ganze Gerät wird frei", "SSD/NVMe, the whole device can be freed"),
    method: t(
      "Sanitize der Firmware (Block Erase; Crypto Erase nur, wenn das Gerät immer verschlüsselt), prüfen, protokollieren",
      "firmware sanitize (block erase; crypto erase only if the drive always encrypts), verify, log",
    ),
    verdict: "pass",
    residual: t("Vertrauen in die Firmware", "trust in the firmware"),
  },
  {
    medium: t(
      "SSD (LV, Partition), war Klartext, das Gerät bleibt in Betrieb",
      "SSD (LV, partition), was plaintext, the device stays in use",
    ),
    method: t(
      "ganz mit Zufallsdaten überschreiben (dm-crypt mit zufälligem Schlüssel), dann Discard",
      "overwrite fully with random data (dm-crypt with a random key), then discard",
    ),
    verdict: "warn",
    residual: t(
      "alte Zellen im Reservebereich bis zu Sanitize oder Vernichtung; Frist: Aussonderung",
      "old cells in the spare area until sanitize or destruction; deadline: retirement",
    ),
  },
  {
    medium: t("dasselbe", "the same"),
    method: t(
      "nur blkdiscard, lvremove, luksErase oder neues luksFormat",
      "only blkdiscard, lvremove, luksErase or a new luksFormat",
    ),
    verdict: "fail",
    residual: NONE,
  },
  {
    medium: t(
      "SSD, an Ort und Stelle verschlüsselt (cryptsetup reencrypt --encrypt)",
      "SSD, encrypted in place (cryptsetup reencrypt --encrypt)",
    ),
    method: NONE,
    verdict: "warn",
    residual: t("alte Zellen im Reservebereich, wie oben", "old cells in the spare area, as above"),
  },
  {
    medium: t("Festplatte, LUKS vom ersten Schreiben an", "Hard disk, LUKS from the first write"),
    method: t(
      "luksErase, alle Header-Sicherungen vernichten, Header-Bereich überschreiben",
      "luksErase, destroy all header backups, overwrite the header area",
    ),
    verdict: "pass",
    residual: NONE,
  },
  {
    medium: t("SSD, LUKS vom ersten Schreiben an", "SSD, LUKS from the first write"),
    method: t(
      "dasselbe, dazu Sanitize oder Vernichtung, wenn das Gerät das Haus verlässt",
      "the same, plus sanitize or destruction when the device leaves",
    ),
    verdict: "pass",
    residual: t(
      "alte Schlüsselfächer im Reservebereich: eingeschränkt, sobald das Gerät das Haus verlässt",
      "old keyslots in the spare area: limited once the device leaves",
    ),
  },
  {
    medium: t("defekt oder außer Haus, hoher Schutzbedarf", "defective or leaving, high need of protection"),
    method: t(
      "Vernichtung nach DIN 66399 / ISO 21964 (SDM: ab Stufe 4)",
      "destruction by DIN 66399 / ISO 21964 (SDM: from level 4)",
    ),
    verdict: "pass",
    residual: NONE,
  },
];

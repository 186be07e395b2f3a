import { KEY_04 } from "../catalogue/key.ts";
import type { Check, Remark } from "../model.ts";
import { encryptionOf, storageOf } from "../storage/layers.ts";
import { remark, value, verdictOf } from "../verdict.ts";

interface Facts {
  readonly folders: readonly { readonly path: string; readonly encrypted: "yes" | "no" | "unknown" }[];
  /** Folders with something of a guest's or a secret in them. */
  readonly filled: readonly string[];
}

/** What the host itself writes of guests: definitions and secrets, state, firmware variables, TPMs, logs. */
const FOLDERS = ["/", "/var", "/etc/libvirt", "/var/lib/libvirt", "/var/log"];
const HOLDING: readonly { readonly folder: string; readonly own: RegExp }[] = [
  { folder: "/etc/libvirt/secrets", own: /\.(xml|base64)$/ },
  { folder: "/var/lib/libvirt/qemu/nvram", own: /./ },
  { folder: "/var/lib/libvirt/qemu/save", own: /\.save$/ },
  { folder: "/var/lib/libvirt/qemu/ram", own: /./ },
  { folder: "/var/lib/libvirt/swtpm", own: /./ },
  { folder: "/var/log/libvirt/qemu", own: /\.log/ },
];

export const key04: Check<Facts> = {
  ...KEY_04,
  about: "host",
  explanation: {
    de: "Auf dem Systemdatenträger des Hosts liegen Geheimnisse von libvirt, virtuelle TPMs, Firmware-Variablen, Protokolle und manchmal der Arbeitsspeicher von Gästen. Ist er unverschlüsselt, hilft die Verschlüsselung der Gäste nur halb.",
    en: "The host's system disk holds libvirt's secrets, virtual TPMs, firmware variables, logs and sometimes guests' memory. Where it is unencrypted, encrypting the guests is half a measure.",
  },
  remedy: {
    de: "Verschlüsseln Sie den Systemdatenträger (am einfachsten bei der Installation), oder legen Sie /var/lib/libvirt, /etc/libvirt und /var/log auf ein LUKS-Volume.",
    en: "Encrypt the system disk (easiest when installing), or put /var/lib/libvirt, /etc/libvirt and /var/log on a LUKS volume.",
  },
  sentences: {
    encrypted: { de: "{folder} liegt verschlüsselt.", en: "{folder} lies encrypted." },
    "plain-empty": {
      de: "{folder} liegt unverschlüsselt; Daten von Gästen oder Geheimnisse liegen dort nicht.",
      en: "{folder} lies unencrypted; there are no data of guests and no secrets there.",
    },
    "plain-filled": {
      de: "{folder} liegt unverschlüsselt und enthält Daten von Gästen oder Geheimnisse ({filled}).",
      en: "{folder} lies unencrypted and holds data of guests or secrets ({filled}).",
    },
    unknown: {
      de: "Ob {folder} verschlüsselt liegt, ist nicht feststellbar.",
      en: "Whether {folder} lies encrypted cannot be determined.",
    },
  },
  collect: async ({ host }) => {
    const storage = await storageOf(host);
    const states = async (path: string) => ({ path, encrypted: encryptionOf(await storage.wouldBeUnder(path)) });
    const holding = await Promise.all(
      HOLDING.map(async ({ folder, own }) =>
        ((await host.list(folder)) ?? []).some((n) => own.test(n)) ? [folder] : [],
      ),
    );
    const filled = holding.flat();
    return { folders: await Promise.all([...FOLDERS, ...filled].map(states)), filled };
  },
  verdict: ({ folders, filled }) =>
    verdictOf(
      folders.map(({ path, encrypted }): Remark => {
        const folder = value.path(path);
        if (encrypted === "yes") return remark("pass", "encrypted", { folder });
        if (encrypted === "unknown") return remark("unknown", "unknown", { folder });
        const own = filled.includes(path);
        return own
          ? remark("fail", "plain-filled", { folder, filled: value.path(path) })
          : remark("warn", "plain-empty", { folder });
      }),
    ),
};

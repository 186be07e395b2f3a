import { LEAK_03 } from "../catalogue/leak.ts";
import type { Check, Remark } from "../model.ts";
import { settingOf } from "../parse/settings-line.ts";
import { encryptionOf, storageOf } from "../storage/layers.ts";
import { remark, value, verdictOf } from "../verdict.ts";

interface Facts {
  /** What libvirt-guests does at shutdown; null: neither set nor known, upstream's default is `suspend`. */
  readonly onShutdown: string | null;
  /** libvirt-guests is enabled; null: not known. */
  readonly enabled: boolean | null;
  readonly savedFile: string | null;
  readonly folders: readonly { readonly path: string; readonly encrypted: "yes" | "no" | "unknown" }[];
}

const SAVE = "/var/lib/libvirt/qemu/save";
const FOLDERS = [SAVE, "/var/lib/libvirt/qemu/ram", "/var/lib/libvirt/qemu/dump"];

export const leak03: Check<Facts> = {
  ...LEAK_03,
  about: "guest",
  explanation: {
    de: "Beim Herunterfahren des Hosts sichert libvirt-guests den Arbeitsspeicher laufender Gäste in Dateien, wenn nichts anderes eingestellt ist. Darin stehen Mails und Schlüssel des Gastes im Klartext.",
    en: "When the host shuts down, libvirt-guests saves running guests' memory to files unless it is told otherwise. The guest's mails and keys stand in them in clear.",
  },
  remedy: {
    de: "Setzen Sie ON_SHUTDOWN=shutdown in /etc/default/libvirt-guests, löschen Sie alte Sicherungen (`virsh managedsave-remove NAME`) und legen Sie /var/lib/libvirt auf LUKS.",
    en: "Set ON_SHUTDOWN=shutdown in /etc/default/libvirt-guests, delete old ones (`virsh managedsave-remove NAME`) and put /var/lib/libvirt on LUKS.",
  },
  sentences: {
    shutdown: {
      de: "Gäste werden beim Herunterfahren des Hosts beendet, nicht gespeichert.",
      en: "Guests are shut down with the host, not saved.",
    },
    "not-used": { de: "libvirt-guests ist nicht eingeschaltet.", en: "libvirt-guests is not enabled." },
    "suspend-encrypted": {
      de: "Der Arbeitsspeicher würde gesichert; {folder} liegt verschlüsselt.",
      en: "Memory would be saved; {folder} lies encrypted.",
    },
    "suspend-plain": {
      de: "Der Arbeitsspeicher würde unverschlüsselt in {folder} gesichert.",
      en: "Memory would be saved unencrypted, in {folder}.",
    },
    "suspend-unknown": {
      de: "Ob {folder}, wohin der Arbeitsspeicher gesichert würde, verschlüsselt liegt, ist nicht feststellbar.",
      en: "Whether {folder}, where memory would be saved, lies encrypted cannot be determined.",
    },
    "saved-encrypted": {
      de: "Gesicherter Arbeitsspeicher liegt verschlüsselt in {file}.",
      en: "Saved memory lies encrypted in {file}.",
    },
    "saved-plain": {
      de: "Gesicherter Arbeitsspeicher liegt unverschlüsselt in {file}.",
      en: "Saved memory lies unencrypted in {file}.",
    },
  },
  collect: async ({ guest, host }) => {
    const [debian, redHat, enabled, saved, storage] = await Promise.all([
      host.file("/etc/default/libvirt-guests"),
      host.file("/etc/sysconfig/libvirt-guests"),
      host.run(["systemctl", "is-enabled", "libvirt-guests.service"]),
      host.list(SAVE),
      storageOf(host),
    ]);
    const text = debian.kind === "text" ? debian.text : redHat.kind === "text" ? redHat.text : "";
    const word = enabled.kind === "ran" ? enabled.stdout.trim() : "";
    const own = `${guest?.name}.save`;
    return {
      onShutdown: settingOf(text, "ON_SHUTDOWN"),
      enabled: word === "" ? null : /^(enabled|enabled-runtime|static|indirect)/.test(word),
      savedFile: saved?.includes(own) ? `${SAVE}/${own}` : null,
      folders: await Promise.all(
        FOLDERS.map(async (path) => ({ path, encrypted: encryptionOf(await storage.wouldBeUnder(path)) })),
      ),
    };
  },
  verdict: ({ onShutdown, enabled, savedFile, folders }) => {
    const found: Remark[] = [];
    const save = folders.find((f) => f.path === SAVE)?.encrypted ?? "unknown";
    if (savedFile !== null) {
      const file = value.path(savedFile);
      found.push(
        save === "yes"
          ? remark("warn", "saved-encrypted", { file })
          : remark(save === "no" ? "fail" : "unknown", save === "no" ? "saved-plain" : "suspend-unknown", {
              file,
              folder: value.path(SAVE),
            }),
      );
    }
    if (enabled === false) found.push(remark("pass", "not-used"));
    else if (onShutdown === "shutdown") found.push(remark("pass", "shutdown"));
    else {
      const folder = value.path(SAVE);
      if (save === "yes") found.push(remark("pass", "suspend-encrypted", { folder }));
      else
        found.push(
          save === "no"
            ? remark("fail", "suspend-plain", { folder })
            : remark("unknown", "suspend-unknown", { folder }),
        );
    }
    return verdictOf(found);
  },
};

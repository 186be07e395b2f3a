import { PERM_03 } from "../catalogue/perm.ts";
import type { Check, FileResult } from "../model.ts";
import { parseDevices } from "../parse/devices.ts";
import { parseLibvirtConf } from "../parse/settings.ts";
import { dumpxml, VIRSH } from "../storage/domains.ts";
import { remark, value, verdictOf } from "../verdict.ts";

interface Facts {
  readonly running: boolean;
  /** Types of the labels that the guest's definition asks for: `none` switches its confinement off. */
  readonly labels: readonly { readonly model: string | null; readonly type: string }[] | null;
  /** Security models that libvirt has at work (`apparmor`, `selinux`, `dac`); null: it was not reached. */
  readonly models: readonly string[] | null;
  /** Of the process, as `/proc/PID/attr/current` says. */
  readonly label: string | null;
  /** SELinux enforces; null: there is none. */
  readonly enforcing: boolean | null;
  /** Of the process, else of whom libvirt will start it as; null: not known. */
  readonly uid: number | null;
}

export const perm03: Check<Facts> = {
  ...PERM_03,
  about: "guest",
  explanation: {
    de: "Bricht Schadsoftware aus einem Gast aus, landet sie im QEMU-Prozess. Dessen Kapselung durch AppArmor oder SELinux und ein Konto ohne Rechte verhindern, dass sie von dort die Daten anderer Gäste erreicht.",
    en: "Malware that breaks out of a guest arrives in the QEMU process. Confinement by AppArmor or SELinux and an account without rights keep it from other guests' data.",
  },
  remedy: {
    de: 'Aktivieren Sie AppArmor oder SELinux, entfernen Sie `security_driver = "none"` und `user = "root"` aus /etc/libvirt/qemu.conf und `<seclabel type=\'none\'>` aus der Definition; starten Sie den Gast neu.',
    en: 'Enable AppArmor or SELinux, take `security_driver = "none"` and `user = "root"` out of /etc/libvirt/qemu.conf and `<seclabel type=\'none\'>` out of the definition; restart the guest.',
  },
  sentences: {
    confined: {
      de: "Der QEMU-Prozess ist durch {model} gekapselt ({label}).",
      en: "The QEMU process is confined by {model} ({label}).",
    },
    "would-confine": {
      de: "Der Gast läuft nicht; libvirt kapselt ihn beim Start durch {model}.",
      en: "The guest does not run; libvirt confines it by {model} when it starts.",
    },
    permissive: {
      de: "Die Kapselung durch {model} protokolliert nur und verhindert nichts ({label}).",
      en: "The confinement by {model} only logs and prevents nothing ({label}).",
    },
    none: { de: "Der QEMU-Prozess ist nicht gekapselt.", en: "The QEMU process is not confined." },
    "switched-off": {
      de: "Die Definition des Gastes schaltet die Kapselung ab (seclabel type='none').",
      en: "The guest's definition switches its confinement off (seclabel type='none').",
    },
    root: { de: "QEMU läuft als root.", en: "QEMU runs as root." },
    user: {
      de: "QEMU läuft ohne Rechte von root (Benutzernummer {uid}).",
      en: "QEMU runs without root's rights (user number {uid}).",
    },
    "user-unknown": {
      de: "Nicht feststellbar: Unter welchem Konto QEMU läuft.",
      en: "Cannot be determined: the account that QEMU runs as.",
    },
    "label-unknown": {
      de: "Nicht feststellbar: Die Kapselung des laufenden QEMU-Prozesses ist nicht lesbar. Führen Sie die Prüfung als root aus.",
      en: "Cannot be determined: the confinement of the running QEMU process cannot be read. Run the audit as root.",
    },
    "models-unknown": {
      de: "Nicht feststellbar: libvirt sagt nicht, womit es Gäste kapselt.",
      en: "Cannot be determined: libvirt does not say by what it confines guests.",
    },
  },
  collect: async ({ host, guest }) => {
    const [xml, capabilities, pidFile, enforce, conf] = await Promise.all([
      guest === null ? null : host.run(dumpxml(guest.uuid, false)),
      host.run([...VIRSH, "capabilities"]),
      guest === null ? null : host.file(`/run/libvirt/qemu/${guest.name}.pid`),
      host.file("/sys/fs/selinux/enforce"),
      host.file("/etc/libvirt/qemu.conf"),
    ]);
    const running = guest?.state === "running" || guest?.state === "paused";
    const pid = running ? /^\d{1,10}$/.exec(textOf(pidFile)?.trim() ?? "")?.[0] : undefined;
    const [label, status] =
      pid === undefined
        ? [null, null]
        : await Promise.all([host.file(`/proc/${pid}/attr/current`), host.file(`/proc/${pid}/status`)]);
    const told = capabilities.kind === "ran" && capabilities.exit === 0 ? capabilities.stdout : null;
    const uid =
      /^Uid:\s+\d+\s+(\d+)/m.exec(textOf(status) ?? "")?.[1] ?? (running ? undefined : startsAs(told, textOf(conf)));
    return {
      running,
      labels: xml?.kind === "ran" && xml.exit === 0 ? labelsOf(xml.stdout) : null,
      models:
        told === null ? null : [...told.matchAll(/<model>([a-z]{1,20})<\/model>\s*<doi>/g)].map((m) => m[1] ?? ""),
      label: textOf(label)?.replace(/\0/g, "").trim() ?? null,
      enforcing: enforce.kind === "text" ? enforce.text.trim() === "1" : null,
      uid: uid === undefined ? null : Number(uid),
    };
  },
  verdict: (facts) => {
    const { uid } = facts;
    const user =
      uid === null
        ? remark("unknown", "user-unknown")
        : uid === 0
          ? remark("fail", "root")
          : remark("pass", "user", { uid: value.number(uid) });
    return verdictOf([confinement(facts), user]);
  },
};

function confinement({ running, labels, models, label, enforcing }: Facts) {
  if (labels?.some((l) => l.type === "none" && l.model !== "dac")) return remark("fail", "switched-off");
  const model = models?.find((m) => m === "apparmor" || m === "selinux") ?? null;
  if (!running) {
    if (models === null) return remark("unknown", "models-unknown");
    if (model === null) return remark("fail", "none");
    if (model === "selinux" && enforcing !== true)
      return remark("warn", "permissive", { model: value.program(model), label: value.text("permissive") });
    return remark("pass", "would-confine", { model: value.program(model) });
  }
  if (label === null) {
    // Without a security module there is no label to read.
    return models !== null && model === null ? remark("fail", "none") : remark("unknown", "label-unknown");
  }
  // SELinux: user:role:type:level; AppArmor: profile (mode).
  const selinux = /^[\w.]+:[\w.]+:([\w.]+):/.exec(label);
  const shown = { model: value.program(selinux ? "SELinux" : "AppArmor"), label: value.text(label) };
  if (selinux) {
    if (!/^svirt/.test(selinux[1]!)) return remark("fail", "none");
    return remark(enforcing === true ? "pass" : "warn", enforcing === true ? "confined" : "permissive", shown);
  }
  if (/ \(enforce\)$/.test(label)) return remark("pass", "confined", shown);
  return / \(complain\)$/.test(label) ? remark("warn", "permissive", shown) : remark("fail", "none");
}

function labelsOf(xml: string) {
  try {
    return parseDevices(xml).labels.map(({ model, type }) => ({ model, type }));
  } catch {
    return null;
  }
}

/** `user` of qemu.conf, else the label of owners that libvirt says it gives: `+64055:+109`. */
function startsAs(capabilities: string | null, conf: string | null): string | undefined {
  const user = parseLibvirtConf(conf ?? "")
    .get("user")
    ?.replace(/^\+/, "");
  if (user === "root") return "0";
  if (user !== undefined && /^\d+$/.test(user)) return user;
  return /<baselabel type='kvm'>\+(\d+):/.exec(capabilities ?? "")?.[1];
}

function textOf(file: FileResult | null): string | null {
  return file?.kind === "text" ? file.text : null;
}

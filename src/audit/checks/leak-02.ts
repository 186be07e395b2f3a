import { LEAK_02 } from "../catalogue/leak.ts";
import type { Check } from "../model.ts";
import { kernelParameters, settingOf } from "../parse/settings-line.ts";
import { encryptionOf, storageOf } from "../storage/layers.ts";
import { remark, value, verdictOf } from "../verdict.ts";

interface Facts {
  /** Whether the kernel offers it (`disk` in /sys/power/state); null: not known. */
  readonly offered: boolean | null;
  /** systemd forbids it, or the kernel was told `nohibernate`. */
  readonly forbidden: boolean;
  /** Where memory would be written; null: none is named. */
  readonly device: string | null;
  readonly encrypted: "yes" | "no" | "unknown" | null;
}

export const leak02: Check<Facts> = {
  ...LEAK_02,
  about: "host",
  explanation: {
    de: "Im Ruhezustand schreibt der Host seinen ganzen Arbeitsspeicher auf einen Datenträger, mit den Schlüsseln aller offenen Volumes. Ist der unverschlüsselt, ist jede andere Verschlüsselung damit aufgehoben.",
    en: "When it hibernates the host writes all of its memory to a disk, with the keys of all open volumes. Where that is unencrypted, every other encryption is undone by it.",
  },
  remedy: {
    de: "Verbieten Sie den Ruhezustand (`systemctl mask hibernate.target hybrid-sleep.target`, AllowHibernation=no in /etc/systemd/sleep.conf) oder legen Sie das Gerät auf LUKS.",
    en: "Forbid hibernation (`systemctl mask hibernate.target hybrid-sleep.target`, AllowHibernation=no in /etc/systemd/sleep.conf), or put its device on LUKS.",
  },
  sentences: {
    off: { de: "Der Host kann nicht in den Ruhezustand gehen.", en: "The host cannot hibernate." },
    encrypted: {
      de: "Der Ruhezustand schreibt auf {device}, und das liegt verschlüsselt.",
      en: "Hibernation writes to {device}, which lies encrypted.",
    },
    plain: {
      de: "Der Ruhezustand schreibt auf {device}, und das liegt unverschlüsselt.",
      en: "Hibernation writes to {device}, which lies unencrypted.",
    },
    "no-device": {
      de: "Der Ruhezustand ist möglich, ein Gerät dafür ist nicht benannt.",
      en: "Hibernation is possible; no device is named for it.",
    },
    unknown: {
      de: "Ob {device} (Ruhezustand) verschlüsselt liegt, ist nicht feststellbar.",
      en: "Whether {device} (hibernation) lies encrypted cannot be determined.",
    },
    "state-unknown": {
      de: "Ob der Host in den Ruhezustand gehen kann, ist nicht feststellbar.",
      en: "Whether the host can hibernate cannot be determined.",
    },
  },
  collect: async ({ host }) => {
    const [state, resume, cmdline, sleep, storage] = await Promise.all([
      host.file("/sys/power/state"),
      host.file("/sys/power/resume"),
      host.file("/proc/cmdline"),
      host.file("/etc/systemd/sleep.conf"),
      storageOf(host),
    ]);
    const words = cmdline.kind === "text" ? cmdline.text : "";
    const named = kernelParameters(words, "resume").at(-1);
    const number = resume.kind === "text" ? resume.text.trim() : "0:0";
    const byNumber = [...storage.view.devices.values()].find((d) => d.number === number)?.path ?? null;
    const device = typeof named === "string" ? devicePathOf(named) : byNumber;
    const masked = await host.real("/etc/systemd/system/hibernate.target");
    const allowed = settingOf(sleep.kind === "text" ? sleep.text : "", "AllowHibernation");
    return {
      offered: state.kind !== "text" ? null : state.text.split(/\s+/).includes("disk"),
      forbidden:
        allowed === "no" ||
        masked === "/dev/null" ||
        kernelParameters(words, "nohibernate").length > 0 ||
        kernelParameters(words, "noresume").length > 0,
      device,
      encrypted: device === null ? null : encryptionOf(await storage.under(device)),
    };
  },
  verdict: ({ offered, forbidden, device, encrypted }) => {
    if (forbidden || offered === false) return verdictOf([remark("pass", "off")]);
    const values = { device: value.path(device ?? "") };
    if (device !== null && encrypted === "no") return verdictOf([remark("fail", "plain", values)]);
    if (device !== null && encrypted === "yes") return verdictOf([remark("pass", "encrypted", values)]);
    if (device !== null) return verdictOf([remark("unknown", "unknown", values)]);
    return verdictOf([offered === null ? remark("unknown", "state-unknown") : remark("warn", "no-device")]);
  },
};

/** `resume=UUID=…` as the kernel's parameter has it, or a path. */
function devicePathOf(named: string): string {
  const uuid = /^UUID="?([^"]+)"?$/.exec(named)?.[1];
  return uuid === undefined ? named : `/dev/disk/by-uuid/${uuid}`;
}

import { LEAK_01 } from "../catalogue/leak.ts";
import type { Check, Remark } from "../model.ts";
import { kernelParameters } from "../parse/settings-line.ts";
import { encryptionOf, storageOf } from "../storage/layers.ts";
import { remark, value, verdictOf } from "../verdict.ts";

interface Facts {
  /** Null: /proc/swaps cannot be read. */
  readonly swaps:
    | readonly {
        readonly path: string;
        readonly kind: string;
        /** `memory`: compressed in memory, with nothing behind it. */
        readonly encrypted: "yes" | "no" | "unknown" | "memory";
      }[]
    | null;
  readonly resumes: boolean;
}

export const leak01: Check<Facts> = {
  ...LEAK_01,
  about: "host",
  explanation: {
    de: "Der Kern lagert den Arbeitsspeicher der Gäste aus, wenn der Platz knapp wird: Mails, Schlüssel und Passwörter stehen dann im Klartext auf dem Auslagerungsspeicher, auch lange nach dem Ende des Gastes.",
    en: "When memory gets short the kernel swaps guests' memory out: mails, keys and passwords then stand in clear in the swap space, long after the guest has ended too.",
  },
  remedy: {
    de: "Legen Sie den Auslagerungsspeicher in eine verschlüsselte Volume-Gruppe, verschlüsseln Sie ihn mit einem Zufallsschlüssel (crypttab: `swap GERÄT /dev/urandom swap`), oder schalten Sie ihn ab (`swapoff -a`) und überschreiben Sie ihn.",
    en: "Put the swap space into an encrypted volume group, encrypt it with a random key (crypttab: `swap DEVICE /dev/urandom swap`), or turn it off (`swapoff -a`) and overwrite it.",
  },
  sentences: {
    none: { de: "Der Host hat keinen Auslagerungsspeicher.", en: "The host has no swap space." },
    memory: {
      de: "{swap} liegt komprimiert im Arbeitsspeicher (zram).",
      en: "{swap} is compressed memory (zram).",
    },
    encrypted: { de: "{swap} liegt verschlüsselt.", en: "{swap} lies encrypted." },
    "file-and-resume": {
      de: "{swap} ist eine Datei auf verschlüsseltem Dateisystem, und der Host kann dorthin in den Ruhezustand gehen.",
      en: "{swap} is a file on an encrypted file system, and the host can hibernate to it.",
    },
    plain: { de: "{swap} liegt unverschlüsselt.", en: "{swap} lies unencrypted." },
    unknown: {
      de: "Ob {swap} verschlüsselt liegt, ist nicht feststellbar.",
      en: "Whether {swap} lies encrypted cannot be determined.",
    },
  },
  collect: async ({ host }) => {
    const [file, cmdline, storage] = await Promise.all([
      host.file("/proc/swaps"),
      host.file("/proc/cmdline"),
      storageOf(host),
    ]);
    const resumes = cmdline.kind === "text" && kernelParameters(cmdline.text, "resume").length > 0;
    if (file.kind !== "text") return { swaps: null, resumes };
    const swaps = [];
    for (const line of file.text.split("\n").slice(1, 1000)) {
      const [name, kind] = line.trim().split(/\s+/);
      if (name === undefined || kind === undefined) continue;
      // proc_pid_mountinfo(5)'s escapes are used here as well.
      const path = name.replace(/\\040/g, " ");
      const under = await storage.under(path);
      const inMemory = under.kind === "memory" && under.below.length === 0;
      swaps.push({ path, kind, encrypted: inMemory ? ("memory" as const) : encryptionOf(under) });
    }
    return { swaps, resumes };
  },
  verdict: ({ swaps, resumes }) => {
    if (swaps === null) return verdictOf([remark("unknown", "file-unreadable", { file: value.path("/proc/swaps") })]);
    if (swaps.length === 0) return verdictOf([remark("pass", "none")]);
    return verdictOf(
      swaps.map(({ path, kind, encrypted }): Remark => {
        const swap = value.path(path);
        if (encrypted === "no") return remark("fail", "plain", { swap });
        if (encrypted === "unknown") return remark("unknown", "unknown", { swap });
        if (encrypted === "memory") return remark("pass", "memory", { swap });
        return kind === "file" && resumes
          ? remark("warn", "file-and-resume", { swap })
          : remark("pass", "encrypted", { swap });
      }),
    );
  },
};

import { parseCrypttab } from "../../host/crypttab.ts";
import { KEY_02 } from "../catalogue/key.ts";
import type { Check, Remark } from "../model.ts";
import { encryptionOf, storageOf } from "../storage/layers.ts";
import { remark, value, verdictOf } from "../verdict.ts";

interface Facts {
  readonly files: readonly {
    readonly path: string;
    readonly mode: number | null;
    readonly uid: number | null;
    readonly on: "yes" | "no" | "unknown";
  }[];
  /** Names of key files in the initramfs; null: it was not listed. */
  readonly inInitramfs: readonly string[] | null;
  /** What the initramfs lies on. */
  readonly bootOn: "yes" | "no" | "unknown";
}

export const key02: Check<Facts> = {
  ...KEY_02,
  about: "host",
  explanation: {
    de: "Eine Schlüsseldatei öffnet das Volume ohne jede Eingabe. Wer sie lesen kann, hat die Daten: andere Benutzer des Hosts, und jeder mit dem Datenträger, wenn sie oder eine Kopie in der Initramfs unverschlüsselt liegt.",
    en: "A key file opens the volume without anything being typed. Whoever can read it has the data: other users of the host, and everybody with the disk when it, or a copy in the initramfs, lies unencrypted.",
  },
  remedy: {
    de: "Setzen Sie `chmod 0400` und `chown root`, legen Sie die Datei auf ein verschlüsseltes Dateisystem und nehmen Sie sie aus der Initramfs (KEYFILE_PATTERN in /etc/cryptsetup-initramfs/conf-hook).",
    en: "Set `chmod 0400` and `chown root`, put the file on an encrypted file system and take it out of the initramfs (KEYFILE_PATTERN in /etc/cryptsetup-initramfs/conf-hook).",
  },
  sentences: {
    protected: {
      de: "{file} ist nur für root lesbar und liegt verschlüsselt.",
      en: "{file} can be read by root only, and lies encrypted.",
    },
    writable: {
      de: "{file} ist für root auch schreibbar (0600 statt 0400).",
      en: "{file} can be written by root as well (0600 instead of 0400).",
    },
    readable: {
      de: "{file} ist für andere als root lesbar (Rechte {mode}).",
      en: "{file} can be read by others than root (mode {mode}).",
    },
    plain: { de: "{file} liegt unverschlüsselt.", en: "{file} lies unencrypted." },
    "place-unknown": {
      de: "Ob {file} verschlüsselt liegt, ist nicht feststellbar.",
      en: "Whether {file} lies encrypted cannot be determined.",
    },
    "in-initramfs": {
      de: "Die Initramfs auf unverschlüsseltem /boot enthält eine Schlüsseldatei: {file}.",
      en: "The initramfs on an unencrypted /boot holds a key file: {file}.",
    },
    "initramfs-unknown": {
      de: "Ob die Initramfs Schlüsseldateien enthält, ist nicht feststellbar (lsinitramfs oder lsinitrd fehlt).",
      en: "Whether the initramfs holds key files cannot be determined (lsinitramfs or lsinitrd is missing).",
    },
    "no-key-files": { de: "Es werden keine Schlüsseldateien verwendet.", en: "No key files are in use." },
  },
  collect: async ({ host }) => {
    const [table, kernel, storage] = await Promise.all([
      host.file("/etc/crypttab"),
      host.run(["uname", "-r"]),
      storageOf(host),
    ]);
    const named = parseCrypttab(table.kind === "text" ? table.text : "").flatMap(
      (e) => e.keyFile?.replace(/:.*$/, "") ?? [],
    );
    const files = [];
    for (const path of new Set(named.filter((p) => !p.startsWith("/dev/")))) {
      const stat = await host.stat(path);
      const on = stat === null ? "unknown" : encryptionOf(await storage.under(path));
      files.push({ path, mode: stat?.mode ?? null, uid: stat?.uid ?? null, on } as const);
    }
    const release = kernel.kind === "ran" && kernel.exit === 0 ? kernel.stdout.trim() : null;
    return {
      files,
      inInitramfs: release === null ? null : await keysInInitramfs(release, host),
      bootOn: encryptionOf(await storage.under("/boot")),
    };
  },
  verdict: ({ files, inInitramfs, bootOn }) => {
    const found: Remark[] = files.flatMap(({ path, mode, uid, on }): Remark[] => {
      const file = value.path(path);
      const own: Remark[] = [];
      if (mode !== null && ((mode & 0o077) !== 0 || uid !== 0))
        own.push(remark("fail", "readable", { file, mode: value.text(mode.toString(8).padStart(4, "0")) }));
      if (on === "no") own.push(remark("fail", "plain", { file }));
      if (on === "unknown" || mode === null) own.push(remark("unknown", "place-unknown", { file }));
      if (own.length > 0) return own;
      return [
        ((mode ?? 0) & 0o222) !== 0 ? remark("warn", "writable", { file }) : remark("pass", "protected", { file }),
      ];
    });
    const bare = bootOn === "yes" ? [] : (inInitramfs ?? []);
    for (const name of bare) found.push(remark("fail", "in-initramfs", { file: value.path(name) }));
    if (files.length === 0 && bare.length === 0)
      found.push(
        inInitramfs === null && bootOn !== "yes"
          ? remark("unknown", "initramfs-unknown")
          : remark("n-a", "no-key-files"),
      );
    return verdictOf(found);
  },
};

/** Debian's hooks put them below cryptroot/keyfiles, dracut where they were. Null: no lister is there. */
async function keysInInitramfs(
  release: string,
  host: Parameters<Check<Facts>["collect"]>[0]["host"],
): Promise<string[] | null> {
  for (const argv of [
    ["lsinitramfs", `/boot/initrd.img-${release}`],
    ["lsinitrd", `/boot/initramfs-${release}.img`],
  ]) {
    const result = await host.run(argv);
    if (result.kind !== "ran" || result.exit !== 0) continue;
    const names = result.stdout.split("\n", 200_000).map((line) => line.trim().split(/\s+/).at(-1) ?? "");
    return names.filter((n) => /(^|\/)cryptroot\/keyfiles\/.+|\.(luks)?key$/.test(n)).slice(0, 100);
  }
  return null;
}

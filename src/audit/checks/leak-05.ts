import { attributeOf, childOf } from "../../libvirt/xml.ts";
import { LEAK_05 } from "../catalogue/leak.ts";
import type { Check, Remark } from "../model.ts";
import { kernelParameters, settingOf } from "../parse/settings-line.ts";
import { definitions } from "../storage/domain-xml.ts";
import { encryptionOf, storageOf } from "../storage/layers.ts";
import { remark, value, verdictOf } from "../verdict.ts";

type Encrypted = "yes" | "no" | "unknown";

interface Facts {
  /** Guests' memory in QEMU's core dumps: what each guest says, else the daemon's setting (libvirt's default: on). */
  readonly guests: readonly { readonly name: string; readonly included: boolean }[] | null;
  /** Where the kernel's core dumps go; null: nowhere. */
  readonly cores: { readonly path: string; readonly encrypted: Encrypted; readonly limited: boolean } | null;
  readonly coresKnown: boolean;
  /** Where libvirt writes automatic dumps. */
  readonly automatic: { readonly path: string; readonly encrypted: Encrypted };
  /** Crash dumps of the host itself; null: off. */
  readonly kdump: { readonly path: string; readonly encrypted: Encrypted } | null;
}

export const leak05: Check<Facts> = {
  ...LEAK_05,
  about: "host",
  explanation: {
    de: "Stürzt QEMU oder der Host ab, wird ein Abbild des Arbeitsspeichers geschrieben, mit allem, was der Gast gerade bearbeitet. Es gehört verhindert oder auf verschlüsselten Speicher.",
    en: "When QEMU or the host crashes, an image of memory is written, with all that the guest was working on. It belongs prevented, or on encrypted storage.",
  },
  remedy: {
    de: "Setzen Sie `dump_guest_core = 0` in /etc/libvirt/qemu.conf, begrenzen Sie Abbilder in /etc/systemd/coredump.conf (MaxUse=, oder Storage=none) und legen Sie ihre Ziele auf LUKS.",
    en: "Set `dump_guest_core = 0` in /etc/libvirt/qemu.conf, limit dumps in /etc/systemd/coredump.conf (MaxUse=, or Storage=none) and put where they go on LUKS.",
  },
  sentences: {
    excluded: {
      de: "Der Arbeitsspeicher der Gäste ist von Speicherabbildern ausgenommen.",
      en: "Guests' memory is left out of core dumps.",
    },
    "no-cores": { de: "Speicherabbilder werden nicht aufbewahrt.", en: "Core dumps are not kept." },
    encrypted: {
      de: "Speicherabbilder ({what}) gehen nach {folder}, und das liegt verschlüsselt.",
      en: "Dumps of memory ({what}) go to {folder}, which lies encrypted.",
    },
    unlimited: {
      de: "Speicherabbilder mit dem Arbeitsspeicher von Gästen ({guests}) gehen verschlüsselt nach {folder}, ohne Begrenzung der Aufbewahrung.",
      en: "Core dumps with guests' memory ({guests}) go to {folder}, encrypted, and are kept without limit.",
    },
    plain: {
      de: "Speicherabbilder ({what}) gehen unverschlüsselt nach {folder}.",
      en: "Dumps of memory ({what}) go to {folder}, unencrypted.",
    },
    unknown: {
      de: "Ob {folder}, wohin Speicherabbilder gehen ({what}), verschlüsselt liegt, ist nicht feststellbar.",
      en: "Whether {folder}, where dumps of memory go ({what}), lies encrypted cannot be determined.",
    },
    "cores-unknown": {
      de: "Wohin Speicherabbilder gehen, ist nicht feststellbar.",
      en: "Where core dumps go cannot be determined.",
    },
  },
  collect: async ({ guests, host }) => {
    const [conf, pattern, coredump, cmdline, debian, redHat, storage] = await Promise.all([
      host.file("/etc/libvirt/qemu.conf"),
      host.file("/proc/sys/kernel/core_pattern"),
      host.file("/etc/systemd/coredump.conf"),
      host.file("/proc/cmdline"),
      host.file("/etc/default/kdump-tools"),
      host.file("/etc/kdump.conf"),
      storageOf(host),
    ]);
    const text = (file: typeof conf) => (file.kind === "text" ? file.text : "");
    const place = async (path: string) => ({ path, encrypted: encryptionOf(await storage.wouldBeUnder(path)) });
    const byDefault = settingOf(text(conf), "dump_guest_core") !== "0";
    const named =
      guests === null
        ? null
        : await Promise.all(
            guests.map(async ({ name, uuid }) => {
              const said = (await definitions(host, uuid)).map((d) => attributeOf(childOf(d, "memory"), "dumpCore"));
              return { name, included: said.length === 0 || said.some((s) => s === "on" || (s === null && byDefault)) };
            }),
          );
    const handler = text(pattern).trim();
    const storageMode = settingOf(text(coredump), "Storage");
    let cores: Facts["cores"] = null;
    if (handler.startsWith("|") && handler.includes("systemd-coredump")) {
      // coredump.conf(5): without MaxUse= it takes up to 10 % of the file system, and tmpfiles.d removes after three days.
      if (storageMode !== "none") cores = { ...(await place("/var/lib/systemd/coredump")), limited: true };
    } else if (handler.startsWith("|")) cores = { path: handler.slice(1, 200), encrypted: "unknown", limited: false };
    // A relative name: QEMU's working directory is its own state folder.
    else if (handler !== "")
      cores = {
        ...(await place(
          handler.startsWith("/") ? handler.slice(0, handler.lastIndexOf("/")) || "/" : "/var/lib/libvirt/qemu",
        )),
        limited: false,
      };
    const crash = kernelParameters(text(cmdline), "crashkernel").length > 0;
    const folder = settingOf(text(debian), "KDUMP_COREDIR") ?? /^path\s+(\S+)/m.exec(text(redHat))?.[1] ?? "/var/crash";
    return {
      guests: named,
      cores,
      coresKnown: pattern.kind === "text",
      automatic: await place(settingOf(text(conf), "auto_dump_path") ?? "/var/lib/libvirt/qemu/dump"),
      kdump: crash ? await place(folder) : null,
    };
  },
  verdict: ({ guests, cores, coresKnown, automatic, kdump }) => {
    const found: Remark[] = [];
    const say = (what: string, { path, encrypted }: { path: string; encrypted: Encrypted }) => {
      const values = { what: value.program(what), folder: value.path(path) };
      const state = encrypted === "yes" ? "pass" : encrypted === "no" ? "fail" : "unknown";
      found.push(remark(state, encrypted === "yes" ? "encrypted" : encrypted === "no" ? "plain" : "unknown", values));
    };
    const included = guests?.filter((g) => g.included) ?? [];
    if (guests === null) found.push(remark("unknown", "guests-unknown"));
    else if (included.length === 0) found.push(remark("pass", "excluded"));
    else if (!coresKnown) found.push(remark("unknown", "cores-unknown"));
    else if (cores === null) found.push(remark("pass", "no-cores"));
    else if (cores.encrypted === "yes" && !cores.limited) {
      const names = value.guest(included.map((g) => g.name).join(", "));
      found.push(remark("warn", "unlimited", { guests: names, folder: value.path(cores.path) }));
    } else say("QEMU", cores);
    say("libvirt", automatic);
    if (kdump !== null) say("kdump", kdump);
    return verdictOf(found);
  },
};

import { parseFstab } from "../../host/mount-table.ts";
import { KEY_03 } from "../catalogue/key.ts";
import type { Check, Remark } from "../model.ts";
import { cryptLayersOf } from "../storage/crypt-volumes.ts";
import { storageOf } from "../storage/layers.ts";
import { mountOf } from "../storage/mounts.ts";
import { remark, value, verdictOf } from "../verdict.ts";

interface Facts {
  readonly autostart: boolean | null;
  /** Mappings that the guest needs. */
  readonly volumes: readonly string[];
  /** Drop-ins of libvirt's daemons that make them wait for one of these volumes or for the guest's folders. */
  readonly waits: readonly string[];
  /** Files that lie where a declared mount should be, and is not. */
  readonly beneath: readonly { readonly file: string; readonly mount: string }[];
}

const UNITS = ["libvirtd.service", "virtqemud.service", "libvirt-guests.service"];

export const key03: Check<Facts> = {
  ...KEY_03,
  about: "guest",
  explanation: {
    de: "Startet ein Gast, bevor sein Volume entsperrt ist, scheitert er im besten Fall. Im schlechten liegt am selben Ort noch ein altes, unverschlüsseltes Abbild, und der Gast schreibt seine Daten dorthin.",
    en: "A guest that starts before its volume is unlocked fails, at best. At worst an old unencrypted image still lies at the same place, and the guest writes its data there.",
  },
  remedy: {
    de: "`unterbau boot enable vm:NAME` schaltet den Autostart von libvirt ab und startet den Gast erst nach dem Entsperren; entfernen Sie Dateien unter dem Einhängepunkt.",
    en: "`unterbau boot enable vm:NAME` turns libvirt's autostart off and starts the guest only after its volume is unlocked; remove files beneath the mount point.",
  },
  sentences: {
    "by-hand": {
      de: "Der Gast startet nicht von selbst mit dem Host.",
      en: "The guest does not start by itself with the host.",
    },
    waits: {
      de: "Der Gast startet mit dem Host, und libvirt wartet auf sein Volume ({unit}).",
      en: "The guest starts with the host, and libvirt waits for its volume ({unit}).",
    },
    "no-dependency": {
      de: "Der Gast startet mit dem Host, ohne dass libvirt auf sein Volume ({volumes}) wartet.",
      en: "The guest starts with the host, and libvirt does not wait for its volume ({volumes}).",
    },
    beneath: {
      de: "Unter dem Einhängepunkt {mount}, der jetzt nicht eingehängt ist, liegt {file}.",
      en: "Beneath the mount point {mount}, which is not mounted now, lies {file}.",
    },
    "autostart-unknown": {
      de: "Ob der Gast von selbst startet, ist nicht feststellbar.",
      en: "Whether the guest starts by itself cannot be determined.",
    },
  },
  collect: async ({ guest, host }) => {
    const [storage, fstab] = await Promise.all([storageOf(host), host.file("/etc/fstab")]);
    const volumes = cryptLayersOf(guest).map((l) => l.name);
    const places = (guest?.disks ?? []).map((d) => d.place).filter((p) => p.startsWith("/"));
    const declared = fstab.kind === "text" ? parseFstab(fstab.text).map((m) => m.where) : [];
    const beneath = [];
    for (const place of places.filter((p) => !p.startsWith("/dev/"))) {
      const mount = declared
        .filter((m) => m !== "/" && place.startsWith(`${m}/`))
        .sort((a, b) => b.length - a.length)[0];
      if (mount === undefined || mountOf(place, storage.mounts)?.target === mount) continue;
      if ((await host.stat(place)) !== null) beneath.push({ file: place, mount });
    }
    const waits: string[] = [];
    for (const unit of UNITS) {
      const folder = `/etc/systemd/system/${unit}.d`;
      for (const name of (await host.list(folder)) ?? []) {
        const file = await host.file(`${folder}/${name}`);
        const text = file.kind === "text" ? file.text : "";
        const mounts = [...text.matchAll(/^RequiresMountsFor=(.*)$/gm)].flatMap((m) => m[1]!.split(/\s+/));
        const waiting =
          mounts.some((m) => m !== "" && places.some((p) => p === m || p.startsWith(`${m}/`))) ||
          volumes.some(
            (v) => text.includes(`systemd-cryptsetup@${v}.service`) || text.includes(`dev-mapper-${v}.device`),
          );
        if (waiting) waits.push(`${folder}/${name}`);
      }
    }
    return { autostart: guest?.autostart ?? null, volumes, waits, beneath };
  },
  verdict: ({ autostart, volumes, waits, beneath }) => {
    const found: Remark[] = beneath.map(({ file, mount }) =>
      remark("fail", "beneath", { file: value.path(file), mount: value.path(mount) }),
    );
    if (autostart === null) found.push(remark("unknown", "autostart-unknown"));
    else if (!autostart) found.push(remark("pass", "by-hand"));
    else if (waits.length > 0) found.push(remark("pass", "waits", { unit: value.path(waits.join(", ")) }));
    else found.push(remark("warn", "no-dependency", { volumes: value.text(volumes.join(", ") || "?") }));
    return verdictOf(found);
  },
};

import type { Element } from "@xmldom/xmldom";
import { attributeOf, childOf, childrenOf, parseXml } from "../../libvirt/xml.ts";
import { INV_02 } from "../catalogue/inv.ts";
import type { Check, HostReader, Remark } from "../model.ts";
import { dumpxml } from "../storage/domains.ts";
import { remark, value, verdictOf } from "../verdict.ts";

interface Facts {
  readonly guests:
    | readonly {
        readonly name: string;
        readonly uuid: string;
        /** Whether disks and interfaces are the same in both definitions; null: not read. */
        readonly same: boolean | null;
      }[]
    | null;
}

export const inv02: Check<Facts> = {
  ...INV_02,
  about: "host",
  explanation: {
    de: "Die Papiere gelten für bestimmte Gäste. Fehlt einer, heißt ein anderer wie er oder läuft er anders, als er eingerichtet ist, passen die Papiere nicht mehr zur Wirklichkeit.",
    en: "The papers are about certain guests. When one is missing, another one has its name, or it runs differently from how it is set up, the papers do not fit what is there any more.",
  },
  remedy: {
    de: "Tragen Sie die Gäste mit Name und UUID in scope.yaml unter `guests` ein; gleichen Sie laufende und gespeicherte Definition an (Gast neu starten oder `virsh edit NAME`).",
    en: "Write the guests with name and UUID into scope.yaml under `guests`; make the running and the stored definition the same (restart the guest, or `virsh edit NAME`).",
  },
  sentences: {
    "as-declared": {
      de: "Die Gäste sind die erklärten: {guests}.",
      en: "The guests are those that are declared: {guests}.",
    },
    undeclared: {
      de: "Der Gast {guest} ist nicht erklärt.",
      en: "The guest {guest} is not declared.",
    },
    missing: {
      de: "Der erklärte Gast {guest} ({uuid}) ist nicht da.",
      en: "The declared guest {guest} ({uuid}) is not there.",
    },
    "other-uuid": {
      de: "Der Gast {guest} hat eine andere UUID als erklärt ({uuid}).",
      en: "The guest {guest} has another UUID than declared ({uuid}).",
    },
    differs: {
      de: "Der Gast {guest} läuft mit anderen Datenträgern oder Netzanschlüssen, als gespeichert sind.",
      en: "The guest {guest} runs with other disks or network interfaces than are stored.",
    },
    "definition-unknown": {
      de: "Die Definition von {guest} konnte nicht gelesen werden.",
      en: "The definition of {guest} could not be read.",
    },
  },
  collect: async ({ guests, host }) => ({
    guests:
      guests === null
        ? null
        : await Promise.all(
            guests.map(async ({ name, uuid }) => ({ name, uuid, same: await sameDefinitions(uuid, host) })),
          ),
  }),
  verdict: ({ guests }, { declared }) => {
    if (guests === null) return verdictOf([remark("unknown", "guests-unknown")]);
    const found: Remark[] = [];
    const text = (name: string, uuid: string) => ({ guest: value.guest(name), uuid: value.serial(uuid) });
    for (const { name, uuid } of declared?.guests ?? []) {
      if (guests.some((g) => g.uuid === uuid)) continue;
      const renamed = guests.some((g) => g.name === name);
      found.push(remark("fail", renamed ? "other-uuid" : "missing", text(name, uuid)));
    }
    for (const { name, uuid, same } of guests) {
      const guest = value.guest(name);
      if (declared !== null && !declared.guests.some((d) => d.uuid === uuid))
        found.push(remark("warn", "undeclared", { guest }));
      if (same === false) found.push(remark("warn", "differs", { guest }));
      if (same === null) found.push(remark("unknown", "definition-unknown", { guest }));
    }
    if (declared === null) found.push(remark("unknown", "not-declared", { key: value.text("guests") }));
    const names = guests.map((g) => g.name).join(", ") || "-";
    return verdictOf(found.length === 0 ? [remark("pass", "as-declared", { guests: value.guest(names) })] : found);
  },
};

async function sameDefinitions(uuid: string, host: HostReader): Promise<boolean | null> {
  const results = await Promise.all([false, true].map((inactive) => host.run(dumpxml(uuid, inactive))));
  try {
    const [live, stored] = results.map((r) =>
      r.kind === "ran" && r.exit === 0 ? shapeOf(parseXml(r.stdout, "domain")) : null,
    );
    return live == null || stored == null ? null : live === stored;
  } catch {
    return null;
  }
}

/** What makes disks and interfaces these ones; what libvirt adds while the guest runs (aliases, addresses, taps) is left out. */
function shapeOf(domain: Element): string {
  const devices = childOf(domain, "devices");
  const all = (name: string) => (devices === null ? [] : childrenOf(devices, name));
  const attributes = (e: Element | null, names: readonly string[]) => names.map((n) => attributeOf(e, n));
  const disks = all("disk").map((d) => [
    attributeOf(childOf(d, "target"), "dev"),
    ...attributes(childOf(d, "source"), ["file", "dev", "name", "pool", "volume"]),
    attributeOf(childOf(d, "driver"), "type"),
  ]);
  const nics = all("interface").map((i) => [
    attributeOf(i, "type"),
    attributeOf(childOf(i, "mac"), "address"),
    ...attributes(childOf(i, "source"), ["network", "bridge", "dev"]).slice(
      0,
      attributeOf(i, "type") === "network" ? 1 : 3,
    ),
    attributeOf(childOf(i, "filterref"), "filter"),
  ]);
  return JSON.stringify([disks, nics]);
}

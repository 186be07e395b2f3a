import { type DeclaredEgress, declaredPart, type Said } from "../declared.ts";
import type { CheckContext, Remark, Rules } from "../model.ts";
import { remark, value } from "../verdict.ts";
import { collectEgress, type EgressFacts, type InterfaceFacts } from "./collect.ts";

/** What NET-01 to NET-04 are judged by: the guest's name says which declaration is its own. */
export interface GuestEgress extends EgressFacts {
  readonly guest: string;
}

export async function collectGuestEgress(context: CheckContext): Promise<GuestEgress> {
  return { guest: context.guest?.name ?? "", ...(await collectEgress(context)) };
}

/** What is declared of this guest's egress. */
export function declaredEgress(rules: Rules, guest: string): Said<DeclaredEgress> {
  const all = declaredPart(rules.declared, "egress");
  if (all.kind !== "said") return all;
  return Object.hasOwn(all.value, guest) ? { kind: "said", value: all.value[guest]! } : { kind: "nothing" };
}

/** Remarks that end the judgment: nothing could be read, or there is nothing that leads out. Null: go on. */
export function withoutInterfaces({ interfaces, cards }: EgressFacts): Remark[] | null {
  if (interfaces === null) return [remark("unknown", "no-definition")];
  return interfaces.length === 0 && cards.length === 0 ? [remark("n-a", "no-interface")] : null;
}

/** How the sentences name an interface. */
export function named({ name, type, source }: InterfaceFacts) {
  return {
    interface: value.text(name),
    type: value.text(source === null ? type : `${type} ${source}`),
  };
}

/** Programs whose rules stayed unread, as remarks. */
export function unread({ missing }: EgressFacts): Remark[] {
  return missing.map((program) => remark("unknown", "rules-unread", { program: value.program(program) }));
}

export const NET_SENTENCES = {
  "no-definition": {
    de: "Nicht feststellbar: Die Definition des Gastes ist nicht lesbar.",
    en: "Cannot be determined: the guest's definition cannot be read.",
  },
  "no-interface": {
    de: "Der Gast hat keine Netzwerkschnittstelle.",
    en: "The guest has no network interface.",
  },
  "rules-unread": {
    de: "Nicht feststellbar: {program} gibt die Filterregeln nicht aus. Installieren Sie das Programm und führen Sie die Prüfung als root aus.",
    en: "Cannot be determined: {program} does not give the filter's rules. Install the program and run the audit as root.",
  },
  "egress-not-understood": {
    de: "Nicht beurteilbar: Die Erklärung zu den erlaubten Gegenstellen ist fehlerhaft ({where}: {why}).",
    en: "Cannot be judged: the declaration of allowed peers is wrong ({where}: {why}).",
  },
} as const;

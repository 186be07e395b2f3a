import { NET_01 } from "../catalogue/net.ts";
import type { Check, Remark } from "../model.ts";
import {
  collectGuestEgress,
  declaredEgress,
  type GuestEgress,
  NET_SENTENCES,
  named,
  unread,
  withoutInterfaces,
} from "../net/judge.ts";
import { remark, value, verdictOf } from "../verdict.ts";

/** Of IPv4; NET-03 says whether IPv6 is treated alike. */
export const net01: Check<GuestEgress> = {
  ...NET_01,
  about: "guest",
  explanation: {
    de: "Darf ein Gast von sich aus jede Adresse im Internet erreichen, so kann auch eingeschleuste Software Daten überallhin senden. Sicher ist, was alles verbietet und nur das Nötige erlaubt.",
    en: "A guest that may reach every address on the internet lets intruding software send data anywhere. What forbids everything and allows only what is needed is safe.",
  },
  remedy: {
    de: "`unterbau egress plan vm:NAME` erzeugt aus den erklärten Gegenstellen einen Filter mit dem Grundsatz „verboten, was nicht erlaubt ist“; `--apply` wendet ihn an.",
    en: "`unterbau egress plan vm:NAME` makes a filter of the declared peers that forbids all else; `--apply` puts it in force.",
  },
  sentences: {
    ...NET_SENTENCES,
    closed: {
      de: "Über {interface} ({type}) ist ausgehend verboten, was nicht ausdrücklich erlaubt ist ({rule}).",
      en: "Through {interface} ({type}) nothing goes out that is not explicitly allowed ({rule}).",
    },
    isolated: {
      de: "{interface} ({type}) führt in ein Netz ohne Weg nach außen.",
      en: "{interface} ({type}) leads into a network without a way outside.",
    },
    down: { de: "{interface} ({type}) ist abgeschaltet.", en: "{interface} ({type}) is switched off." },
    open: {
      de: "Über {interface} ({type}) ist ausgehend alles erlaubt.",
      en: "Through {interface} ({type}) everything may go out.",
    },
    logged: {
      de: "Über {interface} ({type}) ist ausgehend alles erlaubt; es wird protokolliert.",
      en: "Through {interface} ({type}) everything may go out; it is logged.",
    },
    bypass: {
      de: "{interface} ({type}) umgeht jeden Filter des Hosts.",
      en: "{interface} ({type}) goes past every filter of the host.",
    },
    card: {
      de: "Der Gast hat die Netzwerkkarte {address} für sich; kein Filter des Hosts sieht ihren Verkehr.",
      en: "The guest has the network card {address} for itself; no filter of the host sees its traffic.",
    },
    unclear: {
      de: "Nicht feststellbar: Ob {interface} ({type}) ausgehend gefiltert wird, ist aus den Regeln nicht zu beweisen.",
      en: "Cannot be determined: the rules do not prove whether {interface} ({type}) is filtered on its way out.",
    },
    elsewhere: {
      de: "Nicht gemessen: Laut Erklärung filtert ein anderes Gerät als dieser Host.",
      en: "Not measured: it is declared that another device than this host filters.",
    },
  },
  collect: collectGuestEgress,
  verdict: (facts, rules) => {
    const ended = withoutInterfaces(facts);
    if (ended !== null) return verdictOf(ended);
    const declared = declaredEgress(rules, facts.guest);
    const elsewhere = declared.kind === "said" && declared.value.elsewhere;
    const remarks: Remark[] = facts.cards.map((card) => remark("fail", "card", { address: value.serial(card) }));
    for (const one of facts.interfaces ?? []) {
      const { way, v4 } = one;
      if (way === "isolated" || way === "down") remarks.push(remark("pass", way, named(one)));
      else if (v4.rest === "drop")
        remarks.push(remark("pass", "closed", { ...named(one), rule: value.rule(v4.by.join(", ")) }));
      else if (elsewhere) remarks.push(remark("unknown", "elsewhere"));
      else if (way === "bypass") remarks.push(remark("fail", "bypass", named(one)));
      else if (v4.rest === "unclear") remarks.push(remark("unknown", "unclear", named(one)), ...unread(facts));
      else remarks.push(remark(v4.logged ? "warn" : "fail", v4.logged ? "logged" : "open", named(one)));
    }
    return verdictOf(remarks);
  },
};

import { NET_02 } from "../catalogue/net.ts";
import type { Check, Remark } from "../model.ts";
import { parsePrefix } from "../net/addresses.ts";
import {
  collectGuestEgress,
  declaredEgress,
  type GuestEgress,
  NET_SENTENCES,
  named,
  unread,
  withoutInterfaces,
} from "../net/judge.ts";
import { compare, peersOf } from "../net/peers.ts";
import { remark, value, verdictOf } from "../verdict.ts";

export const net02: Check<GuestEgress> = {
  ...NET_02,
  about: "guest",
  explanation: {
    de: "Der Filter soll genau die Gegenstellen erlauben, die Sie im Vertrag und im Verzeichnis nennen: Was darüber hinaus erlaubt ist, ist ein unbekannter Empfänger.",
    en: "The filter should allow exactly the peers that contract and record name: whatever it allows beyond them is an unknown recipient.",
  },
  remedy: {
    de: "Erklären Sie die Gegenstelle (`egress` in der Erklärungsdatei) oder nehmen Sie die Regel heraus; `unterbau egress plan vm:NAME` erzeugt den Filter aus der Erklärung.",
    en: "Declare the peer (`egress` in the scope file) or take the rule out; `unterbau egress plan vm:NAME` makes the filter of the declaration.",
  },
  sentences: {
    ...NET_SENTENCES,
    "as-declared": {
      de: "{interface} ({type}) erreicht nur erklärte Gegenstellen.",
      en: "{interface} ({type}) reaches declared peers only.",
    },
    nothing: {
      de: "{interface} ({type}) erreicht nichts außerhalb.",
      en: "{interface} ({type}) reaches nothing outside.",
    },
    everything: {
      de: "{interface} ({type}) erreicht beliebige Gegenstellen; eine Auswahl findet nicht statt.",
      en: "{interface} ({type}) reaches any peer; nothing is selected.",
    },
    anywhere: {
      de: "{interface}: Eine Regel erlaubt beliebige Ziele: {rule}.",
      en: "{interface}: a rule allows any destination: {rule}.",
    },
    undeclared: {
      de: "{interface}: Eine Regel erlaubt ein nicht erklärtes Ziel: {rule}.",
      en: "{interface}: a rule allows a destination that is not declared: {rule}.",
    },
    "by-name": {
      de: "{interface}: Ob {rule} zu einer mit Namen erklärten Gegenstelle gehört, ist nicht feststellbar. Erklären Sie Adressen.",
      en: "{interface}: whether {rule} belongs to a peer declared by name cannot be determined. Declare addresses.",
    },
    dynamic: {
      de: "{interface}: Die Ziele stehen in einer Liste, die sich zur Laufzeit füllt: {rule}.",
      en: "{interface}: the destinations are a set that is filled while it runs: {rule}.",
    },
    unclear: {
      de: "{interface}: Was diese Regel erlaubt, ist nicht sicher zu lesen: {rule}.",
      en: "{interface}: what this rule allows cannot be read for sure: {rule}.",
    },
    icmp: {
      de: "{interface}: ICMP ist zu beliebigen Zielen erlaubt.",
      en: "{interface}: ICMP is allowed to any destination.",
    },
    lacking: {
      de: "{interface}: Die erklärte Gegenstelle {peer} ist nicht erlaubt.",
      en: "{interface}: the declared peer {peer} is not allowed.",
    },
    "not-proven": {
      de: "Nicht feststellbar: Welche Gegenstellen {interface} ({type}) erreicht, ist aus den Regeln nicht zu beweisen.",
      en: "Cannot be determined: the rules do not prove which peers {interface} ({type}) reaches.",
    },
    "peers-not-declared": {
      de: "Nicht beurteilbar: Erlaubte Gegenstellen dieses Gastes sind nicht erklärt (`egress`).",
      en: "Cannot be judged: no allowed peers are declared for this guest (`egress`).",
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
    if (declared.kind === "wrong") {
      const { where, why } = declared;
      return verdictOf([
        remark("unknown", "egress-not-understood", { where: value.text(where), why: value.text(why) }),
      ]);
    }
    const peers = declared.kind === "said" ? peersOf(declared.value) : [];
    const remarks: Remark[] = facts.cards.length > 0 ? [remark("fail", "everything", CARD)] : [];
    for (const one of facts.interfaces ?? []) {
      const names = named(one);
      if (one.way === "isolated" || one.way === "down") {
        remarks.push(remark("pass", "nothing", names));
        continue;
      }
      if (declared.kind === "said" && declared.value.elsewhere) {
        remarks.push(remark("unknown", "elsewhere"));
        continue;
      }
      const before = remarks.length;
      for (const family of [4, 6] as const) {
        const { rest, accepts } = family === 4 ? one.v4 : one.v6;
        // That IPv6 is open is what NET-03 says.
        if (rest !== "drop" && family === 6) continue;
        if (rest === "accept") remarks.push(remark("fail", "everything", names));
        if (rest === "unclear") remarks.push(remark("unknown", "not-proven", names), ...unread(facts));
        if (rest !== "drop") continue;
        const own = one.own.flatMap((o) => parsePrefix(o) ?? []);
        const c = compare(accepts, peers, own, family);
        const rule = (text: string) => ({ ...names, rule: value.rule(text) });
        for (const text of c.anywhere) remarks.push(remark("fail", "anywhere", rule(text)));
        if (declared.kind === "nothing" && c.extra.length > 0) remarks.push(remark("unknown", "peers-not-declared"));
        else for (const text of c.extra) remarks.push(remark("fail", "undeclared", rule(text)));
        for (const text of c.named) remarks.push(remark("unknown", "by-name", rule(text)));
        for (const text of c.unclear) remarks.push(remark("unknown", "unclear", rule(text)));
        for (const text of c.dynamic) remarks.push(remark("warn", "dynamic", rule(text)));
        if (c.icmpAnywhere) remarks.push(remark("warn", "icmp", names));
        // Peers of IPv6 can only be missed where there is IPv6.
        if (family === 4 || accepts.length > 0)
          for (const peer of c.lacking) remarks.push(remark("warn", "lacking", { ...names, peer: value.text(peer) }));
      }
      if (remarks.length === before)
        remarks.push(remark("pass", one.v4.accepts.length === 0 ? "nothing" : "as-declared", names));
    }
    return verdictOf(remarks);
  },
};

const CARD = { interface: value.text("PCI"), type: value.text("hostdev") };

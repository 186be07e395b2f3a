import { NET_04 } from "../catalogue/net.ts";
import type { Check, Remark } from "../model.ts";
import { collectGuestEgress, type GuestEgress, NET_SENTENCES, named, unread, withoutInterfaces } from "../net/judge.ts";
import { remark, value, verdictOf } from "../verdict.ts";

export const net04: Check<GuestEgress> = {
  ...NET_04,
  about: "guest",
  explanation: {
    de: "An einer gemeinsamen Brücke kann sich ein Gast als ein anderer ausgeben und dessen Verkehr an sich ziehen, wenn niemand Absenderadressen prüft.",
    en: "On a shared bridge a guest can pretend to be another and draw its traffic to itself unless somebody checks senders' addresses.",
  },
  remedy: {
    de: "Setzen Sie an der Schnittstelle `<filterref filter='clean-traffic'>` mit dem Parameter IP, oder trennen Sie die Gäste in eigene Netze.",
    en: "Put `<filterref filter='clean-traffic'>` with the parameter IP on the interface, or separate the guests into networks of their own.",
  },
  sentences: {
    ...NET_SENTENCES,
    stopped: {
      de: "{interface} ({type}): Gefälschte MAC- und IP-Absender werden verworfen.",
      en: "{interface} ({type}): forged MAC and IP senders are dropped.",
    },
    alone: {
      de: "{interface} ({type}): Kein anderer Gast liegt am selben Netz.",
      en: "{interface} ({type}): no other guest is on the same network.",
    },
    "only-mac": {
      de: "{interface} ({type}): Nur gefälschte MAC-Absender werden verworfen, gefälschte IP-Absender nicht.",
      en: "{interface} ({type}): only forged MAC senders are dropped, forged IP senders are not.",
    },
    "only-ip": {
      de: "{interface} ({type}): Nur gefälschte IP-Absender werden verworfen, gefälschte MAC-Absender nicht.",
      en: "{interface} ({type}): only forged IP senders are dropped, forged MAC senders are not.",
    },
    none: {
      de: "{interface} ({type}): Gefälschte Absender werden nicht verworfen; am selben Netz liegen: {guests}.",
      en: "{interface} ({type}): forged senders are not dropped; on the same network: {guests}.",
    },
    "not-bound": {
      de: "{interface} ({type}): Der Filter {filter} ist eingetragen, aber nicht in Kraft.",
      en: "{interface} ({type}): the filter {filter} is named, but not in force.",
    },
    unclear: {
      de: "Nicht feststellbar: Ob gefälschte Absender an {interface} ({type}) verworfen werden, ist aus den Regeln nicht zu beweisen.",
      en: "Cannot be determined: the rules do not prove whether forged senders are dropped at {interface} ({type}).",
    },
  },
  collect: collectGuestEgress,
  verdict: (facts) => {
    const ended = withoutInterfaces(facts);
    if (ended !== null) return verdictOf(ended);
    if (facts.interfaces?.length === 0) return verdictOf([remark("n-a", "no-interface")]);
    return verdictOf(
      (facts.interfaces ?? []).flatMap((one): Remark[] => {
        const names = named(one);
        if (one.filter !== null && one.bound === false)
          return [remark("fail", "not-bound", { ...names, filter: value.rule(one.filter) })];
        const { foreignMac: mac, foreignAddress: address } = one;
        // A bridge with a port to the outside is shared with whatever is there.
        const shared = one.neighbours.length > 0 || one.way === "bridged";
        if (mac === "stopped" && address === "stopped") return [remark("pass", "stopped", names)];
        if (!shared) return [remark("pass", "alone", names)];
        if (mac === "unclear" || address === "unclear") return [remark("unknown", "unclear", names), ...unread(facts)];
        if (mac === "stopped") return [remark("warn", "only-mac", names)];
        if (address === "stopped") return [remark("warn", "only-ip", names)];
        const guests = one.neighbours.length > 0 ? one.neighbours.join(", ") : "–";
        return [remark("fail", "none", { ...names, guests: value.guest(guests) })];
      }),
    );
  },
};

import { NET_03 } from "../catalogue/net.ts";
import type { Check } from "../model.ts";
import { collectGuestEgress, type GuestEgress, NET_SENTENCES, named, unread, withoutInterfaces } from "../net/judge.ts";
import { remark, verdictOf } from "../verdict.ts";

export const net03: Check<GuestEgress> = {
  ...NET_03,
  about: "guest",
  explanation: {
    de: "Ein Filter nur für IPv4 ist wertlos, sobald der Gast über IPv6 hinauskommt: Betriebssysteme bevorzugen IPv6, wo es verfügbar ist.",
    en: "A filter for IPv4 alone is worth nothing once the guest gets out by IPv6: operating systems prefer IPv6 where it is available.",
  },
  remedy: {
    de: "Filtern Sie IPv6 ebenso wie IPv4 (`unterbau egress plan vm:NAME` schreibt beides), oder schalten Sie IPv6 auf der Brücke ab.",
    en: "Filter IPv6 as IPv4 (`unterbau egress plan vm:NAME` writes both), or turn IPv6 off on the bridge.",
  },
  sentences: {
    ...NET_SENTENCES,
    alike: {
      de: "{interface} ({type}): IPv6 wird ausgehend ebenso behandelt wie IPv4.",
      en: "{interface} ({type}): IPv6 is treated on its way out as IPv4 is.",
    },
    disabled: {
      de: "{interface} ({type}): IPv6 ist auf der Brücke abgeschaltet.",
      en: "{interface} ({type}): IPv6 is turned off on the bridge.",
    },
    "link-local": {
      de: "{interface} ({type}): IPv6 ist nicht gefiltert, wird vom Host aber nicht weitergeleitet; erreichbar ist nur das eigene Segment.",
      en: "{interface} ({type}): IPv6 is not filtered, but the host does not forward it; only the own segment can be reached.",
    },
    open6: {
      de: "{interface} ({type}): IPv4 ist gefiltert, IPv6 ist offen.",
      en: "{interface} ({type}): IPv4 is filtered, IPv6 is open.",
    },
    unclear: {
      de: "Nicht feststellbar: Ob {interface} ({type}) für IPv6 gefiltert wird, ist aus den Regeln nicht zu beweisen.",
      en: "Cannot be determined: the rules do not prove whether {interface} ({type}) is filtered for IPv6.",
    },
  },
  collect: collectGuestEgress,
  verdict: (facts) => {
    const ended = withoutInterfaces(facts);
    if (ended !== null) return verdictOf(ended);
    // A card of its own carries both alike.
    if (facts.interfaces?.length === 0) return verdictOf([remark("n-a", "no-interface")]);
    return verdictOf(
      (facts.interfaces ?? []).flatMap((one) => {
        const names = named(one);
        const { v4, v6, way } = one;
        if (v6.rest === "drop") return [remark("pass", "alike", names)];
        if (way === "routed" && one.noIpv6 === true) return [remark("pass", "disabled", names)];
        if (way === "routed" && facts.forwards6 === false) return [remark("warn", "link-local", names)];
        if (v6.rest === "unclear" || v4.rest === "unclear")
          return [remark("unknown", "unclear", names), ...unread(facts)];
        return [v4.rest === "drop" ? remark("fail", "open6", names) : remark("pass", "alike", names)];
      }),
    );
  },
};

import { testFlips } from "../../../test/helpers/flipped.ts";

const WEB = "bd0276b4-69f2-5c0a-930b-82b30f9bbddb";
const dumpxml = (uuid: string) => `dumpxml --domain=${uuid}`;

testFlips([
  [
    "a filter without its last rule",
    { commands: { "nwfilter=egress-web": (t) => t.replace(/ {2}<rule action='drop'[\s\S]*?<\/rule>\n/, "") } },
    { "NET-01 web": ["fail", "open"], "NET-02 web": ["fail", "everything"] },
  ],
  [
    "macvtap",
    {
      commands: {
        [dumpxml(WEB)]: (t) =>
          t
            .replace("interface type='bridge'", "interface type='direct'")
            .replace("source bridge='br0'", "source dev='eno1'"),
      },
    },
    { "NET-01 web": ["fail", "bypass"], "NET-02 web": ["fail", "everything"] },
  ],
  [
    "a peer that is not declared",
    { scope: (t) => t.replace("198.51.100.25", "198.51.100.26") },
    { "NET-02 mail": ["fail", "undeclared"] },
  ],
  [
    "a port that is not declared",
    { scope: (t) => t.replace("ports: [25]", "ports: [465]") },
    { "NET-02 mail": ["fail", "undeclared"] },
  ],
  [
    "a declared peer that the filter stops",
    { scope: (t) => t.replace("ports: [25]", "ports: [25, 465]") },
    { "NET-02 mail": ["warn", "lacking"] },
  ],
  [
    "a declaration with a mistake",
    { scope: (t) => t.replace("ports: [25]", "ports: [x]") },
    { "NET-02 mail": ["unknown", "egress-not-understood"], "NET-02 web": ["unknown", "egress-not-understood"] },
  ],
  [
    "a filter that lets IPv6 through",
    {
      commands: {
        "nwfilter=egress-web": (t) =>
          t.replace(
            "<filterref filter='no-other-l2-traffic'/>",
            "<rule action='accept' direction='inout' priority='-400'><mac protocolid='ipv6'/></rule>",
          ),
      },
    },
    { "NET-03 web": ["fail", "open6"] },
  ],
  [
    "a filter that does not look at addresses",
    { commands: { "nwfilter=egress-web": (t) => t.replace("<filterref filter='no-ip-spoofing'/>", "") } },
    { "NET-04 web": ["warn", "only-mac"] },
  ],
  [
    "a filter that is not in force",
    { commands: { "nwfilter-binding-list": () => "" } },
    { "NET-04 mail": ["fail", "not-bound"] },
  ],
]);

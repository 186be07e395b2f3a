import type { GuestFiles } from "../model.ts";
import type { MainCf } from "./postfix.ts";
import { readRspamd } from "./rspamd.ts";

/** A service outside that is asked about mails. */
export interface SpamService {
  /** `razor2`, `pyzor`, `dcc`, `spamassassin-dnsbl`, `spamassassin-uribl`, `rspamd-fuzzy`, `virustotal`, or a zone. */
  readonly name: string;
  /** The file that switches it on. */
  readonly file: string;
}

export interface FoundServices {
  readonly services: readonly SpamService[];
  readonly programs: readonly string[];
}

const MAX_FILES = 200;

export async function spamServices(inside: GuestFiles, main: MainCf | null): Promise<FoundServices> {
  const [assassin, rspamd] = await Promise.all([spamAssassin(inside), readRspamd(inside)]);
  const postfix = main === null ? [] : blockLists(main);
  const services = new Map([...assassin.services, ...rspamd.services, ...postfix].map((s) => [s.name, s]));
  return { services: [...services.values()], programs: [...assassin.programs, ...rspamd.programs] };
}

/** postconf(5): reject_rbl_client and its kin, and postscreen's lists. */
function blockLists(main: MainCf): SpamService[] {
  const file = "/etc/postfix/main.cf";
  const zones: string[] = [];
  for (const [name, value] of main) {
    for (const [, zone] of value.matchAll(/\breject_(?:rbl|rhsbl)_\w+\s+([\w.-]+)/g)) zones.push(zone!);
    if (name === "postscreen_dnsbl_sites")
      zones.push(...value.split(/[\s,]+/).flatMap((site) => /^([\w.-]+)/.exec(site)?.[1] ?? []));
  }
  return zones.map((zone) => ({ name: zone.toLowerCase(), file }));
}

/** What a plugin needs beside itself on Debian; without it SpamAssassin does without the service. */
const NEEDS: Readonly<Record<string, string>> = {
  razor2: "/usr/share/perl5/Razor2",
  pyzor: "/usr/lib/python3/dist-packages/pyzor",
};

/** Mail::SpamAssassin::Conf(3pm): plugins of `*.pre`, switches of `*.cf`, all in the order of their names. */
async function spamAssassin(inside: GuestFiles): Promise<FoundServices> {
  for (const folder of ["/etc/spamassassin", "/etc/mail/spamassassin"]) {
    const names = await inside.list(folder);
    if (names === null) continue;
    const plugins = new Map<string, string>();
    const switches = new Map<string, string>();
    const ordered = [...names.filter((n) => n.endsWith(".pre")), ...names.filter((n) => n.endsWith(".cf"))];
    const zones: SpamService[] = [];
    for (const name of ordered.slice(0, MAX_FILES)) {
      const path = `${folder}/${name}`;
      const file = await inside.file(path);
      if (file.kind !== "text") continue;
      for (const line of file.text.split("\n")) {
        const [, plugin] = /^\s*loadplugin\s+(?:Mail::SpamAssassin::Plugin::)?(\w+)/.exec(line) ?? [];
        if (plugin !== undefined) plugins.set(plugin, path);
        const [, key, value] = /^\s*(use_\w+|skip_\w+_checks|dns_available)\s+(\S+)/.exec(line) ?? [];
        if (key !== undefined) switches.set(key, value!);
        const [, zone] = /eval:check_rbl(?:_txt)?\('[^']*',\s*'([\w.-]+?)\.?'/.exec(line) ?? [];
        if (zone !== undefined) zones.push({ name: zone.toLowerCase(), file: path });
      }
    }
    if (await localOnly(inside)) return { services: [], programs: ["SpamAssassin"] };
    const services: SpamService[] = [];
    for (const [name, plugin] of [
      ["razor2", "Razor2"],
      ["pyzor", "Pyzor"],
      ["dcc", "DCC"],
    ] as const) {
      const file = plugins.get(plugin);
      const need = NEEDS[name];
      const installed = need === undefined || (await inside.list(need)) !== null;
      if (file !== undefined && installed && switches.get(`use_${name}`) !== "0") services.push({ name, file });
    }
    const network = switches.get("dns_available") !== "no";
    const lists = plugins.get("DNSEval");
    if (network && lists !== undefined && switches.get("skip_rbl_checks") !== "1")
      services.push({ name: "spamassassin-dnsbl", file: lists }, ...zones);
    const urls = plugins.get("URIDNSBL");
    if (network && urls !== undefined && switches.get("skip_uribl_checks") !== "1")
      services.push({ name: "spamassassin-uribl", file: urls });
    return { services, programs: ["SpamAssassin"] };
  }
  return { services: [], programs: [] };
}

const AMAVIS = ["/etc/amavisd/amavisd.conf", "/etc/amavisd.conf"];

/**
 * Amavis calls SpamAssassin by itself: `$sa_local_tests_only` then keeps it from asking anybody. Where spamd runs beside it that says
 * nothing.
 */
async function localOnly(inside: GuestFiles): Promise<boolean> {
  const names = await inside.list("/etc/amavis/conf.d");
  // amavisd-new(8): Debian splits the file that others have whole.
  const paths = [...AMAVIS, ...(names ?? []).slice(0, MAX_FILES).map((name) => `/etc/amavis/conf.d/${name}`)];
  const files = await Promise.all(paths.map((path) => inside.file(path)));
  const wanted = (await inside.list("/etc/systemd/system/multi-user.target.wants")) ?? [];
  if (wanted.some((n) => /^(spamd|spamassassin)\.service$/.test(n))) return false;
  let local = false;
  for (const file of files) {
    if (file.kind !== "text") continue;
    // Perl: the last assignment counts.
    for (const [, value] of file.text.matchAll(/^[ \t]*\$sa_local_tests_only\s*=\s*(\d)/gm)) local = value === "1";
  }
  return local;
}

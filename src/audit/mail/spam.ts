import type { GuestFiles } from "../model.ts";
import type { MainCf } from "./postfix.ts";

/** A service outside that is asked about mails. */
export interface SpamService {
  /** `razor2`, `pyzor`, `dcc`, `spamassassin-dnsbl`, `spamassassin-uribl`, `rspamd-fuzzy`, or a zone. */
  readonly name: string;
  /** The file that switches it on. */
  readonly file: string;
}

interface Found {
  readonly services: readonly SpamService[];
  readonly programs: readonly string[];
}

const MAX_FILES = 200;

export async function spamServices(inside: GuestFiles, main: MainCf | null): Promise<Found> {
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
async function spamAssassin(inside: GuestFiles): Promise<Found> {
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

/**
 * Amavis calls SpamAssassin by itself: `$sa_local_tests_only` then keeps it from asking anybody. Where spamd runs beside it that says
 * nothing.
 */
async function localOnly(inside: GuestFiles): Promise<boolean> {
  const names = await inside.list("/etc/amavis/conf.d");
  if (names === null) return false;
  const wanted = (await inside.list("/etc/systemd/system/multi-user.target.wants")) ?? [];
  if (wanted.some((n) => /^(spamd|spamassassin)\.service$/.test(n))) return false;
  let local = false;
  for (const name of names.slice(0, MAX_FILES)) {
    const file = await inside.file(`/etc/amavis/conf.d/${name}`);
    if (file.kind !== "text") continue;
    // Perl: the last assignment counts.
    for (const [, value] of file.text.matchAll(/^[ \t]*\$sa_local_tests_only\s*=\s*(\d)/gm)) local = value === "1";
  }
  return local;
}

/** rspamd.com, "Configuration": modules.d, then local.d, then override.d; the last that says something counts. */
async function readRspamd(inside: GuestFiles): Promise<Found> {
  if ((await inside.list("/etc/rspamd")) === null) return { services: [], programs: [] };
  const read = async (module: string) => {
    let text = "";
    let file = "";
    let enabled = true;
    for (const path of [`modules.d/${module}.conf`, `local.d/${module}.conf`, `override.d/${module}.conf`]) {
      const found = await inside.file(`/etc/rspamd/${path}`);
      if (found.kind !== "text") continue;
      const plain = found.text.replace(/#.*$/gm, "");
      const said = topLevel(plain, "enabled");
      if (said !== null) enabled = !["false", "no", "off"].includes(said);
      // A file of override.d replaces what is before it.
      text = path.startsWith("override") && /\{/.test(plain) ? plain : `${text}\n${plain}`;
      file = `/etc/rspamd/${path}`;
    }
    return enabled ? { text, file } : null;
  };
  const [rbl, fuzzy, external] = await Promise.all([read("rbl"), read("fuzzy_check"), read("external_services")]);
  const services: SpamService[] = [];
  for (const [, zone] of (rbl?.text ?? "").matchAll(/\brbl\s*=\s*"([\w.-]+)"/g))
    services.push({ name: zone!.toLowerCase(), file: rbl!.file });
  for (const [, servers] of (fuzzy?.text ?? "").matchAll(/\bservers\s*=\s*"([^"]+)"/g))
    if (!/^(localhost|127\.|\[::1\])/.test(servers!.replace(/^[a-z-]+:/, "")))
      services.push({ name: "rspamd-fuzzy", file: fuzzy!.file });
  for (const name of ["razor", "pyzor", "dcc"])
    if (new RegExp(`^\\s*${name}\\s*\\{`, "m").test(external?.text ?? ""))
      services.push({ name: name === "razor" ? "razor2" : name, file: external!.file });
  return { services, programs: ["rspamd"] };
}

/** A setting of UCL outside of all braces. */
function topLevel(text: string, key: string): string | null {
  let depth = 0;
  let found: string | null = null;
  for (const line of text.split("\n")) {
    const value = new RegExp(`^\\s*${key}\\s*[=:]\\s*"?(\\w+)`).exec(line)?.[1];
    // `rbl { … }` around everything is the module itself.
    if (value !== undefined && depth <= 1) found = depth === 0 || found === null ? value.toLowerCase() : found;
    depth += (line.match(/\{/g)?.length ?? 0) - (line.match(/\}/g)?.length ?? 0);
  }
  return found;
}

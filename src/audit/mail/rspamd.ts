import type { GuestFiles } from "../model.ts";
import type { FoundServices, SpamService } from "./spam.ts";
import { emptySection, flag, merged, overridden, parseUcl, type Section } from "./ucl.ts";

interface Module {
  readonly section: Section;
  /** The last file that says something of it. */
  readonly file: string;
}

/** External services that ask somebody outside, with the names that declarations have for them. */
const EXTERNAL: Readonly<Record<string, string>> = {
  razor: "razor2",
  pyzor: "pyzor",
  dcc: "dcc",
  virustotal: "virustotal",
};

/** Services outside that rspamd's modules ask (rspamd.com, "Modules"); none where it is not set up. */
export async function readRspamd(inside: GuestFiles): Promise<FoundServices> {
  if ((await inside.list("/etc/rspamd")) === null) return { services: [], programs: [] };
  const [rbl, fuzzy, external, antivirus, dcc, asn, phishing] = await Promise.all(
    ["rbl", "fuzzy_check", "external_services", "antivirus", "dcc", "asn", "phishing"].map((m) => moduleOf(inside, m)),
  );
  const services: SpamService[] = [];
  const found = (module: Module | null | undefined, name: string) => {
    if (module) services.push({ name: name.toLowerCase(), file: module.file });
  };
  for (const list of sectionsIn(rbl, "rbls")) for (const zone of list.values.get("rbl") ?? []) found(rbl, zone);
  const rules = sectionsIn(fuzzy, "rule");
  // Of old a rule had no name.
  const plain = fuzzy?.section.sections.get("rule");
  if ([...rules, ...(plain ? [plain] : [])].some(asksOutside)) found(fuzzy, "rspamd-fuzzy");
  for (const module of [external, antivirus])
    for (const [key, name] of Object.entries(EXTERNAL)) {
      const section = module?.section.sections.get(key);
      // The packaged file has sections without a server: those do nothing.
      const set = ["servers", "socket", "apikey"].some((k) => section?.values.has(k));
      if (section !== undefined && set && flag(section, "enabled") !== false) found(module, name);
    }
  if (dcc?.section.values.has("socket") || dcc?.section.values.has("servers")) found(dcc, "dcc");
  // DNS queries with the sender's address, and with addresses of pages that mails name.
  const provider = asn?.section.sections.get("provider_info");
  for (const key of ["ip4", "ip6"]) for (const zone of provider?.values.get(key) ?? []) found(asn, zone);
  if (phishing && flag(phishing.section, "phishtank_enabled"))
    found(phishing, phishing.section.values.get("phishtank_suffix")?.[0] ?? "phishtank.rspamd.com");
  return { services, programs: ["rspamd"] };
}

/** What counts for a module: modules.d, local.d over it, override.d in place of it (rspamd.com, "Configuration"); null: it is off or not there. */
async function moduleOf(inside: GuestFiles, name: string): Promise<Module | null> {
  const read = async (path: string): Promise<Section | null> => {
    const file = await inside.file(path);
    return file.kind === "text" ? parseUcl(file.text) : null;
  };
  const [own, local, override] = [`modules.d/${name}.conf`, `local.d/${name}.conf`, `override.d/${name}.conf`].map(
    (path) => `/etc/rspamd/${path}`,
  );
  let section = emptySection();
  let file: string | null = null;
  const base = await read(own!);
  if (base !== null) [section, file] = [base.sections.get(name) ?? emptySection(), own!];
  for (const [path, over] of [
    [local!, merged],
    [override!, overridden],
  ] as const) {
    const said = await read(path);
    if (said !== null) [section, file] = [over(section, said), path];
  }
  return file === null || flag(section, "enabled") === false ? null : { section, file };
}

/** Sections below one, those that are on. */
function sectionsIn(module: Module | null | undefined, name: string): Section[] {
  const all = module?.section.sections.get(name)?.sections.values() ?? [];
  return [...all].filter((s) => flag(s, "enabled") !== false && flag(s, "disabled") !== true);
}

/** How servers take turns (rspamd.com, "Upstreams"). */
const ROTATION = /^(round-robin|random|master-slave|sequential|hash|token-bucket):/;

/** Of a fuzzy rule: a server that is not this one. */
function asksOutside(rule: Section): boolean {
  const servers = ["servers", "read_servers", "write_servers"].flatMap((key) => rule.values.get(key) ?? []);
  return servers
    .flatMap((list) => list.replace(ROTATION, "").split(/[\s,]+/))
    .some((server) => server !== "" && !/^(localhost|127\.|\[?::1\b|\/)/.test(server));
}

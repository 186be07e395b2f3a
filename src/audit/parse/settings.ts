/**
 * Settings of libvirt's daemons (`name = "value"`, `#` begins a comment; libvirt, src/util/virconf.c): strings without quotes, numbers as
 * text, lists as their elements joined by `,`. A later line replaces an earlier one.
 */
export function parseLibvirtConf(text: string): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  // A list may go over several lines.
  const plain = text
    .split("\n", 100_000)
    .filter((line) => !/^\s*#/.test(line))
    .join("\n");
  for (const [, name = "", list, quoted, bare] of plain.matchAll(
    /^[ \t]*(\w+)[ \t]*=[ \t]*(?:\[([^\]]{0,10000})\]|"([^"\n]*)"|([^\s#]+))/gm,
  )) {
    found.set(
      name,
      list === undefined ? (quoted ?? bare ?? "") : [...list.matchAll(/"([^"]*)"/g)].map((m) => m[1]).join(","),
    );
  }
  return found;
}

/** A listening socket of `ss -Htlnp` (ss(8)). */
export interface Listener {
  readonly address: string;
  readonly port: number;
  /** Names of processes; empty: not shown (not root). */
  readonly programs: readonly string[];
}

export function parseListeners(text: string): Listener[] {
  return text.split("\n", 10_000).flatMap((line) => {
    const local = line.trim().split(/\s+/)[3];
    const [, address = "", port] = /^(.*):(\d+)$/.exec(local ?? "") ?? [];
    if (port === undefined) return [];
    const programs = [...line.matchAll(/\("([^"]{1,100})",pid=/g)].map((m) => m[1] ?? "");
    return [
      {
        address: address.replace(/^\[|\]$/g, "").replace(/%.*$/, ""),
        port: Number(port),
        programs: [...new Set(programs)],
      },
    ];
  });
}

export function isLoopback(address: string): boolean {
  return address === "::1" || address.startsWith("127.") || address.startsWith("::ffff:127.");
}

/** systemd.unit(5), "String escaping for inclusion in unit names". */
export function escapeUnit(text: string): string {
  return [...Buffer.from(text)]
    .map((byte, i) => {
      const c = String.fromCharCode(byte);
      if (c === "/") return "-";
      return byte < 0x80 && /[A-Za-z0-9:_.]/.test(c) && !(c === "." && i === 0)
        ? c
        : `\\x${byte.toString(16).padStart(2, "0")}`;
    })
    .join("");
}

export function unescapeUnit(text: string): string {
  const bytes = Buffer.from(text.replaceAll("-", "/")).toString("latin1");
  const plain = bytes.replace(/\\x([0-9a-f]{2})/g, (_, d: string) => String.fromCharCode(Number.parseInt(d, 16)));
  return Buffer.from(plain, "latin1").toString();
}

/** The name of the unit for a path: `/srv/vm` and suffix `mount` make `srv-vm.mount`. */
export function pathUnit(path: string, suffix: string): string {
  const plain = path
    .split("/")
    .filter((p) => p !== "")
    .join("/");
  return `${plain === "" ? "-" : escapeUnit(plain)}.${suffix}`;
}

/** The unit that systemd-cryptsetup-generator(8) makes of a line of crypttab. */
export function cryptsetupUnit(name: string): string {
  return `systemd-cryptsetup@${escapeUnit(name)}.service`;
}

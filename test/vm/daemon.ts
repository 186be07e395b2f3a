import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** Takes libvirt's daemon of this host and its libraries along (the machine has the same Debian); the part of the script that starts it. */
export function daemonFor(share: string): string {
  const to = join(share, "libvirt");
  mkdirSync(to, { recursive: true });
  const copies =
    'PATH=$PATH:/usr/sbin; d=$(command -v libvirtd); cp "$d" $(ldd "$d" | awk \'$3 ~ /^\\// { print $3 }\') "$0"';
  execFileSync("sh", ["-ec", copies, to]);
  return readFileSync("test/vm/scripts/daemon.sh", "utf8");
}

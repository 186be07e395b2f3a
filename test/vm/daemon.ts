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

/** Takes libvirt's daemon with its driver for QEMU along, and QEMU itself; the part of the script that starts it. */
export function hypervisorFor(share: string): string {
  const copies = `PATH=$PATH:/usr/sbin
lib=/usr/lib/x86_64-linux-gnu
set -- $(command -v libvirtd) $(command -v qemu-system-x86_64) $lib/libvirt/connection-driver/libvirt_driver_qemu.so $lib/libvirt/storage-file/*.so $lib/qemu/accel-tcg-x86_64.so
tar -chf "$out" /usr/share/libvirt /usr/share/seabios/bios-256k.bin /usr/share/qemu/kvmvapic.bin "$@" $(for file; do ldd "$file"; done | awk '$3 ~ /^\\// { print $3 }' | sort -u)`;
  const out = join(share, "hypervisor.tar");
  execFileSync("sh", ["-ec", copies], { env: { ...process.env, out }, stdio: ["ignore", "inherit", "ignore"] });
  return readFileSync("test/vm/scripts/hypervisor.sh", "utf8");
}

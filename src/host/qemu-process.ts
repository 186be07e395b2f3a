import { readdirSync, readFileSync, statSync } from "node:fs";

/** The process of a running guest, as far as it can be looked at. */
export interface QemuProcess {
  readonly uid: number;
  readonly gid: number;
  /** Name of the AppArmor profile that is enforced on it (`libvirt-UUID`); null: none is. */
  readonly profile: string | null;
  /** libvirt's own folder for this run of the guest (`/var/lib/libvirt/qemu/domain-3-web`), in which its profile lets it make sockets. */
  readonly folder: string | null;
}

/** The guest's QEMU; with our own ids when it cannot be found. */
export function qemuProcess(uuid: string, proc = "/proc"): QemuProcess {
  for (const entry of readdirSync(proc)) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const argv = readFileSync(`${proc}/${entry}/cmdline`, "utf8").split("\0");
      if (argv[argv.indexOf("-uuid") + 1] !== uuid) continue;
      const { uid, gid } = statSync(`${proc}/${entry}`);
      return { uid, gid, profile: profileOf(`${proc}/${entry}`), folder: folderIn(argv) };
    } catch {
      // It ended meanwhile, or is not ours to look at.
    }
  }
  return { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0, profile: null, folder: null };
}

/** `libvirt-UUID (enforce)`; other security modules answer in the second place as well, with labels of other forms. */
function profileOf(folder: string): string | null {
  for (const file of ["attr/apparmor/current", "attr/current"]) {
    try {
      const text = readFileSync(`${folder}/${file}`, "utf8").replace(/[\0\n]+$/, "");
      const match = /^(.+) \((enforce|complain|kill|unconfined)\)$/.exec(text);
      return match !== null && /^(enforce|kill)$/.test(match[2]!) ? match[1]! : null;
    } catch {
      // The kernel has no AppArmor, or is an old one.
    }
  }
  return null;
}

/** libvirt, src/qemu/qemu_domain.c: the folder of a run of a guest holds the key of its secrets, which QEMU is told. */
function folderIn(argv: readonly string[]): string | null {
  for (const argument of argv) {
    const match = /["=,:](\/[^",]*\/domain-\d+-[^/",]+)\/(master-key\.aes|monitor\.sock)/.exec(argument);
    if (match !== null && !match[1]!.includes("/../")) return match[1]!;
  }
  return null;
}

/** The programs that any verb calls, each with the package that has it. */

/** Families of distributions, by how they install. */
export type Family = "debian" | "fedora" | "suse" | "arch";

const INSTALL: Readonly<Record<Family, string>> = {
  debian: "apt-get install",
  fedora: "dnf install",
  suse: "zypper install",
  arch: "pacman -S",
};

/** Names of packages; a family that is not named calls it as Debian does. */
type Names = { readonly debian: string } & { readonly [family in Family]?: string };

const PACKAGES: { readonly [program: string]: Names } = {
  bwrap: { debian: "bubblewrap" },
  unshare: { debian: "util-linux" },
  mount: { debian: "mount", fedora: "util-linux", suse: "util-linux", arch: "util-linux" },
  umount: { debian: "mount", fedora: "util-linux", suse: "util-linux", arch: "util-linux" },
  losetup: { debian: "mount", fedora: "util-linux", suse: "util-linux", arch: "util-linux" },
  e2fsck: { debian: "e2fsprogs" },
  "fsck.fat": { debian: "dosfstools" },
  xfs_repair: { debian: "xfsprogs" },
  btrfs: { debian: "btrfs-progs", suse: "btrfsprogs" },
  // dnf and zypper find the package of a file.
  fuse2fs: { debian: "fuse2fs", fedora: "/usr/bin/fuse2fs", suse: "/usr/bin/fuse2fs" },
  fusermount3: { debian: "fuse3" },
  virsh: { debian: "libvirt-clients", fedora: "libvirt-client", suse: "libvirt-client", arch: "libvirt" },
  cryptsetup: { debian: "cryptsetup-bin", fedora: "cryptsetup", suse: "cryptsetup", arch: "cryptsetup" },
  "qemu-nbd": { debian: "qemu-utils", fedora: "qemu-img", suse: "qemu-tools", arch: "qemu-img" },
  vgchange: { debian: "lvm2" },
  lvchange: { debian: "lvm2" },
  systemctl: { debian: "systemd" },
  diff: { debian: "diffutils" },
  restic: { debian: "restic" },
  borg: { debian: "borgbackup", arch: "borg" },
  dmsetup: { debian: "dmsetup", fedora: "device-mapper", suse: "device-mapper", arch: "device-mapper" },
  mdadm: { debian: "mdadm" },
  udevadm: { debian: "udev", fedora: "systemd-udev", arch: "systemd" },
  modprobe: { debian: "kmod" },
};

/** The family that os-release(5) tells of, by ID and ID_LIKE; null: none that is known here. */
export function familyOf(osRelease: string): Family | null {
  const value = (key: string) => new RegExp(`^${key}=(.*)$`, "m").exec(osRelease)?.[1]?.replace(/^["']|["']$/g, "");
  const names = `${value("ID") ?? ""} ${value("ID_LIKE") ?? ""}`.split(/\s+/);
  if (names.some((n) => n === "debian" || n === "ubuntu")) return "debian";
  if (names.some((n) => n === "fedora" || n === "rhel" || n === "centos")) return "fedora";
  if (names.some((n) => n === "suse" || n.startsWith("opensuse") || n === "sles")) return "suse";
  return names.includes("arch") ? "arch" : null;
}

/** The command that installs a program, for a person to copy; null when the distribution or the program is not known. */
export function installCommand(program: string, family: Family | null): string | null {
  const names = PACKAGES[program];
  if (names === undefined || family === null) return null;
  return `${INSTALL[family]} ${names[family] ?? names.debian}`;
}

/** For hosts of other distributions. */
export function packageName(program: string): string {
  return PACKAGES[program]?.debian ?? program;
}

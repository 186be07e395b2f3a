#!/bin/sh
# Everything that `make demo` and `make test` need, installed if it is missing: system packages, npm packages, the build.
# Usage: setup.sh demo|test|vm|capture
set -eu
cd "$(dirname "$0")/.."
purpose=${1:-test}

# program or file:Debian package:why — the first group is what Unterbau itself calls, the second makes and judges test disks.
needs="e2fsck:e2fsprogs:checks and repairs ext2/3/4
bwrap:bubblewrap:the cage in which a checker runs
mount:mount:shows a volume as a file
unshare:util-linux:private mount namespaces
qemu-img:qemu-utils:makes the guest disk and compares qcow2
cryptsetup:cryptsetup-bin:makes and compares LUKS volumes
lvm:lvm2:makes and compares volume groups
sfdisk:fdisk:makes and compares partition tables"
[ "$purpose" = demo ] || needs="$needs
sgdisk:gdisk:makes and compares GPT
nbdinfo:libnbd-bin:talks to the NBD server, and the peer in the benchmark
mkfs.xfs:xfsprogs:makes XFS
mkfs.btrfs:btrfs-progs:makes Btrfs
mkfs.vfat:dosfstools:makes FAT
xz:xz-utils:unpacks test images
mdadm:mdadm:judges members of RAID arrays
systemd-analyze:systemd:judges units and tables
pgrep:procps:finds processes that tests end
setpriv:util-linux:runs tests as an unprivileged user
fuse2fs:fuse2fs:shows the files of ext volumes
fusermount3:fuse3:mounts them
virsh:libvirt-clients:finds guests by name
libvirtd:libvirt-daemon libvirt-daemon-driver-qemu:runs guests for tests
xmllint:libxml2-utils:validates XML for libvirt
qemu-system-x86_64:qemu-system-x86:the same
/usr/share/OVMF/OVMF_CODE_4M.fd:ovmf:firmware of a guest with UEFI
mcopy:mtools:puts a file on its disk
restic:restic:keeps backups in tests
borg:borgbackup:the same
shellcheck:shellcheck:judges the runbooks that plan prints
nft:nftables:makes and judges rules for guests
pdftotext:poppler-utils:reads the papers
qpdf:qpdf:looks into them
python3:python3:reads ZIP files"
case $purpose in vm | capture) needs="$needs
qemu-system-x86_64:qemu-system-x86:runs a virtual machine with a real kernel
depmod:kmod:prepares its modules
cpio:cpio:packs its first file system" ;; esac
[ "$purpose" != capture ] || needs="$needs
mmdebstrap:mmdebstrap:installs the host that is recorded"

PATH=$PATH:/usr/sbin:/sbin
missing=$(echo "$needs" | while IFS=: read -r program package why; do
  case $program in /*) [ -e "$program" ] ;; *) command -v "$program" >/dev/null 2>&1 ;; esac || echo "$package:$program:$why"
done)

if [ -n "$missing" ]; then
  packages=$(echo "$missing" | cut -d: -f1 | sort -u | tr '\n' ' ')
  echo "These system packages are missing:"
  echo "$missing" | while IFS=: read -r package program why; do printf '  %-16s %-12s %s\n' "$package" "$program" "$why"; done
  if command -v apt-get >/dev/null 2>&1; then
    sudo=""
    if [ "$(id -u)" -ne 0 ]; then
      command -v sudo >/dev/null 2>&1 || { echo "Neither root nor sudo: install them with: apt-get install $packages"; exit 1; }
      sudo=sudo
    fi
    echo "Installing them with apt-get (as root) ..."
    $sudo apt-get update -qq
    # shellcheck disable=SC2086
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null
  else
    echo "This script installs packages on Debian and Ubuntu only. Install them yourself and repeat:"
    echo "  openSUSE: sudo zypper install e2fsprogs bubblewrap util-linux qemu-tools cryptsetup lvm2 gptfdisk libnbd xfsprogs btrfsprogs dosfstools xz"
    echo "  Fedora:   sudo dnf install e2fsprogs bubblewrap util-linux qemu-img cryptsetup lvm2 gdisk libnbd xfsprogs btrfs-progs dosfstools xz"
    exit 1
  fi
fi

node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' 2>/dev/null || {
  echo "Node.js 20.19 or newer is needed (found: $(node --version 2>/dev/null || echo none)): https://nodejs.org/en/download"
  exit 1
}

# npm ci only when the lock file changed since the last time.
stamp=node_modules/.unterbau-lock
if ! cmp -s package-lock.json "$stamp" 2>/dev/null; then
  # npm ci refuses a lock file without the optional packages of every platform, and a registry that mirrors late has not all of them
  # when the lock file is written. npm install takes the same locked versions and checks the same hashes.
  npm ci --no-fund --no-audit --loglevel=silent || npm install --no-save --no-fund --no-audit --loglevel=error
  cp package-lock.json "$stamp"
fi
npm run --silent build

#!/bin/bash
# Builds the virtual machine in which tests meet a real kernel: Debian's kernel and packages, unpacked beside each other, never installed here.
# Usage: build.sh FOLDER     leaves FOLDER/{kernel,initrd.img,root.img}; does nothing when they are there and were built from the same inputs.
# Needs Debian 12 (apt with its package lists), mke2fs, qemu-system-x86_64. No root.
set -euo pipefail
export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
vm=$(cd "$1" && pwd)

missing=
for need in qemu-system-x86_64:qemu-system-x86 apt-get:apt dpkg-deb:dpkg mke2fs:e2fsprogs depmod:kmod modprobe:kmod cpio:cpio xz:xz-utils ldd:libc-bin; do
  command -v "${need%%:*}" >/dev/null || missing="$missing ${need%%:*} (package ${need##*:})"
done
[ -z "$missing" ] || { echo "the virtual machine cannot be built, these programs are missing:$missing" >&2; exit 69; }

# What the tests call in it. Dependencies are found by apt.
packages="bash coreutils dash grep sed mawk findutils util-linux mount tar gzip xz-utils procps diffutils libc-bin base-files netbase kmod udev busybox-static
  cryptsetup-bin lvm2 dmsetup kpartx mdadm qemu-utils nbd-client e2fsprogs xfsprogs btrfs-progs dosfstools thin-provisioning-tools jq fdisk bubblewrap libstdc++6 libvirt-clients systemd"
node=$(readlink -f "$(command -v node)")
inputs=$({ echo "$packages"; "$node" --version; cat "$here/build.sh"; } | sha256sum)
[ "$(cat "$vm/inputs" 2>/dev/null)" != "$inputs" ] || exit 0
# One builder at a time; who waited finds it built.
exec 9>"$vm/lock"
flock 9
[ "$(cat "$vm/inputs" 2>/dev/null)" != "$inputs" ] || exit 0
started=$(date +%s)
say() { printf '[vm %3ds] %s\n' $(($(date +%s) - started)) "$*" >&2; }
trap 'status=$?; [ $status = 0 ] || echo "the virtual machine could not be built; apt said:" >&2; [ $status = 0 ] || tail -20 "$vm/apt.log" >&2' EXIT
: >"$vm/apt.log"

# apt as if nothing was installed (an empty status file): it then names everything that the packages need.
mkdir -p "$vm/debs/partial"
: >"$vm/status"
apt_empty() {
  apt-get -q -y -o Dir::State::status="$vm/status" -o Dir::Cache::archives="$vm/debs" -o Debug::NoLocking=1 -o APT::Sandbox::User= \
    -o APT::Install-Recommends=0 "$@"
}
kernel=$(apt-cache depends linux-image-amd64 2>/dev/null | sed -n 's/.*Depends: \(linux-image-[^ ]*\).*/\1/p' | head -1)
if [ -z "$kernel" ]; then
  say "apt-get update (no package lists here)"
  if [ "$(id -u)" = 0 ]; then apt-get -qq update >>"$vm/apt.log" 2>&1; else sudo apt-get -qq update >>"$vm/apt.log" 2>&1; fi
  kernel=$(apt-cache depends linux-image-amd64 | sed -n 's/.*Depends: \(linux-image-[^ ]*\).*/\1/p' | head -1)
fi
release=${kernel#linux-image-}
say "downloading $kernel and the packages"
# shellcheck disable=SC2086
apt_empty --download-only install $packages >>"$vm/apt.log" 2>&1
(cd "$vm/debs" && { compgen -G "${kernel}_*.deb" >/dev/null || apt-get -q download "$kernel" >>"$vm/apt.log" 2>&1; })
# Only what this time is wanted: the folder may hold older versions, too. apt writes the colon of an epoch as %3a.
# shellcheck disable=SC2086
debs=$(apt_empty --simulate install $packages 2>>"$vm/apt.log" | sed -n 's/^Inst \([^ ]*\) (\([^ ]*\).*/\1_\2/p' | sed 's/:/%3a/')

say "unpacking"
root=$vm/root
rm -rf "$root" "$vm/kernel.d"
mkdir -p "$root/usr/bin" "$root/usr/sbin" "$root/usr/lib" "$root/usr/lib64" "$vm/kernel.d"
for folder in bin sbin lib lib64; do ln -s "usr/$folder" "$root/$folder"; done
drop=(--exclude='./usr/share/doc*' --exclude='./usr/share/man*' --exclude='./usr/share/locale*' --exclude='./usr/share/info*' --exclude='./usr/share/perl*'
  --exclude='./usr/lib/*/perl*' --exclude='./usr/share/zoneinfo*' --exclude='./usr/lib/x86_64-linux-gnu/gconv*' --exclude='./usr/lib/systemd/system*')
for deb in $debs; do
  dpkg-deb --fsys-tarfile "$vm/debs/$deb"_*.deb | tar -C "$root" -x --keep-directory-symlink --no-same-owner "${drop[@]}"
done
dpkg-deb --fsys-tarfile "$vm/debs/${kernel}"_*.deb | tar -C "$vm/kernel.d" -x --no-same-owner

say "modules of $release"
from=$vm/kernel.d/lib/modules/$release
to=$root/lib/modules/$release
mkdir -p "$to"
cp "$from"/modules.builtin* "$from/modules.order" "$to/"
for part in block crypto arch/x86/crypto lib fs/ext4 fs/jbd2 fs/mbcache.ko fs/xfs fs/9p fs/fuse fs/fat fs/nls fs/netfs fs/fscache net/9p drivers/md drivers/dax drivers/nvdimm \
  drivers/block/virtio_blk.ko drivers/block/nbd.ko drivers/block/loop.ko drivers/virtio drivers/scsi/scsi_mod.ko drivers/scsi/scsi_common.ko \
  drivers/scsi/sd_mod.ko drivers/scsi/virtio_scsi.ko drivers/char/hw_random; do
  [ -e "$from/kernel/$part" ] || continue
  mkdir -p "$to/kernel/${part%/*}"
  cp -r "$from/kernel/$part" "$to/kernel/${part%/*}/"
done
depmod -b "$root" "$release"

say "configuring"
mkdir -p "$root"/{proc,sys,dev,run,tmp,share,root,mnt,etc/lvm,etc/mdadm,var/lib,opt}
printf 'root:x:0:0:root:/root:/bin/bash\n' >"$root/etc/passwd"
printf '%s:x:%s:\n' root 0 disk 6 tty 5 kmem 15 input 101 sgx 102 kvm 103 render 104 audio 29 video 44 cdrom 24 tape 26 dialout 20 lp 7 >"$root/etc/group"
printf 'passwd: files\ngroup: files\n' >"$root/etc/nsswitch.conf"
: >"$root/etc/fstab"
echo testvm >"$root/etc/hostname"
ln -sf /proc/self/mounts "$root/etc/mtab"
ln -sf mawk "$root/usr/bin/awk"
# Arrays assemble only when a script says so; volume groups activate by themselves (udev's 69-lvm.rules), as on a real host.
printf 'HOMEHOST <ignore>\nAUTO -all\n' >"$root/etc/mdadm/mdadm.conf"
# Each disk is named by the serial number that it gets from machine.ts.
echo 'SUBSYSTEM=="block", ENV{DEVTYPE}=="disk", ENV{ID_SCSI_SERIAL}=="?*", SYMLINK+="vm/$env{ID_SCSI_SERIAL}"' >"$root/usr/lib/udev/rules.d/65-testvm.rules"
# Node as it is here, and those of its libraries that Debian's packages did not bring.
install -m 755 "$node" "$root/usr/bin/node"
ldd "$node" | awk '$3 ~ /^\// { print $3 }' | while read -r lib; do
  compgen -G "$root/usr/lib/x86_64-linux-gnu/${lib##*/}" >/dev/null || install -D -m 755 "$lib" "$root/usr/lib/x86_64-linux-gnu/${lib##*/}"
done
ldconfig -r "$root" 2>/dev/null || [ "$(id -u)" != 0 ]

say "root.img"
size=$(($(du -sm --apparent-size "$root" | cut -f1) * 13 / 10 + 64))
rm -f "$vm/root.img"
truncate -s "${size}M" "$vm/root.img"
mke2fs -q -t ext4 -O ^has_journal -E lazy_itable_init=1,root_owner=0:0 -d "$root" "$vm/root.img"

# Software emulation needs 15 s to unpack the kernel; here it takes one.
offset=$(grep -abo -m1 $'\xfd7zXZ' "$vm/kernel.d/boot/vmlinuz-$release" | head -1 | cut -d: -f1 || true)
cp "$vm/kernel.d/boot/vmlinuz-$release" "$vm/kernel"
if [ -n "$offset" ]; then
  # What follows the packed kernel is no part of it, and xz says so.
  tail -c "+$((offset + 1))" "$vm/kernel.d/boot/vmlinuz-$release" | xz -dc --single-stream >"$vm/kernel.elf" 2>/dev/null || true
  if [ "$(head -c4 "$vm/kernel.elf" | tail -c3)" = ELF ]; then mv "$vm/kernel.elf" "$vm/kernel"; else rm -f "$vm/kernel.elf"; fi
fi

say "initrd.img"
initrd=$vm/initrd.d
rm -rf "$initrd"
mkdir -p "$initrd"/{bin,lib,proc,sys,dev,newroot}
cp "$root/bin/busybox" "$initrd/bin/"
ln -s busybox "$initrd/bin/sh"
for module in virtio_pci virtio_blk ext4; do modprobe -d "$root" -S "$release" --show-depends "$module"; done |
  awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r file; do
  cp "$file" "$initrd/lib/"
  echo "${file##*/}" >>"$initrd/lib/order"
done
cat >"$initrd/init" <<'X'
#!/bin/sh
b=/bin/busybox
$b mount -t proc proc /proc; $b mount -t sysfs sys /sys; $b mount -t devtmpfs dev /dev
for m in $($b cat /lib/order); do $b insmod /lib/$m; done
while [ ! -b /dev/vda ]; do $b usleep 20000; done
$b mount -t ext4 -o noatime /dev/vda /newroot
$b umount /sys; $b umount /proc; $b mount -o move /dev /newroot/dev
# The rest comes with each job.
$b chroot /newroot /usr/sbin/modprobe -a 9pnet_virtio 9p
$b mount -t 9p -o trans=virtio,version=9p2000.L,msize=524288,cache=none share /newroot/share
exec $b switch_root /newroot /bin/bash /share/init.sh
X
chmod 755 "$initrd/init"
(cd "$initrd" && find . | cpio -o -H newc --quiet | gzip -1) >"$vm/initrd.img"
rm -rf "$root" "$initrd" "$vm/kernel.d"
echo "$inputs" >"$vm/inputs"
say "built: root.img $(du -h "$vm/root.img" | cut -f1), kernel $release, packages $(echo "$debs" | wc -l)"

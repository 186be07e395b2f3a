#!/bin/bash
# The disk of a small Debian, which boots by its own boot loader: MBR or GPT with extlinux, p1 swap, p2 ext4 with kernel, packages and mail.
# Usage: debian-guest.sh FOLDER OUT dos|gpt    FOLDER: where build.sh has built. Needs root (loop devices).
# At each start it proves its mail by SHA-256, counts the start in /srv/starts, tells both on the serial line and powers off. With a GPT it tells what
# its kernel and sgdisk say of that, too, and at its third start it moves the backup table to the end of the disk.
set -euo pipefail
export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin
vm=$(cd "$1" && pwd) out=$2 table=$3
work=$(mktemp -d)
loop=
cleanup() {
  mountpoint -q "$work/root" && umount "$work/root"
  [ -z "$loop" ] || losetup -d "$loop"
  rm -rf "$work"
}
trap cleanup EXIT
packages="base-files bash coreutils libc6 libtinfo6 libselinux1 libpcre2-8-0 libacl1 libattr1 libgmp10 mount libmount1 libblkid1"
bring() {
  compgen -G "$vm/debs/$1_*.deb" >/dev/null || (cd "$vm/debs" && apt-get -q -o APT::Sandbox::User=root download "$1" >/dev/null)
}
if [ "$table" = gpt ]; then
  for name in gdisk libpopt0; do bring "$name"; done
  packages="$packages gdisk libpopt0 libuuid1 libstdc++6 libgcc-s1 grep sed"
fi
for name in extlinux syslinux-common; do
  bring "$name"
  dpkg-deb -x "$vm/debs/${name}"_*.deb "$work/loader"
done

rm -f "$out"
truncate -s 256M "$out"
if [ "$table" = gpt ]; then
  printf 'label: gpt\nstart=2048, size=16M, type=swap\ntype=linux, attrs=LegacyBIOSBootable\n' | sfdisk --quiet "$out"
  code=gptmbr.bin
else
  printf 'label: dos\nstart=2048, size=16M, type=82\ntype=83, bootable\n' | sfdisk --quiet "$out"
  code=mbr.bin
fi
dd if="$work/loader/usr/lib/EXTLINUX/$code" of="$out" conv=notrunc status=none
read -r start sectors <<<"$(sfdisk --json "$out" | tr -d ' \n' | sed 's/.*"start":\([0-9]*\),"size":\([0-9]*\).*/\1 \2/')"
loop=$(losetup --find --show --offset $((start * 512)) --sizelimit $((sectors * 512)) "$out")
# The boot loader reads no ext4 with 64-bit descriptors.
mke2fs -q -t ext4 -O ^64bit,^metadata_csum -L root "$loop"
mkdir "$work/root"
mount "$loop" "$work/root"
root=$work/root
mkdir -p "$root"/usr/{bin,sbin,lib,lib64} "$root"/{proc,sys,dev,boot,etc}
for dir in bin sbin lib lib64; do ln -s "usr/$dir" "$root/$dir"; done
for name in $packages; do
  dpkg-deb --fsys-tarfile "$vm/debs/${name}"_*.deb |
    tar -C "$root" -x --keep-directory-symlink --exclude='./usr/share/*' --exclude='./usr/lib/x86_64-linux-gnu/gconv*'
done

# The first file system finds the root on p2 and goes over to it.
mkdir "$work/initrd"
(cd "$work/initrd" && zcat "$vm/initrd.img" | cpio -idm --quiet)
cat >"$work/initrd/init" <<'X'
#!/bin/sh
b=/bin/busybox
$b mount -t proc proc /proc; $b mount -t sysfs sys /sys; $b mount -t devtmpfs dev /dev
for m in $($b cat /lib/order); do $b insmod /lib/$m; done
while [ ! -b /dev/vda2 ]; do $b usleep 20000; done
$b mount -t ext4 -o ro /dev/vda2 /newroot
$b umount /sys; $b umount /proc; $b mount -o move /dev /newroot/dev
exec $b switch_root /newroot /sbin/init
X
chmod 755 "$work/initrd/init"
(cd "$work/initrd" && find . | cpio -o -H newc --quiet | gzip -1) >"$root/boot/initrd.img"
dpkg-deb --fsys-tarfile "$vm"/debs/linux-image-*.deb | tar -C "$work" -x --wildcards './boot/vmlinuz-*'
cp "$work"/boot/vmlinuz-* "$root/boot/vmlinuz"
cat >"$root/sbin/init" <<'X'
#!/bin/bash
export PATH=/usr/sbin:/usr/bin LC_ALL=C
mount -t proc proc /proc
exec </dev/ttyS0 >/dev/ttyS0 2>&1
mount -o remount,rw /
. /etc/os-release
cd /srv/mail || exit
sha256sum --quiet -c ../mail.sha256 && echo "$PRETTY_NAME has $(ls | wc -l) messages, all whole"
starts=$(($(cat /srv/starts) + 1))
echo $starts >/srv/starts
if command -v sgdisk >/dev/null; then
  [ $starts != 3 ] || sgdisk --move-second-header /dev/vda
  dd if=/dev/kmsg iflag=nonblock bs=8k 2>/dev/null | grep -ao 'GPT:.*' | sed 's/^/kernel: /'
  sgdisk --verify /dev/vda
fi
mount -o remount,ro /
echo "start $starts"
sleep 1
echo o >/proc/sysrq-trigger
sleep 60
X
chmod 755 "$root/sbin/init"
mkdir -p "$root/srv/mail"
echo 0 >"$root/srv/starts"
for n in $(seq 200); do head -c $((n * 150)) /dev/urandom >"$root/srv/mail/message-$n"; done
(cd "$root/srv/mail" && sha256sum -- *) >"$root/srv/mail.sha256"

mkdir -p "$root/boot/extlinux"
cat >"$root/boot/extlinux/extlinux.conf" <<'X'
DEFAULT debian
PROMPT 0
LABEL debian
  KERNEL /boot/vmlinuz
  INITRD /boot/initrd.img
  APPEND console=ttyS0 quiet loglevel=1 panic=1 mitigations=off cryptomgr.notests tsc=reliable no_timer_check
X
cp "$work/loader/usr/lib/syslinux/modules/bios/"{ldlinux,libcom32,libutil}.c32 "$root/boot/extlinux/"
"$work/loader/usr/bin/extlinux" --install "$root/boot/extlinux" >/dev/null 2>"$work/log" || { cat "$work/log" >&2; exit 1; }
umount "$root"
losetup -d "$loop"
loop=

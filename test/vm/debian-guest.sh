#!/bin/bash
# The disk of a small Debian, which boots by its own boot loader: MBR with extlinux, p1 swap, p2 ext4 with kernel, packages and mail.
# Usage: debian-guest.sh FOLDER OUT    FOLDER: where build.sh has built. Needs root (loop devices).
# At each start it proves its mail by SHA-256, counts the start in /srv/starts, tells both on the serial line and powers off.
set -euo pipefail
export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin
vm=$(cd "$1" && pwd) out=$2
work=$(mktemp -d)
loop=
cleanup() {
  mountpoint -q "$work/root" && umount "$work/root"
  [ -z "$loop" ] || losetup -d "$loop"
  rm -rf "$work"
}
trap cleanup EXIT
packages="base-files bash coreutils libc6 libtinfo6 libselinux1 libpcre2-8-0 libacl1 libattr1 libgmp10 mount libmount1 libblkid1"
for name in extlinux syslinux-common; do
  compgen -G "$vm/debs/${name}_*.deb" >/dev/null || (cd "$vm/debs" && apt-get -q -o APT::Sandbox::User=root download "$name" >/dev/null)
  dpkg-deb -x "$vm/debs/${name}"_*.deb "$work/loader"
done

rm -f "$out"
truncate -s 256M "$out"
printf 'label: dos\nstart=2048, size=16M, type=82\ntype=83, bootable\n' | sfdisk --quiet "$out"
dd if="$work/loader/usr/lib/EXTLINUX/mbr.bin" of="$out" conv=notrunc status=none
start=$(sfdisk --json "$out" | tr -d ' \n' | sed 's/.*"start":\([0-9]*\).*/\1/')
loop=$(losetup --find --show --offset $((start * 512)) "$out")
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

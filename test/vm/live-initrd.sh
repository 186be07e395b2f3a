#!/bin/bash
# The first file system of a guest that mounts /dev/vda2 (ext4) and writes into it for ever, with QEMU's guest agent.
# Usage: live-initrd.sh FOLDER OUT    FOLDER: where build.sh has built. Each ten rounds of writing are told on the serial line.
set -euo pipefail
export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin
vm=$(cd "$1" && pwd) out=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
compgen -G "$vm/debs/qemu-guest-agent_*.deb" >/dev/null || (cd "$vm/debs" && apt-get -q download qemu-guest-agent >/dev/null)
add=$work/add
mkdir -p "$add/lib" "$add/bin" "$work/agent"
dpkg-deb -x "$vm"/debs/qemu-guest-agent_*.deb "$work/agent"
cp "$work/agent/usr/sbin/qemu-ga" "$add/bin/"
# Its libraries are those of QEMU's other programs, which are here.
ldd "$add/bin/qemu-ga" | grep -q 'not found' && { ldd "$add/bin/qemu-ga" >&2; exit 1; }
ldd "$add/bin/qemu-ga" | awk '$3 ~ /^\// { print $3 } $1 ~ /^\// { print $1 }' | while read -r lib; do
  install -D -m 755 "$lib" "$add$lib"
done
dpkg-deb --fsys-tarfile "$vm"/debs/linux-image-*.deb | tar -C "$work" -x --wildcards '*/drivers/char/virtio_console.ko'
find "$work/lib" -name virtio_console.ko -exec cp {} "$add/lib/" \;
cat >"$add/init" <<'X'
#!/bin/sh
export PATH=/bin
b=/bin/busybox
$b mkdir -p /proc /sys /dev /run /tmp /disk
$b mount -t proc proc /proc; $b mount -t sysfs sys /sys; $b mount -t devtmpfs dev /dev
for m in $($b cat /lib/order) virtio_console.ko; do $b insmod /lib/$m; done
while [ ! -b /dev/vda2 ]; do $b usleep 20000; done
$b mount -t ext4 -o noatime /dev/vda2 /disk || { echo "no disk"; $b poweroff -f; }
for port in /dev/vport*p1; do
  [ -e "$port" ] && LD_LIBRARY_PATH=/lib/x86_64-linux-gnu:/usr/lib/x86_64-linux-gnu qemu-ga -m virtio-serial -p "$port" -t /run -f /run/ga.pid -l /run/ga.log &
done
n=0
while :; do
  n=$((n + 1))
  $b mkdir -p /disk/work/$((n % 40))
  $b dd if=/dev/urandom of=/disk/work/$((n % 40))/f$((n % 7)) bs=4k count=$((n % 24 + 1)) 2>/dev/null
  $b mv /disk/work/$((n % 40))/f$((n % 7)) /disk/work/$((n % 40))/g$((n % 5)) 
  $b rm -rf /disk/work/$(((n + 20) % 40))
  [ $((n % 10)) != 0 ] || echo "round $n"
done
X
chmod 755 "$add/init"
# The kernel unpacks one archive after the other; what comes later replaces what came before.
cat "$vm/initrd.img" <(cd "$add" && find . | cpio -o -H newc --quiet | gzip -1) >"$out"

#!/bin/bash
# Builds what capture.sh boots: a Debian 12 host with libvirt, QEMU and the tools that `audit` asks, installed by Debian's own package scripts.
# Usage: build.sh FOLDER     leaves FOLDER/{kernel,initrd.img,base.img}; does nothing when they were built from the same inputs.
# Needs root, Debian 12, mmdebstrap, mke2fs; 4 GB of room, five minutes.
set -euo pipefail
export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
home=$(cd "$1" && pwd)
packages=linux-image-amd64,systemd-sysv,udev,dbus,kmod,iproute2,ifupdown,bridge-utils,procps,cryptsetup,cryptsetup-initramfs,lvm2,mdadm
packages+=,apparmor,nftables,iptables,ebtables,openssh-server,acl,restic,busybox,initramfs-tools,zstd,dosfstools,e2fsprogs,fdisk
packages+=,libvirt-daemon-system,libvirt-clients,libvirt-daemon-config-nwfilter,qemu-system-x86,qemu-utils,ovmf,systemd-timesyncd
node=$(readlink -f "$(command -v node)")
inputs=$({ echo "$packages"; "$node" --version; cat "$here/build.sh" "$here/install.sh" "$here"/files/*; } | sha256sum)
[ "$(cat "$home/inputs" 2>/dev/null)" != "$inputs" ] || exit 0
root=$home/root
rm -rf "$root" "$home/inputs"

[ "$(cat "$home/packages" 2>/dev/null)" = "$packages" ] || {
  mmdebstrap --mode=root --variant=minbase --aptopt='APT::Install-Recommends "false"' --skip=cleanup/apt/lists --include="$packages" \
    bookworm "$home/root.tar" "deb http://deb.debian.org/debian bookworm main" \
    "deb http://deb.debian.org/debian bookworm-updates main" "deb http://deb.debian.org/debian-security bookworm-security main"
  echo "$packages" >"$home/packages"
}
mkdir "$root"
tar -C "$root" -xf "$home/root.tar"
release=$(basename "$root"/lib/modules/*)
# What no virtual machine loads: the copy onto the encrypted disk takes its time.
modules=$root/lib/modules/$release/kernel
rm -rf "$root"/usr/share/{doc,man,locale,info,qemu/*.fd} "$modules"/{sound,drivers/{gpu,media,staging,infiniband,iio,isdn,hid,input,mtd,comedi,bluetooth,hwmon,leds,platform}} \
  "$modules"/drivers/net/{wireless,ethernet,usb} "$modules"/fs/{ocfs2,ceph,gfs2,nfs,nfsd,afs,coda,smb,jfs,reiserfs,ubifs}
depmod -b "$root" "$release"

# The files of this host: names, tables, declarations.
for file in "$here"/files/*; do
  name=${file##*/}
  install -D -m 644 "$file" "$root/${name//+//}"
done
chmod 600 "$root/etc/restic/password"
echo 'dump_guest_core = 0' >>"$root/etc/libvirt/qemu.conf"
chroot "$root" useradd --create-home --shell /bin/bash --groups libvirt anna
rm -f "$root/etc/machine-id"
echo 6f1d2f0e4c7b4a5f9d3c8b7a60514233 >"$root/etc/machine-id"
ln -sf /usr/share/zoneinfo/Europe/Berlin "$root/etc/localtime"
# Nothing here needs the network, a login or a schedule.
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer mdcheck_start.timer mdcheck_continue.timer \
  mdmonitor-oneshot.timer getty.target systemd-pstore.service systemd-random-seed.service e2scrub_reap.service mdmonitor.service; do
  ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
mkdir -p "$root/etc/systemd/system/multi-user.target.wants" "$root/share" "$root/media/tresor" "$root/boot/efi"
cat >"$root/etc/systemd/system/capture.service" <<'X'
[Unit]
After=libvirtd.service networking.service ssh.service
[Service]
Environment=HOME=/root LC_ALL=C.UTF-8
ExecStart=/bin/bash -c 'modprobe -a 9pnet_virtio 9p; mount -t 9p -o trans=virtio,version=9p2000.L,msize=524288,cache=none share /share; bash /share/host.sh >/share/out.log 2>&1; echo $? >/share/status; sync; echo o >/proc/sysrq-trigger; sleep 60'
X
ln -sf ../capture.service "$root/etc/systemd/system/multi-user.target.wants/capture.service"
# Node as it is here, and those of its libraries that the packages did not bring.
install -m 755 "$node" "$root/usr/bin/node"
ldd "$node" | awk '$3 ~ /^\// { print $3 }' | while read -r lib; do
  compgen -G "$root/usr/lib/x86_64-linux-gnu/${lib##*/}" >/dev/null || install -D -m 755 "$lib" "$root/usr/lib/x86_64-linux-gnu/${lib##*/}"
done
# dm-crypt and LVM belong into the first file system, though this root is none yet.
echo CRYPTSETUP=y >>"$root/etc/cryptsetup-initramfs/conf-hook"
chroot "$root" update-initramfs -u -k "$release" >"$home/initramfs.log" 2>&1
install -m 755 "$here/install.sh" "$root/usr/local/sbin/capture-install"
chroot "$root" apt-get --simulate --quiet dist-upgrade >"$home/upgrade.txt"
cp "$root/boot/initrd.img-$release" "$home/initrd.img"
# Software emulation needs 15 s to unpack the kernel; here it takes one.
offset=$(grep -abo -m1 $'\xfd7zXZ' "$root/boot/vmlinuz-$release" | head -1 | cut -d: -f1)
tail -c "+$((offset + 1))" "$root/boot/vmlinuz-$release" | xz -dc --single-stream >"$home/kernel" 2>/dev/null || true
[ "$(head -c4 "$home/kernel" | tail -c3)" = ELF ]
rm -f "$home/base.img"
truncate -s "$(($(du -sm --apparent-size "$root" | cut -f1) * 12 / 10 + 100))M" "$home/base.img"
mke2fs -q -t ext4 -O ^has_journal -E lazy_itable_init=1,root_owner=0:0 -d "$root" "$home/base.img"
rm -rf "$root"
echo "$inputs" >"$home/inputs"

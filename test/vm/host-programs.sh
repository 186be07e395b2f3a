#!/bin/bash
# Packs what makes a machine a host of guests: libvirt's daemon with its QEMU driver, QEMU and firmware of this host, Debian's AppArmor with libvirt's profiles.
# Usage: host-programs.sh FOLDER OUT.tar    FOLDER: where build.sh has built (packages are kept there)
set -euo pipefail
export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin
vm=$(cd "$1" && pwd) out=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for name in apparmor libvirt-daemon-system; do
  compgen -G "$vm/debs/${name}_*.deb" >/dev/null || (cd "$vm/debs" && apt-get -q -o APT::Sandbox::User=root download "$name" >/dev/null)
  dpkg-deb -x "$vm/debs/${name}"_*.deb "$work/debs"
done
find "$work/debs/usr/share" -mindepth 1 -maxdepth 1 ! -name 'apparmor*' -exec rm -rf {} +
rm -rf "$work/debs/lib/systemd" "$work/debs/usr/lib/systemd" "$work/debs/etc/init.d"
libs=/usr/lib/x86_64-linux-gnu
programs="$(command -v libvirtd) /usr/bin/qemu-system-x86_64 $libs/qemu/accel-tcg-x86_64.so $libs/libvirt/connection-driver/libvirt_driver_qemu.so $libs/libvirt/connection-driver/libvirt_driver_secret.so $libs/libvirt/storage-file/libvirt_storage_file_fs.so /usr/lib/libvirt/virt-aa-helper"
# shellcheck disable=SC2086
{
  printf '%s\n' $programs /usr/share/seabios /usr/share/qemu /usr/share/libvirt/cpu_map
  for program in $programs "$work/debs/sbin/apparmor_parser"; do ldd "$program"; done | awk '$3 ~ /^\// { print $3 }'
} | sort -u | sed 's|^/||' >"$work/files"
tar -chf "$out" --exclude='usr/share/qemu/*.fd' --exclude='usr/share/qemu/edk2*' -C / -T "$work/files"
tar -rf "$out" -C "$work/debs" .

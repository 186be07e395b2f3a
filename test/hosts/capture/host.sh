#!/bin/bash
# In the booted host: opens and fills it as it should be, records it, then records it with each of cases.sh.
set -euo pipefail
. /share/values.sh
. /share/guests.sh
. /share/cases.sh
mkdir -p /run/unterbau-program /run/recorded
tar -C /run/unterbau-program -xf /share/unterbau.tar
printf '#!/bin/sh\nexec node /run/unterbau-program/dist/cli.js "$@"\n' >/usr/local/bin/unterbau
chmod 755 /usr/local/bin/unterbau
say() { echo "[host $(cut -d. -f1 /proc/uptime) s] $*"; }

# record NAME: what the audit reads, and what it says. A program that did not end in time tells of a slow machine, not of the host.
record() {
  local code=0 at=/run/recorded/$1
  mkdir -p "$at"
  cp /run/scope.yaml "$at/scope.yaml"
  unterbau audit --no-keep --json --timeout 600 --live --scope /run/scope.yaml --record "$at/tree" >"$at/live.json" 2>"$at/stderr" || code=$?
  [ $code -le 2 ] || { cat "$at/stderr"; return 1; }
  ! grep -q '"exit": 124' "$at/tree/.recorded/commands.json" || { echo "programs did not end in time"; return 1; }
  ! grep -q 'libvirt did not answer' "$at/live.json" || { echo "libvirt did not answer in time"; return 1; }
  tar -C /run/recorded -cf "/share/recorded/$1.part" "$1"
  mv "/share/recorded/$1.part" "/share/recorded/$1.tar"
}

prepare() {
  set -x
  cryptsetup open --key-file /share/passphrase "UUID=$DATA" data_crypt
  cryptsetup open --key-file /share/passphrase "UUID=$TRESOR" tresor
  udevadm settle
  vgchange -ay vg1
  mount /media/tresor
  mount /var/lib/libvirt/images
  chmod 711 /var/lib/libvirt/images
  chmod 700 /media/tresor
  cryptsetup luksHeaderBackup "/dev/nvme0n1p3" --header-backup-file /media/tresor/kvm1-sys.header
  cryptsetup luksHeaderBackup "/dev/disk/by-uuid/$DATA" --header-backup-file /media/tresor/kvm1-data.header
  (cd /var/lib/libvirt/images && umask 077 && qemu-img create -q -f qcow2 debian-12.qcow2 32M && qemu-img create -q -f qcow2 -b debian-12.qcow2 -F qcow2 web.qcow2)
  dd if=/share/mail.img of=/dev/vg1/mail bs=1M status=none
  systemctl is-active libvirtd || systemctl start libvirtd
  for name in mail web; do
    xml_$name >/run/$name.xml
    virsh --quiet define /run/$name.xml
    unterbau egress plan vm:$name --scope /run/scope.yaml --apply
  done
  for name in mail web; do
    virsh --quiet dumpxml $name --inactive >/run/$name.good.xml
    virsh --quiet nwfilter-dumpxml unterbau-egress-$name >/run/egress-$name.good.xml
  done
  virsh --quiet start mail
  virsh --quiet start web --paused
  virsh --quiet destroy web
  export RESTIC_PASSWORD_FILE=/etc/restic/password RESTIC_REPOSITORY=/media/tresor/restic
  restic init --quiet
  restic backup --quiet --stdin --stdin-filename mail-vda </dev/vg1/mail
  set +x
}
cp /share/scope.yaml /run/scope.yaml
say "preparing"
prepare
say "recording"
record good
failed=0
for name in ${CASES:-$(declare -F | sed -n 's/^declare -f case_//p' | grep -vx hibernation_plain) hibernation_plain}; do
  cp /share/scope.yaml /run/scope.yaml
  say "$name"
  if (set -e; "case_$name" && record "$name") >"/run/recorded/$name.log" 2>&1; then :; else
    echo "FAILED: $name"
    tail -5 "/run/recorded/$name.log"
    failed=1
  fi
  (set +e; "undo_$name") >>"/run/recorded/$name.log" 2>&1 || { echo "undo of $name:"; tail -3 "/run/recorded/$name.log"; }
done
say "done"
exit $failed

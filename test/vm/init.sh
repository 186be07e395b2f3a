#!/bin/bash
# The first process of the test machine: mounts the rest, runs /share/job.sh as root, leaves its exit status in /share/status, powers off.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb LC_ALL=C.UTF-8
mount -t proc proc /proc
mount -t sysfs sys /sys
mountpoint -q /dev || mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
mkdir -p /run/lock /run/lvm /run/cryptsetup
ln -sf /proc/self/fd /dev/fd
for n in 0:stdin 1:stdout 2:stderr; do ln -sf "/proc/self/fd/${n%:*}" "/dev/${n#*:}"; done
dmesg -n 1
echo testvm >/proc/sys/kernel/hostname
stty -F /dev/ttyS0 -onlcr -echo 2>/dev/null
modprobe -a dm-mod dm-crypt loop virtio_scsi sd_mod fuse || echo "init: modules are missing"
/lib/systemd/systemd-udevd --daemon
udevadm trigger --action=add --subsystem-match=block --subsystem-match=misc --subsystem-match=mem
# shellcheck disable=SC2046
udevadm wait --timeout=60 --settle /dev/vda $(sed 's|^|/dev/vm/|' /share/disks)
if [ -e /share/unterbau.tar ]; then
  mkdir -p /run/unterbau-program
  tar -C /run/unterbau-program -xf /share/unterbau.tar
  printf '#!/bin/sh\nexec node /run/unterbau-program/dist/cli.js "$@"\n' >/run/unterbau-program/unterbau
  chmod 755 /run/unterbau-program/unterbau
  PATH=/run/unterbau-program:$PATH
fi
cd /root
( bash /share/job.sh; echo $? >/run/status ) >/share/out.log 2>&1
# What the script has prepared is booted as a host is, by systemd, and /share/booted.sh runs beside its units.
if [ -e /share/booted.sh ] && [ "$(cat /run/status)" = 0 ]; then
  udevadm control --exit
  exec /lib/systemd/systemd --unit=multi-user.target
fi
cp /run/status /share/status
sync
umount -l /share
echo o >/proc/sysrq-trigger
while :; do :; done

#!/bin/bash
# The first process of the first boot: puts the host (the plain base.img that was booted) onto its disks, with the real tools, and powers off.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb LC_ALL=C.UTF-8
mount -o remount,rw /
mountpoint -q /proc || mount -t proc proc /proc
mountpoint -q /sys || mount -t sysfs sys /sys
mountpoint -q /dev || mount -t devtmpfs dev /dev
mountpoint -q /run || mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
modprobe -a 9pnet_virtio 9p
mount -t 9p -o trans=virtio,version=9p2000.L,msize=524288,cache=none share /share
chmod 600 /share/passphrase
exec >/share/install.log 2>&1
dmesg -n 1
mkdir -p /run/lock /run/lvm /run/cryptsetup
modprobe -a dm-mod dm-crypt raid1 nvme ahci sd_mod xhci_pci usb-storage uas ext4 vfat xts
/lib/systemd/systemd-udevd --daemon
udevadm trigger --action=add
udevadm settle
. /share/values.sh
install() {
  set -euxo pipefail
  sys=/dev/disk/by-id/nvme-UNTERBAU_CAPTURE_S4EWNX0R100001
  printf 'label: gpt\nsize=32M,type=U,name=efi\nsize=200M,name=boot\nname=sys\n' | sfdisk --quiet /dev/nvme0n1
  udevadm settle
  crypt() { # DEVICE UUID NAME
    cryptsetup luksFormat -q --type luks2 --uuid "$2" --pbkdf argon2id --pbkdf-memory 65536 --pbkdf-parallel 2 --pbkdf-force-iterations 4 "$1" /share/passphrase
    systemd-cryptenroll --recovery-key --unlock-key-file=/share/passphrase "$1" >/dev/null
    cryptsetup open --key-file /share/passphrase "$1" "$3"
  }
  crypt /dev/nvme0n1p3 "$SYS" sys_crypt
  vgcreate vg0 /dev/mapper/sys_crypt
  lvcreate --yes -L 64m -n swap vg0
  lvcreate --yes -l 100%FREE -n root vg0
  mkswap -q /dev/vg0/swap
  mke2fs -q -t ext4 -E lazy_journal_init=1,lazy_itable_init=1,nodiscard /dev/vg0/root
  mke2fs -q -t ext4 -U 83b20965-fb82-50d8-80ef-755ee41c362a -E lazy_journal_init=1,nodiscard /dev/nvme0n1p2
  mkfs.vfat -i 6A1B2C3D /dev/nvme0n1p1
  a=$(readlink -f /dev/disk/by-id/ata-*WD1) b=$(readlink -f /dev/disk/by-id/ata-*WD2)
  mdadm --create /dev/md0 --run --quiet --level=1 --raid-devices=2 --metadata=1.2 --assume-clean --homehost=kvm1 "$a" "$b"
  crypt /dev/md0 "$DATA" data_crypt
  vgcreate vg1 /dev/mapper/data_crypt
  lvcreate --yes -L 24m -n mail vg1
  lvcreate --yes -L 96m -n images vg1
  mke2fs -q -t ext4 /dev/vg1/images
  usb=$(readlink -f /dev/disk/by-id/usb-*-0:0)
  crypt "$usb" "$TRESOR" tresor
  mke2fs -q -t ext4 /dev/mapper/tresor

  mount -o noatime,noinit_itable /dev/vg0/root /mnt
  mkdir -p /mnt/boot
  mount /dev/nvme0n1p2 /mnt/boot
  mdadm --detail --scan >>/etc/mdadm/mdadm.conf || true
  cp -ax /. /mnt/
  rm /mnt/usr/local/sbin/capture-install
  umount /mnt/boot /mnt
  sync
  vgchange --quiet -an vg0 vg1
  for name in sys_crypt data_crypt tresor; do cryptsetup close $name; done
  mdadm --stop --quiet /dev/md0
}
(install)
echo $? >/share/status
udevadm control --exit
umount -l /share
sync
echo o >/proc/sysrq-trigger
while :; do sleep 1; done

# Makes guests as they are in the field, for the tests of the kernel engine.
# Disks: pv (the host's volume group), d1 d2 (a guest over two disks)
v=/dev/vm
printf 'a key for tests' >/run/key
mkdir -p /mnt/x /kvm

own_lvm
quiet() { "$@" >/dev/null 2>/run/quiet || { cat /run/quiet; return 1; }; }
# guest DEVICE GROUP NAME: swap, ext4, and a group with a volume, in an MBR
guest() {
  printf 'label: dos\nstart=2048, size=4M, type=82\nsize=20M, type=83\ntype=8e\n' | quiet sfdisk -q --no-reread "$1"
  quiet kpartx -s -a "$1"
  local name=/dev/mapper/$(basename "$1")
  case $name in *[0-9]) name=${name}p ;; esac
  quiet mkswap "${name}1"
  ext4 "${name}2" "$3-boot"
  quiet vgcreate --devices "${name}3" "$2" "${name}3"
  quiet lvcreate --devices "${name}3" -y -Wn -L 20M -n lvroot "$2"
  ext4 "/dev/$2/lvroot" "$3-root"
  quiet vgchange --devices "${name}3" -an "$2"
  quiet kpartx -s -d "$1"
}
quiet vgcreate volssd10 $v/pv
for lv in v1:80 v2:140 v3:120; do quiet lvcreate -y -Wn -L "${lv#*:}M" -n "${lv%:*}" volssd10; done
luks /dev/volssd10/v1 luks1 /run/key
cryptsetup open --key-file /run/key /dev/volssd10/v1 making
guest /dev/mapper/making vgguest one
cryptsetup close making
for n in 2 3; do
  luks /dev/volssd10/v$n luks2 /run/key
  cryptsetup open --key-file /run/key /dev/volssd10/v$n making
  mke2fs -q -t ext4 /dev/mapper/making
  mount /dev/mapper/making /kvm
  mkdir /kvm/images
  truncate -s 64M /run/guest.raw
  loop=$(losetup --find --show /run/guest.raw)
  guest "$loop" lvg1 "n$n"
  losetup -d "$loop"
  [ $n = 2 ] && qemu-img convert -O qcow2 /run/guest.raw "/kvm/images/os'43 \$(x).qcow2" || cp --sparse=always /run/guest.raw /kvm/images/os43.raw
  rm /run/guest.raw
  umount /kvm
  cryptsetup close making
done
quiet vgcreate --devices $v/d1,$v/d2 two $v/d1 $v/d2
quiet lvcreate --devices $v/d1,$v/d2 -y -Wn -i 2 -L 24M -n lvdata two
ext4 /dev/two/lvdata two-data
quiet vgchange --devices $v/d1,$v/d2 -an two
quiet vgchange -an volssd10


# Layouts that a kernel writes to as soon as they are active: opened with --repair only, checked, closed again.
own_lvm
modprobe -a raid1 dm-thin-pool dm-raid xfs
quiet mdadm --create /dev/md9 --run --homehost=any --metadata=1.2 --level=1 --raid-devices=2 --bitmap=none $v/m1 $v/m2
ext4 /dev/md9 array
mdadm --wait /dev/md9 || :
quiet mdadm --stop /dev/md9
quiet vgcreate --devices $v/t1,$v/t2 mixed $v/t1 $v/t2
lvm() { local command=$1; shift; quiet "$command" --devices $v/t1,$v/t2 "$@"; }
lvm lvcreate -y -Wn -Zn -L 40M --poolmetadatasize 4M -T mixed/pool
lvm lvcreate -y -Wn -V 64M -T -n thin mixed/pool
ext4 /dev/mixed/thin thin
lvm lvcreate -y -Wn --type raid1 -L 24M -n mirror mixed
until_status mixed-mirror ' 49152/49152 idle'
ext4 /dev/mixed/mirror mirror
lvm lvcreate -y -Wn -L 320M -n plain mixed
quiet mkfs.xfs -q /dev/mixed/plain
mkdir -p /mnt/x
mount -o nouuid /dev/mixed/plain /mnt/x
fill /mnt/x xfs
umount /mnt/x
lvm vgchange -an mixed
udevadm settle
mkdir -p /run/udev/rules.d /run/unterbau
state >/run/before

disks="$v/t1 $v/t2"
# refused NAME ARGUMENT…: without --repair, by name, with nothing done
refused() {
  local name=$1 got=0
  shift
  unterbau run-plan --no-prompt "$@" >/run/out 2>&1 </dev/null || got=$?
  [ $got = 8 ] && grep -q -e --repair /run/out || { cat /run/out; echo "FAILED: $name ended with $got"; exit 1; }
  same "a refused $name"
  echo "refused $name"
}
refused array $v/m1 $v/m2
refused thin $disks --volume mixed/thin
for way in script run; do
  $way array 0 $v/m1 $v/m2 --repair
  $way group 0 $disks --repair
done
# XFS alone, in a group of which nothing else is touched: for looking only.
refused xfs $disks --volume mixed/plain
# What both programs say of damage that is really there.
harm() { unterbau exec "$@" --write -- debugfs -w -R 'clri /etc/deep' {} >/run/out 2>&1 || { cat /run/out; exit 1; }; }
harm $disks --volume mixed/mirror
run mirror-repair 1 $disks --volume mixed/mirror --repair
run mirror-repaired 0 $disks --volume mixed/mirror --repair
unterbau check $disks --json >/share/check.json
jq -e '[.volumes[].verdict] | all(. == "clean")' /share/check.json >/dev/null || { cat /share/check.json; exit 1; }
unterbau check $v/m1 $v/m2 >/run/out || { cat /run/out; exit 1; }

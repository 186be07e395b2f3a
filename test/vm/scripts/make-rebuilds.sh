# Arrays in the middle of a first synchronisation or of a rebuild, made for real, and then the power is cut.
# Disks: r1…r5 (LVM), m1…m4 (md)
own_lvm
v=/dev/vm
modprobe -a dm-raid raid1 raid10 raid456
quiet() { "$@" >/dev/null 2>/run/quiet || { cat /run/quiet; return 1; }; }
speed() { # speed KIB-PER-SECOND, for all arrays
  echo "$1" >/proc/sys/dev/raid/speed_limit_min
  echo "$1" >/proc/sys/dev/raid/speed_limit_max
}
sectors() { # sectors MD: how far it is, and of how much
  tr -d ' ' <"/sys/block/$1/md/sync_completed"
}

vgcreate -q red $v/r1 $v/r2 $v/r3 $v/r4 $v/r5
speed 200000
quiet lvcreate -y -Wn --type raid5 -i 2 -I 16k -L 24M -n rebuild5 red $v/r1 $v/r2 $v/r3
quiet lvcreate -y -Wn --type raid1 -m 1 -L 24M -n rebuild1 red $v/r4 $v/r5
for lv in rebuild5 rebuild1; do
  until_status red-$lv ' ([0-9]+)/\1 '
  ext4 /dev/red/$lv lvm-$lv
done
speed 20
quiet lvconvert -y --replace $v/r1 red/rebuild5 $v/r4
quiet lvconvert -y --replace $v/r4 red/rebuild1 $v/r1
quiet lvcreate -y -Wn --type raid1 -m 1 -L 24M -n resync1 red $v/r2 $v/r3
quiet lvcreate -y -Wn --type raid6 -i 3 -I 16k -L 24M -n resync6 red
for lv in resync1 resync6; do ext4 /dev/red/$lv lvm-$lv; done

for disk in m1 m2 m3 m4; do
  printf 'label: gpt\n%s' "$(for _ in 1 2 3 4; do echo 'size=16M'; done)" | sfdisk -q $v/$disk
done
udevadm settle
part() { echo "$(readlink -f $v/$1)$2"; }
create() { # create NAME PARTITION LEVEL DISK…
  local name=$1 n=$2 level=$3 members="" d
  shift 3
  for d; do members="$members $(part $d $n)"; done
  # shellcheck disable=SC2086
  quiet mdadm --create /dev/md/$name --run --level=$level --raid-devices=$# --homehost=any --name=$name --bitmap=none --metadata=1.2 ${clean:-} $members
}
half() { # half NAME: goes on to the middle of a member, and stays there
  local md
  md=$(basename "$(readlink -f /dev/md/$1)")
  # Else one array on a disk waits for the other. The end can only be moved while nothing goes on.
  echo 1 >/sys/block/$md/md/sync_force_parallel
  echo frozen >/sys/block/$md/md/sync_action
  echo 14336 >/sys/block/$md/md/sync_max
  echo idle >/sys/block/$md/md/sync_action
  echo 200000 >/sys/block/$md/md/sync_speed_max
  echo 200000 >/sys/block/$md/md/sync_speed_min
  until [ "$(sectors $md | cut -d/ -f1)" = 14336 ]; do sleep 0.2; done
  echo "$1 $(cat /sys/block/$md/md/sync_action) $(sectors $md)"
}
create md-resync1 1 1 m1 m2
create md-rebuild5 2 5 m1 m2 m3
create md-resync6 3 6 m1 m2 m3 m4
for a in md-resync1 md-rebuild5 md-resync6; do ext4 /dev/md/$a $a; half $a; done
# The empty disks are equal; its synchronisation would wait for those that stand still.
clean=--assume-clean create md-rebuild1 4 1 m1 m2
ext4 /dev/md/md-rebuild1 md-rebuild1
quiet mdadm /dev/md/md-rebuild1 --fail "$(part m1 4)"
quiet mdadm /dev/md/md-rebuild1 --remove "$(part m1 4)"
quiet mdadm --zero-superblock "$(part m1 4)"
quiet mdadm /dev/md/md-rebuild1 --add "$(part m3 4)"
half md-rebuild1

for lv in rebuild5 rebuild1 resync1 resync6; do sum /dev/red/$lv red/$lv; done
for a in md-resync1 md-rebuild5 md-resync6 md-rebuild1; do sum /dev/md/$a md/$a; done
for lv in rebuild5 rebuild1 resync1 resync6; do echo "$lv $(dmsetup status red-$lv | cut -d' ' -f4-8)"; done
sync
cut_power

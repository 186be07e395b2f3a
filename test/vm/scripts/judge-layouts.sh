# Opens what make-layouts.sh made, after others wrote to it: is every array consistent, every file system clean; what does the kernel read now?
own_lvm
v=/dev/vm
modprobe -a dm-thin-pool dm-snapshot dm-cache dm-raid raid0 raid1 raid10 raid456 linear
quiet() { "$@" >/dev/null 2>/run/quiet || { cat /run/quiet; return 1; }; }
judge() { # judge DEVICE NAME
  e2fsck -fn "$1" >/run/e2fsck 2>&1 || { echo "e2fsck -fn $2 ended with $?"; cat /run/e2fsck; exit 1; }
  sum "$1" "$2"
}

quiet vgchange -ay --devices $v/a1,$v/a2 two
quiet lvchange -ay -K --devices $v/a1,$v/a2 two/thinold
for lv in alone across stripes base before thin thinold thinown cached; do judge /dev/two/$lv two/$lv; done

quiet vgchange -ay --devices $v/r1,$v/r2,$v/r3,$v/r4,$v/r5 red
for lv in raid1 raid5 raid6 raid10; do
  lvs --noheadings -o lv_health_status,lv_attr --devices $v/r1,$v/r2,$v/r3,$v/r4,$v/r5 red/$lv
  judge /dev/red/$lv red/$lv
  quiet lvchange --syncaction check red/$lv
  until_status red-$lv ' idle '
  echo "mismatch red/$lv $(lvs --noheadings -o raid_mismatch_count red/$lv | tr -d ' ')"
done

part() { echo "$(readlink -f $v/$1)$2"; }
udevadm settle
array() { # array NAME PARTITION DISKS
  local members="" d
  for d in m1 m2 m3 m4; do [ "$(echo $members | wc -w)" -ge "$3" ] || members="$members $(part $d $2)"; done
  # shellcheck disable=SC2086
  quiet mdadm --assemble /dev/md/$1 $members
  judge /dev/md/$1 md/$1
  local md
  md=$(basename "$(readlink -f /dev/md/$1)")
  if [ -e /sys/block/$md/md/sync_action ]; then
    # All members were taken, and none needed a synchronisation.
    [ "$(cat /sys/block/$md/md/degraded) $(cat /sys/block/$md/md/sync_action)" = "0 idle" ]
    echo check >/sys/block/$md/md/sync_action
    mdadm --wait /dev/md/$1 || :
    echo "mismatch md/$1 $(cat /sys/block/$md/md/mismatch_cnt)"
  fi
  mdadm --quiet --stop /dev/md/$1
}
array md-raid1 1 2
array md-raid5 2 3
array md-raid6 3 4
array md-raid10 4 4
array md-raid0 5 3
array md-linear 6 2

for s in s1 s2; do
  quiet vgchange -ay --devices $v/$s same
  judge /dev/same/root LABEL=same-$s
  quiet vgchange -an --devices $v/$s same
done
printf 'a key for tests' >/run/key
for l in l1 l2; do
  cryptsetup open --key-file /run/key $v/$l crypt-$l
  judge /dev/mapper/crypt-$l LABEL=crypt-$l
done
for k in k1 k2; do cryptsetup open --key-file /run/key $v/$k open-$k; done
quiet vgchange -ay --devices /dev/mapper/open-k1,/dev/mapper/open-k2 secret
judge /dev/secret/root secret/root

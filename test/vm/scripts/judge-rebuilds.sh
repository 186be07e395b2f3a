# What make-rebuilds.sh left, after others wrote to the md arrays: does the kernel end its work on it, and is all of it consistent then?
own_lvm
v=/dev/vm
modprobe -a dm-raid raid1 raid10 raid456
quiet() { "$@" >/dev/null 2>/run/quiet || { cat /run/quiet; return 1; }; }
judge() {
  e2fsck -fn "$1" >/run/e2fsck 2>&1 || { echo "e2fsck -fn $2 ended with $?"; cat /run/e2fsck; exit 1; }
  sum "$1" "$2"
}
quiet vgchange -ay red
for lv in rebuild5 rebuild1 resync1 resync6; do
  until_status red-$lv ' ([0-9]+)/\1 idle '
  judge /dev/red/$lv red/$lv
  quiet lvchange --syncaction check red/$lv
  until_status red-$lv ' idle '
  echo "mismatch red/$lv $(lvs --noheadings -o raid_mismatch_count red/$lv | tr -d ' ')"
done
part() { echo "$(readlink -f $v/$1)$2"; }
udevadm settle
array() {
  local name=$1 n=$2 md members="" d
  shift 2
  for d; do members="$members $(part $d $n)"; done
  # shellcheck disable=SC2086
  quiet mdadm --assemble --run /dev/md/$name $members
  md=$(basename "$(readlink -f /dev/md/$name)")
  echo "action $name $(cat /sys/block/$md/md/sync_action)"
  # Now, and when it has done its work: for that it waits for the first write, or a word.
  judge /dev/md/$name now/$name
  quiet mdadm --readwrite /dev/md/$name
  mdadm --wait /dev/md/$name || :
  judge /dev/md/$name md/$name
  [ "$(cat /sys/block/$md/md/degraded)" = 0 ]
  echo check >/sys/block/$md/md/sync_action
  mdadm --wait /dev/md/$name || :
  echo "mismatch md/$name $(cat /sys/block/$md/md/mismatch_cnt)"
}
array md-resync1 1 m1 m2
array md-rebuild5 2 m1 m2 m3
array md-resync6 3 m1 m2 m3 m4
array md-rebuild1 4 m2 m3

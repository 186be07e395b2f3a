#!/bin/sh
# Runbook by unterbau 0.1.0: opens, with this host's kernel, lvg1/lvroot (ext4)
#
# Sources: FOLDER/two/a.raw, FOLDER/two/b.raw
# Everything is opened read-only; the checks change nothing.
# Run it as root. What it opens is closed again, in reverse order, also after an error; its exit code is fsck's, 8 where something failed.
# shellcheck disable=SC2016,SC2094,SC2317
set -eu
umask 077
PATH=$PATH:/usr/sbin:/sbin
export LVM_SYSTEM_DIR=FOLDER/run/unterbau-HASH--
status=0 reached=0 kept=0
loop1='' loop2='' loop3='' loop4=''

fail() { printf 'failed: %s\n' "$*" >&2; status=$((status | 8)); exit "$status"; }
# left STEP: it is still there; nothing below it is touched, as it is in use.
left() { printf 'left, in use: %s\n' "$*" >&2; status=$((status | 8)) kept=1; }
# check COMMAND…: exit codes are OR-ed, as fsck(8) does it.
check() { "$@" || status=$((status | $?)); }
# mapped NAME: whether device mapper has it.
mapped() { dmsetup info "$1" >/dev/null 2>&1; }
# active GROUP: whether a volume of it is active. Hyphens of the name are doubled.
active() {
  for name in /sys/block/dm-*/dm/name; do
    case $(cat "$name" 2>/dev/null) in "$1"-[!-]*) return 0 ;; esac
  done
  return 1
}
# known PREFIX: whether a device-mapper device has a UUID that begins so.
known() {
  for uuid in /sys/block/dm-*/dm/uuid; do
    case $(cat "$uuid" 2>/dev/null) in "$1"*) return 0 ;; esac
  done
  return 1
}
# loop_is DEVICE BACKING OFFSET: whether the loop device shows just that.
loop_is() {
  [ -n "$1" ] && [ -e "/sys/block/${1#/dev/}/loop/backing_file" ] &&
    [ "$(cat "/sys/block/${1#/dev/}/loop/backing_file")" = "$(readlink -f -- "$2")" ] && [ "$(cat "/sys/block/${1#/dev/}/loop/offset")" = "$3" ]
}

[ "$(id -u)" = 0 ] || fail "only root may do this"
[ -e /sys/module/dm_mod ] || modprobe dm_mod || fail "this kernel has no device mapper"

steps() {
  # 1. A folder of its own. LVM gets it as its configuration: nothing that this host says of its own disks holds for a guest's
  ! [ -e FOLDER/run/unterbau-HASH-- ] || fail 'FOLDER/run/unterbau-HASH-- is there already'
  reached=1
  mkdir -p FOLDER/run
  mkdir -m 700 FOLDER/run/unterbau-HASH--
  [ -e FOLDER/run/unterbau-HASH-- ] || fail 'step 1 had no effect'

  # 2. udev is to leave the guest's physical volumes and array members alone
  ! [ -e /run/udev/rules.d/63-unterbau-HASH--.rules ] || fail '/run/udev/rules.d/63-unterbau-HASH--.rules is there already'
  reached=2
  mkdir -p /run/udev/rules.d
  printf '%s\n' 'ENV{ID_FS_TYPE}=="LVM2_member", ENV{ID_FS_UUID}=="LVMUUID-------------------------------", ENV{ID_FS_TYPE}=""' 'ENV{ID_FS_TYPE}=="LVM2_member", ENV{ID_FS_UUID}=="LVMUUID-------------------------------", ENV{ID_FS_TYPE}=""' >/run/udev/rules.d/63-unterbau-HASH--.rules
  udevadm control --reload
  [ -e /run/udev/rules.d/63-unterbau-HASH--.rules ] || fail 'step 2 had no effect'

  # 3. partition p2 as a loop device
  #    it begins at sector 18432: 18432 * 512 = 9437184
  #    and has 145408 sectors: 145408 * 512 = 74448896
  loop1=$(losetup --find)
  reached=3
  losetup --read-only --offset 9437184 --sizelimit 74448896 "$loop1" FOLDER/two/a.raw
  udevadm settle --timeout=60
  loop_is "$loop1" FOLDER/two/a.raw 9437184 || fail 'step 3 had no effect'

  # 4. FOLDER/two/b.raw as a loop device
  loop2=$(losetup --find)
  reached=4
  losetup --read-only --offset 0 "$loop2" FOLDER/two/b.raw
  udevadm settle --timeout=60
  loop_is "$loop2" FOLDER/two/b.raw 0 || fail 'step 4 had no effect'

  # 5. A copy of the physical volume's metadata, without its data
  ! [ -e FOLDER/run/unterbau-HASH--/metadata1 ] || fail 'FOLDER/run/unterbau-HASH--/metadata1 is there already'
  reached=5
  dd if="$loop1" of=FOLDER/run/unterbau-HASH--/metadata1 bs=512 skip=0 seek=0 count=2048 conv=notrunc status=none
  dd if="$loop1" of=FOLDER/run/unterbau-HASH--/metadata1 bs=512 skip=141312 seek=141312 count=4096 conv=notrunc status=none
  truncate --size 74448896 FOLDER/run/unterbau-HASH--/metadata1
  [ -e FOLDER/run/unterbau-HASH--/metadata1 ] || fail 'step 5 had no effect'

  # 6. The copy as a loop device
  loop3=$(losetup --find)
  reached=6
  losetup "$loop3" FOLDER/run/unterbau-HASH--/metadata1
  udevadm settle --timeout=60
  loop_is "$loop3" FOLDER/run/unterbau-HASH--/metadata1 0 || fail 'step 6 had no effect'

  # 7. A copy of the physical volume's metadata, without its data
  ! [ -e FOLDER/run/unterbau-HASH--/metadata2 ] || fail 'FOLDER/run/unterbau-HASH--/metadata2 is there already'
  reached=7
  dd if="$loop2" of=FOLDER/run/unterbau-HASH--/metadata2 bs=512 skip=0 seek=0 count=2048 conv=notrunc status=none
  dd if="$loop2" of=FOLDER/run/unterbau-HASH--/metadata2 bs=512 skip=157696 seek=157696 count=6144 conv=notrunc status=none
  truncate --size 83886080 FOLDER/run/unterbau-HASH--/metadata2
  [ -e FOLDER/run/unterbau-HASH--/metadata2 ] || fail 'step 7 had no effect'

  # 8. The copy as a loop device
  loop4=$(losetup --find)
  reached=8
  losetup "$loop4" FOLDER/run/unterbau-HASH--/metadata2
  udevadm settle --timeout=60
  loop_is "$loop4" FOLDER/run/unterbau-HASH--/metadata2 0 || fail 'step 8 had no effect'

  # 9. The copy gets the name unterbau_HASH--_lvg1 and another UUID, as this host may have a group called lvg1 itself
  ! [ -e FOLDER/run/unterbau-HASH--/unterbau_HASH--_lvg1 ] || fail 'FOLDER/run/unterbau-HASH--/unterbau_HASH--_lvg1 is there already'
  ! known LVM-LVMUUID------------------------- || fail 'the group lvg1 itself, or a clone of it, is active on this host'
  reached=9
  vgrename --devices "$loop3","$loop4" --config 'backup{backup=0 archive=0} devices{scan_lvs=1} activation{monitoring=0} global{use_lvmlockd=0 use_lvmpolld=0}' LVMUUID------------------------------- unterbau_HASH--_lvg1
  vgchange --devices "$loop3","$loop4" --config 'backup{backup=0 archive=0} devices{scan_lvs=1} activation{monitoring=0} global{use_lvmlockd=0 use_lvmpolld=0}' --uuid unterbau_HASH--_lvg1
  touch FOLDER/run/unterbau-HASH--/unterbau_HASH--_lvg1
  [ -e FOLDER/run/unterbau-HASH--/unterbau_HASH--_lvg1 ] || fail 'step 9 had no effect'

  # 10. The renamed metadata with the guest's own data behind it
  ! mapped unterbau-HASH---joined1 || fail 'unterbau-HASH---joined1 is there already'
  reached=10
  dmsetup create --concise 'unterbau-HASH---joined1,,,ro,0 2048 linear '"$loop3"' 0,2048 139264 linear '"$loop1"' 2048'',141312 4096 linear '"$loop3"' 141312'
  udevadm settle --timeout=60
  mapped unterbau-HASH---joined1 || fail 'step 10 had no effect'

  # 11. The renamed metadata with the guest's own data behind it
  ! mapped unterbau-HASH---joined2 || fail 'unterbau-HASH---joined2 is there already'
  reached=11
  dmsetup create --concise 'unterbau-HASH---joined2,,,ro,0 2048 linear '"$loop4"' 0,2048 155648 linear '"$loop2"' 2048'',157696 6144 linear '"$loop4"' 157696'
  udevadm settle --timeout=60
  mapped unterbau-HASH---joined2 || fail 'step 11 had no effect'

  # 12. The volume group unterbau_HASH--_lvg1, by its UUID and from these devices only
  ! active unterbau_HASH--_lvg1 || fail 'a group called unterbau_HASH--_lvg1 is there already'
  ! known LVM-LVMUUID------------------------- || fail 'the group lvg1 itself, or a clone of it, is active on this host'
  reached=12
  vgchange --devices /dev/mapper/unterbau-HASH---joined1,/dev/mapper/unterbau-HASH---joined2 --config 'backup{backup=0 archive=0} devices{scan_lvs=1} activation{monitoring=0 read_only_volume_list=["unterbau_HASH--_lvg1"]} global{use_lvmlockd=0 use_lvmpolld=0}' --activate y --ignoreactivationskip --poll n unterbau_HASH--_lvg1
  udevadm settle --timeout=60
  active unterbau_HASH--_lvg1 || fail 'step 12 had no effect'

  # lvg1/lvroot: ext4
  check fsck -t ext4 -f -n /dev/mapper/unterbau_HASH--_lvg1-lvroot
}

# The way back: whatever is there of the steps, last first.
undo() {
  code=$?
  case $code in "$status") ;; 130 | 143) status=$code ;; *) status=$((status | 8)) ;; esac
  trap - EXIT
  trap '' HUP INT TERM
  set +e
  # 12. The volume group unterbau_HASH--_lvg1, by its UUID and from these devices only
  if [ "$reached" -ge 12 ] && active unterbau_HASH--_lvg1; then
    if [ "$kept" = 0 ]; then
      udevadm settle --timeout=60
      vgchange --devices /dev/mapper/unterbau-HASH---joined1,/dev/mapper/unterbau-HASH---joined2 --config 'backup{backup=0 archive=0} devices{scan_lvs=1} activation{monitoring=0 read_only_volume_list=["unterbau_HASH--_lvg1"]} global{use_lvmlockd=0 use_lvmpolld=0}' --activate n unterbau_HASH--_lvg1
    fi
    ! active unterbau_HASH--_lvg1 || left '12. The volume group unterbau_HASH--_lvg1, by its UUID and from these devices only'
  fi
  # 11. The renamed metadata with the guest's own data behind it
  if [ "$reached" -ge 11 ] && mapped unterbau-HASH---joined2; then
    if [ "$kept" = 0 ]; then
      udevadm settle --timeout=60
      dmsetup remove --retry unterbau-HASH---joined2
    fi
    ! mapped unterbau-HASH---joined2 || left '11. The renamed metadata with the guest'\''s own data behind it'
  fi
  # 10. The renamed metadata with the guest's own data behind it
  if [ "$reached" -ge 10 ] && mapped unterbau-HASH---joined1; then
    if [ "$kept" = 0 ]; then
      udevadm settle --timeout=60
      dmsetup remove --retry unterbau-HASH---joined1
    fi
    ! mapped unterbau-HASH---joined1 || left '10. The renamed metadata with the guest'\''s own data behind it'
  fi
  # 9. The copy gets the name unterbau_HASH--_lvg1 and another UUID, as this host may have a group called lvg1 itself
  if [ "$reached" -ge 9 ] && [ -e FOLDER/run/unterbau-HASH--/unterbau_HASH--_lvg1 ]; then
    if [ "$kept" = 0 ]; then
      rm -f FOLDER/run/unterbau-HASH--/unterbau_HASH--_lvg1
    fi
    ! [ -e FOLDER/run/unterbau-HASH--/unterbau_HASH--_lvg1 ] || left '9. The copy gets the name unterbau_HASH--_lvg1 and another UUID, as this host may have a group called lvg1 itself'
  fi
  # 8. The copy as a loop device
  if [ "$reached" -ge 8 ] && loop_is "$loop4" FOLDER/run/unterbau-HASH--/metadata2 0; then
    if [ "$kept" = 0 ]; then
      udevadm settle --timeout=60
      losetup --detach "$loop4"
    fi
    ! loop_is "$loop4" FOLDER/run/unterbau-HASH--/metadata2 0 || left '8. The copy as a loop device'
  fi
  # 7. A copy of the physical volume's metadata, without its data
  if [ "$reached" -ge 7 ] && [ -e FOLDER/run/unterbau-HASH--/metadata2 ]; then
    if [ "$kept" = 0 ]; then
      rm -f FOLDER/run/unterbau-HASH--/metadata2
    fi
    ! [ -e FOLDER/run/unterbau-HASH--/metadata2 ] || left '7. A copy of the physical volume'\''s metadata, without its data'
  fi
  # 6. The copy as a loop device
  if [ "$reached" -ge 6 ] && loop_is "$loop3" FOLDER/run/unterbau-HASH--/metadata1 0; then
    if [ "$kept" = 0 ]; then
      udevadm settle --timeout=60
      losetup --detach "$loop3"
    fi
    ! loop_is "$loop3" FOLDER/run/unterbau-HASH--/metadata1 0 || left '6. The copy as a loop device'
  fi
  # 5. A copy of the physical volume's metadata, without its data
  if [ "$reached" -ge 5 ] && [ -e FOLDER/run/unterbau-HASH--/metadata1 ]; then
    if [ "$kept" = 0 ]; then
      rm -f FOLDER/run/unterbau-HASH--/metadata1
    fi
    ! [ -e FOLDER/run/unterbau-HASH--/metadata1 ] || left '5. A copy of the physical volume'\''s metadata, without its data'
  fi
  # 4. FOLDER/two/b.raw as a loop device
  if [ "$reached" -ge 4 ] && loop_is "$loop2" FOLDER/two/b.raw 0; then
    if [ "$kept" = 0 ]; then
      udevadm settle --timeout=60
      losetup --detach "$loop2"
    fi
    ! loop_is "$loop2" FOLDER/two/b.raw 0 || left '4. FOLDER/two/b.raw as a loop device'
  fi
  # 3. partition p2 as a loop device
  if [ "$reached" -ge 3 ] && loop_is "$loop1" FOLDER/two/a.raw 9437184; then
    if [ "$kept" = 0 ]; then
      udevadm settle --timeout=60
      losetup --detach "$loop1"
    fi
    ! loop_is "$loop1" FOLDER/two/a.raw 9437184 || left '3. partition p2 as a loop device'
  fi
  # 2. udev is to leave the guest's physical volumes and array members alone
  if [ "$reached" -ge 2 ] && [ -e /run/udev/rules.d/63-unterbau-HASH--.rules ]; then
    if [ "$kept" = 0 ]; then
      rm -f /run/udev/rules.d/63-unterbau-HASH--.rules
      udevadm control --reload
    fi
    ! [ -e /run/udev/rules.d/63-unterbau-HASH--.rules ] || left '2. udev is to leave the guest'\''s physical volumes and array members alone'
  fi
  # 1. A folder of its own. LVM gets it as its configuration: nothing that this host says of its own disks holds for a guest's
  if [ "$reached" -ge 1 ] && [ -e FOLDER/run/unterbau-HASH-- ]; then
    if [ "$kept" = 0 ]; then
      rmdir FOLDER/run/unterbau-HASH--
    fi
    ! [ -e FOLDER/run/unterbau-HASH-- ] || left '1. A folder of its own. LVM gets it as its configuration: nothing that this host says of its own disks holds for a guest'\''s'
  fi
  exit "$status"
}

trap undo EXIT
trap 'exit 130' INT
trap 'exit 143' HUP TERM
steps
exit "$status"

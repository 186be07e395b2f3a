#!/bin/sh
# Runbook by unterbau 0.1.0: opens, with this host's kernel, lvg1/lvroot (ext4)
#
# Sources: FOLDER/variant1.luks
# Everything is opened read-only; the checks change nothing.
# Run it as root. What it opens is closed again, in reverse order, also after an error; its exit code is fsck's, 8 where something failed.
# shellcheck disable=SC2016,SC2094,SC2317
set -eu
umask 077
PATH=$PATH:/usr/sbin:/sbin
export LVM_SYSTEM_DIR=FOLDER/run/unterbau-HASH--
status=0 reached=0 kept=0
loop1='' loop2=''

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
  printf '%s\n' 'ENV{ID_FS_TYPE}=="LVM2_member", ENV{ID_FS_UUID}=="LVMUUID-------------------------------", ENV{ID_FS_TYPE}=""' >/run/udev/rules.d/63-unterbau-HASH--.rules
  udevadm control --reload
  [ -e /run/udev/rules.d/63-unterbau-HASH--.rules ] || fail 'step 2 had no effect'

  # 3. FOLDER/variant1.luks as a loop device
  loop1=$(losetup --find)
  reached=3
  losetup --read-only --offset 0 "$loop1" FOLDER/variant1.luks
  udevadm settle --timeout=60
  loop_is "$loop1" FOLDER/variant1.luks 0 || fail 'step 3 had no effect'

  # 4. The encryption UUID--------------------------------
  ! mapped unterbau-HASH---crypt1 || fail 'unterbau-HASH---crypt1 is there already'
  reached=4
  cryptsetup open --key-file FOLDER/key --type luks --readonly "$loop1" unterbau-HASH---crypt1
  udevadm settle --timeout=60
  mapped unterbau-HASH---crypt1 || fail 'step 4 had no effect'

  # 5. partition p2 as a loop device
  #    it begins at sector 18432: 18432 * 512 = 9437184
  #    and has 145408 sectors: 145408 * 512 = 74448896
  loop2=$(losetup --find)
  reached=5
  losetup --read-only --offset 9437184 --sizelimit 74448896 "$loop2" /dev/mapper/unterbau-HASH---crypt1
  udevadm settle --timeout=60
  loop_is "$loop2" /dev/mapper/unterbau-HASH---crypt1 9437184 || fail 'step 5 had no effect'

  # 6. The volume group lvg1, by its UUID and from this device only
  ! active lvg1 || fail 'a group called lvg1 is there already'
  ! known LVM-LVMUUID------------------------- || fail 'the group lvg1 itself, or a clone of it, is active on this host'
  reached=6
  vgchange --devices "$loop2" --config 'backup{backup=0 archive=0} devices{scan_lvs=1} activation{monitoring=0 read_only_volume_list=["lvg1"]} global{use_lvmlockd=0 use_lvmpolld=0}' --activate y --ignoreactivationskip --poll n --select vg_uuid=LVMUUID-------------------------------
  udevadm settle --timeout=60
  active lvg1 || fail 'step 6 had no effect'

  # lvg1/lvroot: ext4
  check fsck -t ext4 -f -n /dev/mapper/lvg1-lvroot
}

# The way back: whatever is there of the steps, last first.
undo() {
  code=$?
  case $code in "$status") ;; 130 | 143) status=$code ;; *) status=$((status | 8)) ;; esac
  trap - EXIT
  trap '' HUP INT TERM
  set +e
  # 6. The volume group lvg1, by its UUID and from this device only
  if [ "$reached" -ge 6 ] && active lvg1; then
    if [ "$kept" = 0 ]; then
      udevadm settle --timeout=60
      vgchange --devices "$loop2" --config 'backup{backup=0 archive=0} devices{scan_lvs=1} activation{monitoring=0 read_only_volume_list=["lvg1"]} global{use_lvmlockd=0 use_lvmpolld=0}' --activate n --select vg_uuid=LVMUUID-------------------------------
    fi
    ! active lvg1 || left '6. The volume group lvg1, by its UUID and from this device only'
  fi
  # 5. partition p2 as a loop device
  if [ "$reached" -ge 5 ] && loop_is "$loop2" /dev/mapper/unterbau-HASH---crypt1 9437184; then
    if [ "$kept" = 0 ]; then
      udevadm settle --timeout=60
      losetup --detach "$loop2"
    fi
    ! loop_is "$loop2" /dev/mapper/unterbau-HASH---crypt1 9437184 || left '5. partition p2 as a loop device'
  fi
  # 4. The encryption UUID--------------------------------
  if [ "$reached" -ge 4 ] && mapped unterbau-HASH---crypt1; then
    if [ "$kept" = 0 ]; then
      udevadm settle --timeout=60
      cryptsetup close unterbau-HASH---crypt1
    fi
    ! mapped unterbau-HASH---crypt1 || left '4. The encryption UUID--------------------------------'
  fi
  # 3. FOLDER/variant1.luks as a loop device
  if [ "$reached" -ge 3 ] && loop_is "$loop1" FOLDER/variant1.luks 0; then
    if [ "$kept" = 0 ]; then
      udevadm settle --timeout=60
      losetup --detach "$loop1"
    fi
    ! loop_is "$loop1" FOLDER/variant1.luks 0 || left '3. FOLDER/variant1.luks as a loop device'
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

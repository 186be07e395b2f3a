#!/bin/sh
# A guest's disk as an installer leaves it, made by the ordinary tools: sfdisk, mkswap, lvm2, mke2fs. Needs root (loop devices).
#
#   make-guest.sh LAYOUT DISK [DISK2]
#
# LAYOUT  mbr-ext4   p1 swap, p2 ext4                      gpt-ext4   the same in a GPT
#         mbr-lvm    p1 swap, p2 (8e) the PV of $VG with lvroot (ext4)     gpt-lvm    the same in a GPT
#         mbr-lvm2   the same, $VG over p2 of DISK and all of DISK2; lvroot begins on DISK2 and ends on DISK
# Environment: SIZE (of each disk, default 256M), SWAP (32M), LV (128M), VG (lvg1), FILES (a folder to copy in), KERNEL (1: by mounting), DISKID (of the MBR).
set -eu
layout=$1 disk=$2 disk2=${3:-}
size=${SIZE:-256M} swap=${SWAP:-32M} lv=${LV:-128M} vg=${VG:-lvg1} files=${FILES:-}
PATH=$PATH:/usr/sbin:/sbin

loops=""
cleanup() { for l in $loops; do losetup -d "$l" 2>/dev/null || true; done; }
trap cleanup EXIT INT TERM
# attach FILE OFFSET SIZE: prints nothing, sets $loop
attach() {
  loop=$(losetup --find --show --offset "$2" --sizelimit "$3" "$1")
  loops="$loops $loop"
}
detach() { # a freed loop device may be somebody else's a moment later: forget it
  losetup -d "$1"
  loops=$(echo "$loops" | tr ' ' '\n' | grep -vx "$1" | tr '\n' ' ')
}

rm -f "$disk"
truncate -s "$size" "$disk"
case $layout in
mbr-*) label=dos t_swap=82 t_lvm=8e t_linux=83 ;;
gpt-*) label=gpt t_swap=swap t_lvm=lvm t_linux=linux ;;
esac
case $layout in *-lvm*) t2=$t_lvm ;; *) t2=$t_linux ;; esac
printf 'label: %s\n%s\nstart=2048, size=%s, type=%s\ntype=%s\n' "$label" "${DISKID:+label-id: $DISKID}" "$swap" "$t_swap" "$t2" | sfdisk --quiet "$disk"

# start and size of partition $1 in bytes
part() { sfdisk --json "$disk" | tr -d ' \n' | sed "s/.*\"partitions\":\[//" | tr '{' '\n' | sed -n "$(($1 + 1))p" | sed 's/.*"start":\([0-9]*\),"size":\([0-9]*\).*/\1 \2/' | { read -r s n || true; echo "$((s * 512)) $((n * 512))"; }; }

# shellcheck disable=SC2046
set -- $(part 1)
attach "$disk" "$1" "$2"
mkswap -q -L guest-swap "$loop" >/dev/null
detach "$loop"
# shellcheck disable=SC2046
set -- $(part 2)
p2_start=$1 p2_size=$2

fill() { # DEVICE: with KERNEL=1 the files are copied by the kernel's own ext4, so they lie as on a disk in use
  if [ -n "$files" ] && [ -n "${KERNEL:-}" ]; then
    mke2fs -q -F -t ext4 -L root "$1"
    mnt=$(mktemp -d)
    mount "$1" "$mnt"
    cp -a "$files/." "$mnt"
    umount "$mnt"
    rmdir "$mnt"
    # lost+found and the like settled, so that a check finds nothing to write
    e2fsck -fyD "$1" >/dev/null || [ $? -eq 1 ]
  elif [ -n "$files" ]; then
    mke2fs -q -F -t ext4 -L root -d "$files" "$1"
  else
    mke2fs -q -F -t ext4 -L root "$1"
  fi
}

case $layout in
*-ext4)
  attach "$disk" "$p2_start" "$p2_size"
  fill "$loop"
  ;;
*-lvm | *-lvm2)
  attach "$disk" "$p2_start" "$p2_size"
  p2=$loop
  pvs=$p2
  if [ "$layout" = mbr-lvm2 ]; then
    rm -f "$disk2"
    truncate -s "$size" "$disk2"
    attach "$disk2" 0 "$(stat -c %s "$disk2")"
    second=$loop
    pvs="$p2 $second"
  fi
  accept=$(for l in $pvs; do printf '"a|^%s$|",' "$l"; done)
  # No device-mapper is needed to write metadata: activation is off, only these devices are seen.
  config="global{activation=0 locking_type=0 use_lvmpolld=0} devices{use_devicesfile=0 filter=[${accept}\"r|.*|\"] global_filter=[${accept}\"r|.*|\"] scan=[\"/dev\"] write_cache_state=0} backup{backup=0 archive=0} activation{monitoring=0}"
  run() { lvm "$@" --config "$config" >/dev/null 2>"$disk.lvm.log" || { cat "$disk.lvm.log" >&2; exit 1; }; }
  # shellcheck disable=SC2086
  run pvcreate -ff -y $pvs
  # shellcheck disable=SC2086
  run vgcreate "$vg" $pvs
  if [ "$layout" = mbr-lvm2 ]; then
    # The first half on the second disk, the rest on the first: order on disk and in the volume differ.
    half=$(($(numfmt --from=iec "$lv") / 2))
    run lvcreate -an -Zn -Wn -y -L "${half}b" -n lvroot "$vg" "$second"
    run lvextend -L "+${half}b" "$vg/lvroot" "$p2"
    # Assemble the file system from the report of lvm2.
    tmp=$disk.fs
    rm -f "$tmp"
    truncate -s "$((half * 2))" "$tmp"
    fill "$tmp"
    lvm lvs --config "$config" --noheadings --units b --nosuffix --segments -o seg_start,seg_size,devices "$vg/lvroot" 2>/dev/null |
      while read -r at n where; do
        device=${where%%(*}
        extent=${where##*(}
        extent=${extent%)}
        start=$(lvm pvs --config "$config" --noheadings --units b --nosuffix -o pe_start "$device" 2>/dev/null | tr -d ' ')
        extsize=$(lvm vgs --config "$config" --noheadings --units b --nosuffix -o vg_extent_size "$vg" 2>/dev/null | tr -d ' ')
        dd if="$tmp" of="$device" bs=1M iflag=skip_bytes,count_bytes oflag=seek_bytes skip="$at" count="$n" seek="$((start + extent * extsize))" conv=notrunc,sparse status=none
      done
    rm -f "$tmp"
  else
    run lvcreate -an -Zn -Wn -y -L "$lv" -n lvroot "$vg"
    start=$(lvm pvs --config "$config" --noheadings --units b --nosuffix -o pe_start "$p2" 2>/dev/null | tr -d ' ')
    bytes=$(lvm lvs --config "$config" --noheadings --units b --nosuffix -o lv_size "$vg/lvroot" 2>/dev/null | tr -d ' ')
    attach "$disk" "$((p2_start + start))" "$bytes"
    fill "$loop"
  fi
  rm -f "$disk.lvm.log"
  ;;
esac
sync -d "$disk" 2>/dev/null || sync

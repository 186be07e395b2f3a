# For scripts that run in the test machine.
set -eu
PATH=/run/unterbau-program:$PATH
# ext4 DEVICE NAME [mke2fs option]...: a small ext4 with files and a marker, unmounted. Lazy: what is not used stays unwritten.
ext4() {
  local device=$1 name=$2
  shift 2
  mke2fs -q -t ext4 -F -L "${name:0:16}" -E lazy_journal_init=1,lazy_itable_init=1,nodiscard "$@" "$device"
  mkdir -p /mnt/fill
  mount -o noatime,noinit_itable "$device" /mnt/fill
  fill /mnt/fill "$name"
  umount /mnt/fill
}
fill() {
  local i
  mkdir -p "$1/etc/deep" "$1/home"
  for i in $(seq 40); do
    yes "line of $2, file $i" | head -n $((i * 60)) >"$1/home/file-$i"
    echo "$i $2" >"$1/etc/deep/$i"
  done
  echo "this is $2" >"$1/MARKER"
}
# sum DEVICE NAME: records what the kernel reads from a volume, as `NAME SHA256`.
sum() { echo "$2 $(sha256sum <"$1" | cut -d' ' -f1)" >>/share/truth; }
luks() { # luks DEVICE TYPE KEYFILE [option]...
  local device=$1 type=$2 key=$3 cost="--pbkdf-force-iterations 1000"
  shift 3
  [ "$type" = luks1 ] || cost="--pbkdf argon2id --pbkdf-memory 4096 --pbkdf-parallel 1 --pbkdf-force-iterations 4"
  # shellcheck disable=SC2086
  cryptsetup luksFormat -q --type "$type" $cost "$@" "$device" "$key"
}
# own_lvm: no volume group activates by itself from here on.
own_lvm() {
  rm -f /usr/lib/udev/rules.d/69-lvm.rules
  udevadm control --reload
}
# The machine ends here as if the plug was pulled. What was synced is on the disks.
cut_power() {
  touch /share/cut
  while :; do :; done
}
# until_status NAME PATTERN: waits, by the device's own events, until its status matches.
until_status() {
  local seen
  while :; do
    seen=$(dmsetup info -c --noheadings -o events "$1")
    ! dmsetup status "$1" | grep -Eq "$2" || return 0
    dmsetup wait "$1" "$seen" >/dev/null || :
  done
}

#!/bin/sh
# Makes a guest's disk (MBR, swap, LVM lvg1/lvroot with ext4, in a qcow2 image, inside a LUKS volume) with the ordinary tools,
# damages its file system, and shows what Unterbau does about it. Everything lies in demo/work; nothing else is touched.
set -eu
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin
work=demo/work
rm -rf "$work"
mkdir -p "$work/files/home/anna" "$work/files/etc" "$work/state"
export UNTERBAU_STATE_DIR="$PWD/$work/state"
as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo --preserve-env=SIZE,SWAP,LV,DISKID,FILES "$@"; fi; }
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then b=$(printf '\033[1m') c=$(printf '\033[36m') r=$(printf '\033[0m'); else b='' c='' r=''; fi
say() { printf '\n%s# %s%s\n' "$c" "$*" "$r"; }
# show EXPECTED_EXIT COMMAND…: prints the command, runs it, and stops the demo when it ends otherwise than it must.
show() {
  want=$1
  shift
  printf '%s$ %s%s\n' "$b" "$*" "$r"
  got=0
  "$@" || got=$?
  [ "$got" -eq "$want" ] || { echo "demo: exit code $got, expected $want" >&2; exit 1; }
  [ "$got" -eq 0 ] || echo "(exit code $got)"
}
unterbau() { node dist/cli.js "$@"; }

say "A guest's disk, made by sfdisk, mkswap, lvm2 and mke2fs: 16 GiB, almost empty"
i=0
while [ $i -lt 12 ]; do
  echo "Message $i: the invoice is attached." >"$work/files/home/anna/mail-$i.eml"
  i=$((i + 1))
done
echo "os43" >"$work/files/etc/hostname"
SIZE=16G SWAP=2G LV=8G DISKID=0x000392a8 FILES="$work/files" as_root sh test/disks/make-guest.sh mbr-lvm "$work/os43.raw"
show 0 qemu-img convert -f raw -O qcow2 "$work/os43.raw" "$work/os43.qcow2"
rm "$work/os43.raw"

say "The same inside LUKS, as a raw device of the host would hold it (cryptsetup luksFormat)"
printf 'correct horse battery staple' >"$work/key"
chmod 600 "$work/key"
truncate -s "$(($(stat -c %s "$work/os43.qcow2") + 8 * 1024 * 1024))" "$work/os43.luks"
show 0 cryptsetup luksFormat -q --type luks1 --hash sha512 --key-size 512 --cipher aes-xts-plain64 --iter-time 200 "$work/os43.luks" "$work/key"
qemu-img convert -f raw -n --object "secret,id=k,file=$work/key" "$work/os43.qcow2" --target-image-opts "driver=luks,key-secret=k,file.filename=$work/os43.luks"
rm "$work/os43.qcow2"

# A qcow2 image inside LUKS is taken for one only when it is said to be one: a guest could write its header anywhere.
disk="$work/os43.luks --format qcow2 --key-file $work/key"

say "Without the key: what can be known"
show 0 unterbau inspect "$work/os43.luks" --no-prompt

say "With the key: every layer, nothing opened on the host"
# shellcheck disable=SC2086
show 0 unterbau inspect $disk

say "A forced check of every file system in it; nothing is written"
# shellcheck disable=SC2086
show 0 unterbau check $disk

say "Damage: two inodes are wiped, with debugfs on the volume shown as a file"
# shellcheck disable=SC2086
show 0 unterbau exec $disk --volume lvg1/lvroot --write -- debugfs -w -R 'clri /etc' {}
# shellcheck disable=SC2086
show 0 unterbau exec $disk --volume lvg1/lvroot --write -- debugfs -w -R 'clri /home/anna' {}
before=$(sha256sum <"$work/os43.luks")

say "The check shows what a repair would change; the disk stays as it is"
# shellcheck disable=SC2086
show 4 unterbau check $disk
[ "$(sha256sum <"$work/os43.luks")" = "$before" ] && echo "sha256 of os43.luks: unchanged"

say "The repair commits exactly that, through an undo log"
# shellcheck disable=SC2086
show 1 unterbau check $disk --repair
# shellcheck disable=SC2086
show 0 unterbau check $disk
show 0 unterbau runs

say "And back: byte for byte as it was before the repair"
show 0 unterbau undo "$(unterbau runs --json | node -e 'const r = JSON.parse(require("fs").readFileSync(0)).runs; console.log(r.filter((x) => x.verb === "check").pop().run)')"
[ "$(sha256sum <"$work/os43.luks")" = "$before" ] || { echo "demo: the disk is not as it was" >&2; exit 1; }
echo "sha256 of os43.luks: as before the repair"
printf '\nThat was it. The disk is %s/os43.luks, its passphrase is in %s/key: go on and try.\n' "$work" "$work"

#!/bin/bash
# Boots the host that build.sh has built, in a virtual machine without a network, and records it: as it should be, and with one real thing changed at a time.
# Usage: capture.sh FOLDER OUT    FOLDER: where it is built and kept (4 GB); OUT: a new folder for what was recorded, as it came.
# Needs root, mmdebstrap, qemu-system-x86_64, and `npm run build`; under software emulation a minute for each case. CASES="swap_plain discards": these only.
# Whoever needs the processors meanwhile writes "stop" and "cont" to FOLDER/monitor: the machine's clock stands still between them.
set -euo pipefail
export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1" "$2"
home=$(cd "$1" && pwd) out=$(cd "$2" && pwd)
"$here/build.sh" "$home"
"$here/mail-guest.sh" "$home"
started=$(date +%s)
say() { printf '[capture %4ds] %s\n' $(($(date +%s) - started)) "$*" >&2; }

# boot SHARE LIMIT ROOT QEMU-OPTION…: until it powers off. Disks named in DISKS; what is asked on the console is answered.
boot() {
  local share=$1 limit=$2 append=$3 snapshot=$4
  shift 4
  rm -f "$share/status" "$share/console.log" "$share/in"
  mkfifo "$share/in"
  local drive="if=none,format=raw,cache=unsafe,discard=unmap,snapshot=$snapshot"
  timeout "$limit" qemu-system-x86_64 -accel tcg,thread=multi,tb-size=1024 -machine q35,vmport=off -cpu max -smp 2 -m 3072 -nodefaults -no-user-config \
    -display none -no-reboot -kernel "$home/kernel" -initrd "$home/initrd.img" \
    -append "$append ro console=ttyS0 quiet net.ifnames=1 mitigations=off cryptomgr.notests tsc=reliable no_timer_check" \
    -drive "$drive,id=sys,file=$home/sys.img" -device nvme,drive=sys,serial=S4EWNX0R100001 \
    -drive "$drive,id=wd1,file=$home/wd1.img" -device ide-hd,bus=ide.0,drive=wd1,serial=WD-WCC4E1WD1,model=WDC-WD20EFRX,rotation_rate=5400 \
    -drive "$drive,id=wd2,file=$home/wd2.img" -device ide-hd,bus=ide.1,drive=wd2,serial=WD-WCC4E1WD2,model=WDC-WD20EFRX,rotation_rate=5400 \
    -drive "$drive,id=spare,file=$home/spare.img" -device ide-hd,bus=ide.2,drive=spare,serial=WD-WCC4E1SPARE,model=WDC-WD20EFRX,rotation_rate=5400 \
    -device qemu-xhci -drive "$drive,id=usb,file=$home/usb.img" -device usb-storage,drive=usb,serial=4C530001 \
    -netdev hubport,id=n0,hubid=0 -device virtio-net-pci,netdev=n0,addr=0x3 -device virtio-rng-pci \
    -fsdev "local,id=share,path=$share,security_model=none,multidevs=remap" -device virtio-9p-pci,fsdev=share,mount_tag=share \
    -monitor "unix:$home/monitor,server=on,wait=off" -serial stdio "$@" <"$share/in" >"$share/console.log" &
  local machine=$!
  exec 7>"$share/in"
  (
    until grep -q 'unlock disk' "$share/console.log"; do
      kill -0 "$machine" 2>/dev/null || exit
      sleep 1
    done
    sleep 1
    cat "$share/passphrase" >&7
    echo >&7
  ) &
  local answering=$!
  wait "$machine" || true
  exec 7>&-
  wait "$answering" || true
  [ "$(cat "$share/status" 2>/dev/null)" = 0 ] || {
    say "it failed; the end of its console:"
    for log in console install out; do tail -n 20 "$share/$log.log" 2>/dev/null; done >&2
    return 1
  }
}

share=$home/share
rm -rf "$share"
mkdir -p "$share"
printf 'correct horse battery' >"$share/passphrase"
cp "$here"/*.sh "$share/"
grep -hoE '^(sys_crypt|data_crypt|tresor) UUID=\S+' "$here/files/etc+crypttab" | sed -E 's/^sys_crypt UUID/SYS/; s/^data_crypt UUID/DATA/; s/^tresor UUID/TRESOR/' >"$share/values.sh"
disks=$(cat "$home/inputs" "$here/install.sh" "$share/values.sh" | sha256sum)
[ "$(cat "$home/disks" 2>/dev/null)" = "$disks" ] || {
  say "installing"
  rm -f "$home"/{sys,wd1,wd2,usb,spare}.img "$home/disks"
  truncate -s 2600M "$home/sys.img"
  truncate -s 160M "$home/wd1.img" "$home/wd2.img"
  truncate -s 128M "$home/usb.img"
  truncate -s 64M "$home/spare.img"
  boot "$share" 900 "root=/dev/vda init=/usr/local/sbin/capture-install" off -drive "if=none,id=base,format=raw,snapshot=on,file=$home/base.img" -device virtio-blk-pci,drive=base
  echo "$disks" >"$home/disks"
}
say "capturing"
tar -C "$here/../../.." -cf "$share/unterbau.tar" --exclude='*.map' --exclude=dist/lib dist -h node_modules/{koffi,@koromix,@node-rs,hash-wasm,zstddec}
cp "$here/scope.yaml" "$home/mail.img" "$share/"
mkdir "$share/recorded"
[ -z "${CASES:-}" ] || echo "CASES='$CASES'" >>"$share/values.sh"
failed=0
boot "$share" "${LIMIT:-10800}" "root=/dev/mapper/vg0-root" on || failed=1
# What was recorded before something failed is good.
rm -rf "${out:?}"/*
for one in "$share"/recorded/*.tar; do tar -C "$out" -xf "$one"; done
say "$(ls "$out" | wc -l) recordings in $out"
exit $failed

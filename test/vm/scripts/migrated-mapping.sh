# For migrated-mapping.test.ts: a guest is moved into a logical volume, and QEMU runs it from the mapping that the host opens.
disk=/share/mail.raw
printf 'the passphrase of the mail server' >/run/key
printf 'another one' >/run/wrong
quiet vgcreate vg0 /dev/vm/pv
cat >/run/mail.xml <<Y
<domain type='qemu'><name>mail</name><uuid>00000001-0000-4000-8000-000000000000</uuid><memory unit='MiB'>32</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='pc'>hvm</type><boot dev='hd'/></os><features><acpi/></features>
<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='$disk'/><target dev='vda' bus='virtio'/></disk>
<controller type='usb' model='none'/><memballoon model='none'/></devices></domain>
Y
quiet v define /run/mail.xml
before=$(sha256sum $disk)
ub() { # ub NAME EXIT-CODE VERB ARGUMENT…
  local name=$1 want=$2 got=0
  shift 2
  unterbau "$@" --connect $uri >"/share/$name.out" 2>"/share/$name.err" </dev/null || got=$?
  [ $got = "$want" ] || { cat "/share/$name.out" "/share/$name.err"; fail "$name ended with $got"; }
  echo "$name: $got"
}
# An emulated processor takes long for what makes guessing slow.
echo '{"schema":"unterbau/luks-policy/1","least":{"memoryKiB":4096}}' >/run/policy.json
new="--target-key-file /run/key --policy /run/policy.json --pbkdf-force-iterations 4 --pbkdf-memory 4096 --pbkdf-parallel 1"
# Another volume has the name: the guest would be started on that.
echo 'mail-luks UUID=00000000-0000-4000-8000-000000000000 none luks,noauto' >/etc/crypttab
# shellcheck disable=SC2086
ub declared 2 migrate vm:mail --to vg0 $new --no-prompt
rm /etc/crypttab
# shellcheck disable=SC2086
ub migrate 0 migrate vm:mail --to vg0 $new --no-prompt --json
[ ! -e /dev/mapper/mail-luks ] || fail "it is open"
# As after the host's boot: not even the volume is active.
quiet lvchange -an vg0/mail-luks
ub old 1 unlock vm:mail --start --no-prompt
ub plan 0 unlock vm:mail-luks --start --dry-run --json
ub wrong 1 unlock vm:mail-luks --start --key-file /run/wrong --no-prompt
[ "$(v domstate mail-luks)" = "shut off" ] || fail "it runs"
ub unlock 0 unlock vm:mail-luks --start --key-file /run/key --no-prompt --json
[ "$(v domstate mail-luks)" = running ] || fail "it does not run"
# What QEMU has open is the device of the mapping.
mapping=$(readlink -f /dev/mapper/mail-luks)
ls -l "/proc/$(pgrep -f -- '-name guest=mail-luks')/fd" | grep -o "/dev/dm-.*" | sort -u >/share/fds
echo "$mapping" >/share/mapping
counter() { dd if=/dev/mapper/mail-luks iflag=direct bs=512 skip=8 count=1 2>/dev/null | od -An -tu4 -N4 | tr -d ' '; }
first=$(dd if=$disk bs=512 skip=8 count=1 2>/dev/null | od -An -tu4 -N4 | tr -d ' ')
until [ "$(counter)" != "$first" ]; do
  [ "$(v domstate mail-luks)" = running ] || fail "it ended"
  sleep 1
done
echo "counts: $(counter), before: $first"
ub again 0 unlock vm:mail-luks --start --no-prompt
# While it runs the old one is not started, nor is any of it taken away or destroyed.
ub beside 1 unlock vm:mail --start --no-prompt
run=$(jq -r .run /share/migrate.out)
ub rollback 1 migrate --rollback "$run" --force --no-prompt
ub list 0 list
v dumpxml mail-luks >/share/clone.xml
# Its power button first: it listens.
ub lock 0 lock vm:mail-luks --timeout 300 --json
[ "$(v domstate mail-luks)" = "shut off" ] || fail "it still runs"
[ ! -e /dev/mapper/mail-luks ] || fail "it is still open"
dmsetup ls | grep -q mail-luks$ && dmsetup table | grep crypt && fail "a mapping is there"
ub closed 0 lock vm:mail-luks
[ "$(sha256sum $disk)" = "$before" ] || fail "the old disk has changed"
[ "$(v domstate mail)" = "shut off" ] || fail "the old guest runs"
# What the guest counted is in the container, and nowhere in the clear.
cryptsetup open --key-file /run/key /dev/vg0/mail-luks seen
dd if=/dev/mapper/seen bs=512 skip=8 count=1 2>/dev/null | od -An -tu4 -N4 >/share/counted
cryptsetup close seen
ub back 0 migrate --rollback "$run" --force --no-prompt
[ "$(v list --all --name | grep -c .)" = 1 ] || fail "the copy is still defined"
[ -z "$(lvs --noheadings vg0)" ] || fail "its volume is still there"
echo "all is as before"

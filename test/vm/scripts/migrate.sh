# For migrate.test.ts: a guest with two disks, moved into logical volumes that the migration makes.
printf 'the passphrase of the mail server' >/run/key
quiet vgcreate vg0 /dev/vm/pv
quiet lvcreate -y -W n -l 1 -n mine --addtag unterbau vg0
truncate -s 15m /run/root.raw
truncate -s 16m /run/data.raw
printf 'label: gpt\nstart=2048, size=26624\n' | quiet sfdisk /run/root.raw
loop=$(losetup --find --show --offset 1048576 --sizelimit 13631488 /run/root.raw)
ext4 "$loop" root
losetup -d "$loop"
ext4 /run/data.raw data
disk() { echo "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='$1'/><target dev='$2' bus='virtio'/></disk>"; }
cat >/run/mail.xml <<X
<domain type='test'><name>mail</name><uuid>00000001-0000-4000-8000-000000000000</uuid><memory>65536</memory><os><type>hvm</type></os>
<devices>$(disk /run/root.raw vda)$(disk /run/data.raw vdb)</devices></domain>
X
v define /run/mail.xml
v dumpxml --inactive mail >/run/before.xml
before=$(sha256sum /run/root.raw /run/data.raw)
state() {
  udevadm settle
  dmsetup ls | sort
  lvs --noheadings -o lv_name,lv_size,lv_tags vg0
  losetup -l -n
}
state >/run/before
same() { state >/run/after; diff /run/before /run/after || fail "$1 left something"; }
mig() { # mig NAME EXIT-CODE ARGUMENT…
  local name=$1 want=$2 got=0
  shift 2
  unterbau migrate "$@" --connect $uri --no-prompt >"/share/$name.out" 2>"/share/$name.err" </dev/null || got=$?
  [ $got = "$want" ] || { cat "/share/$name.out" "/share/$name.err"; fail "$name ended with $got"; }
  echo "$name: $got"
}
keys="--target-key-file /run/key --policy /run/policy.json"
# An emulated processor takes long for what makes guessing slow.
echo '{"schema":"unterbau/luks-policy/1","least":{"memoryKiB":4096}}' >/run/policy.json
new="$keys --pbkdf-force-iterations 4 --pbkdf-memory 4096 --pbkdf-parallel 1"

# Killed as soon as the second volume is there.
# shellcheck disable=SC2086
unterbau migrate vm:mail --to vg0 $new --connect $uri --no-prompt >/share/killed.out 2>&1 </dev/null &
pid=$!
until [ -b /dev/vg0/mail-luks-vdb ]; do
  kill -0 $pid || { cat /share/killed.out; fail "it ended by itself"; }
  sleep 0.2
done
kill -9 $pid
wait $pid || :
run=$(unterbau migrate --list --json | jq -r '.migrations[0].run')
while pgrep -x lvcreate >/dev/null || pgrep -x cryptsetup >/dev/null; do sleep 0.1; done
# A host that was started again may not have activated it.
for name in mail-luks mail-luks-vdb; do [ ! -b /dev/vg0/$name ] || quiet lvchange -an vg0/$name; done
# shellcheck disable=SC2086
mig inactive 1 --resume "$run" $keys
for name in $(lvs --noheadings -o lv_name --select "lv_tags={\"unterbau.$run\"}" vg0); do quiet lvchange -ay "vg0/$name"; done
# shellcheck disable=SC2086
mig resumed 0 --resume "$run" $keys --json

lvs --noheadings --units b --nosuffix -o lv_name,lv_size,lv_tags,segtype vg0 >/share/lvs
check() { # check VOLUME SOURCE: what the kernel shows of it
  cryptsetup luksDump "/dev/vg0/$1" >"/share/$1.dump"
  cryptsetup open --key-file /run/key "/dev/vg0/$1" "$1"
  head -c "$(stat -c %s "$2")" "/dev/mapper/$1" | cmp - "$2" || fail "$1 holds other bytes"
}
check mail-luks /run/root.raw
# It is longer than the disk was: what the kernel and sfdisk say of its GPT, as in a guest that has it.
sfdisk --verify /dev/mapper/mail-luks >/share/verify 2>&1 || :
loop=$(losetup --partscan --find --show /dev/mapper/mail-luks)
mkdir -p /run/m
mount -o ro "${loop}p1" /run/m
cat /run/m/MARKER
umount /run/m
losetup -d "$loop"
check mail-luks-vdb /run/data.raw
mkdir -p /run/m
mount -o ro /dev/mapper/mail-luks-vdb /run/m
cat /run/m/MARKER
umount /run/m
v dumpxml --inactive mail-luks >/share/clone.xml

# Somebody has it open: nothing is removed, and the next time all is.
mig busy 1 --rollback "$run" --force
[ -b /dev/vg0/mail-luks-vdb ] || fail "it was removed although it is open"
cryptsetup close mail-luks
cryptsetup close mail-luks-vdb
mig back 0 --rollback "$run" --force
same "a rollback"
v dumpxml --inactive mail | grep -v '^ *<metadata/>$' >/run/after.xml
diff /run/before.xml /run/after.xml || fail "the guest"
[ "$(sha256sum /run/root.raw /run/data.raw)" = "$before" ] || fail "the guest's disks"
# What was in the volumes is gone with its keys.
dd if=/dev/vm/pv bs=1M 2>/dev/null | grep -aq LUKS && fail "a LUKS header is still there"
[ "$(virsh -q -c $uri list --all --name | grep -c mail-luks)" = 0 ] || fail "the copy is still defined"
echo "all is as before"

# A guest on a raw logical volume of the host, that writes all the time, as far as LVM and Unterbau can see: libvirt's test driver says that it
# runs, and a loop device stands for QEMU, so that LVM cannot freeze what is mounted on it.
v=/dev/vm
own_lvm
vgcreate -q host $v/pv $v/other >/dev/null
lvcreate -q -y -Wn -L 64M -n kvmos host $v/pv >/dev/null
loop=$(losetup --find --show /dev/host/kvmos)
ext4 "$loop" guest
mkdir -p /mnt/guest
mount -o noatime "$loop" /mnt/guest
cat >/run/node.xml <<'X'
<node><domain type='test' xmlns:test='http://libvirt.org/schemas/domain/test/1.0'><name>web</name><uuid>00000000-0000-4000-8000-000000000000</uuid><memory>65536</memory>
<os><type>hvm</type></os><devices><disk type='block' device='disk'><driver name='qemu' type='raw'/><source dev='/dev/host/kvmos'/><target dev='vda' bus='virtio'/></disk></devices>
<test:runstate>1</test:runstate></domain></node>
X
check() { unterbau check vm:web --live --connect test:///run/node.xml "$@" </dev/null; }
fail() { echo "FAILED: $*"; lvs -a; cat /run/out 2>/dev/null; exit 1; }
snapshots() { lvs --noheadings -o lv_name host | grep -o 'unterbau-live-[A-Za-z0-9]*' || :; }
none() { [ -z "$(snapshots)" ] && [ -z "$(ls /var/lib/unterbau/live)" ] || fail "$1 left something"; }
# expect NAME EXIT-CODE ARGUMENT…: the document goes to /share/NAME.json
expect() {
  local name=$1 want=$2 got=0
  shift 2
  check --json "$@" >"/share/$name.json" 2>/run/out || got=$?
  [ $got = "$want" ] || fail "$name ended with $got"
  none "$name"
  cat /run/out
  echo "$name: $got"
}
# begun ARGUMENT…: in the background, until its snapshot is there; $checking
begun() {
  # No function: its process would be another shell.
  unterbau check vm:web --live --connect test:///run/node.xml "$@" </dev/null >/run/out 2>&1 &
  checking=$!
  until [ -n "$(snapshots)" ]; do
    kill -0 $checking || fail "it ended before there was a snapshot"
    sleep 0.1
  done
}

while :; do
  n=$((${n:-0} + 1))
  head -c $((n % 9 * 3000)) /dev/urandom >"/mnt/guest/home/w$((n % 30))"
  mv "/mnt/guest/home/w$((n % 30))" "/mnt/guest/etc/w$((n % 11))"
  [ $((n % 20)) != 0 ] || sync -f /mnt/guest
done &
writer=$!
# Backups are none of the test driver's: it chooses by itself.
expect chosen 0
expect named 0 --via lvm-snapshot
check --via backup >/run/out 2>&1 && fail "a backup of the test driver"
grep -q 'via lvm-snapshot' /run/out || fail "no hint"
none "a refused backup"

# Killed: its guardian takes the snapshot away. Where it lies, the volume lies.
begun --via lvm-snapshot
lvs --noheadings -o devices "host/$(snapshots)" | grep -q "$(readlink -f $v/pv)(" || fail "the snapshot lies elsewhere"
kill -9 $checking
until [ -z "$(snapshots)" ]; do sleep 0.2; done
until [ -z "$(ls /var/lib/unterbau/live)" ]; do sleep 0.2; done
echo "killed: taken away"
# Its guardian, too: the next command does it.
begun --via lvm-snapshot
kill -9 $(pgrep -f unterbau-guardian) $checking
[ -n "$(snapshots)" ] || fail "nothing was left"
unterbau recover >/run/out 2>&1
grep -q 'view of the guest web that was cut off is ended now' /run/out || fail "recover said nothing of it"
none "recover"
echo "both killed: recovered"

# Full: the guest goes on, what was seen counts for nothing.
begun --via lvm-snapshot --snapshot-size 4M --json
kill -STOP $checking
head -c 20M /dev/urandom >/mnt/guest/much
sync -f /mnt/guest
lvs --noheadings -o lv_attr "host/$(snapshots)" | grep -q '^ *....I' || fail "the snapshot is not full"
kill -CONT $checking
got=0
wait $checking || got=$?
sed -n '/^{/,$p' /run/out >/share/full.json
[ $got = 8 ] || fail "a full snapshot ended with $got"
none "a full snapshot"
rm /mnt/guest/much

kill $writer
wait $writer || :
umount /mnt/guest
debugfs -w -R 'clri /etc/deep' "$loop" >/dev/null 2>&1
expect damaged 4
lvcreate -q -y -Wn -l 100%FREE -n rest host $v/pv >/dev/null
check --via lvm-snapshot >/run/out 2>&1 && fail "a snapshot without room"
grep -q '0 MiB free for a snapshot of kvmos' /run/out || fail "no word of the room"
none "a snapshot without room"

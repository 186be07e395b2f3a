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
snapshots() { lvs --noheadings -o lv_name host | grep -oE 'unterbau-live-[A-Za-z0-9]+(-[0-9]+)?' || :; }
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

# Two disks, on which the same number is written one after the other, by a guest whose agent freezes its file systems: a stand-in for both, before
# the virsh that libvirt brings along.
cat >/run/db.xml <<'X'
<node><domain type='test' xmlns:test='http://libvirt.org/schemas/domain/test/1.0'><name>db</name><uuid>00000001-0000-4000-8000-000000000000</uuid><memory>65536</memory>
<os><type>hvm</type></os><devices><disk type='block' device='disk'><driver name='qemu' type='raw'/><source dev='/dev/host/d0'/><target dev='vda' bus='virtio'/></disk>
<disk type='block' device='disk'><driver name='qemu' type='raw'/><source dev='/dev/host/d1'/><target dev='vdb' bus='virtio'/></disk></devices>
<test:runstate>1</test:runstate></domain></node>
X
mkdir -p /run/shim /mnt/d0 /mnt/d1 /mnt/s
cat >/run/shim/virsh <<'X'
#!/bin/bash
case " $* " in
  *" domfsfreeze "*) echo freeze >>/run/agent; for d in d0 d1; do fsfreeze -f /mnt/$d || exit 1; done ;;
  *" domfsthaw "*) echo thaw >>/run/agent; for d in d1 d0; do fsfreeze -u /mnt/$d; done ;;
  *) exec /usr/bin/virsh "$@" ;;
esac
X
# lvcreate, by which the caller can be killed when it makes the second snapshot; and the guardian with it.
cat >/run/shim/lvcreate <<'X'
#!/bin/bash
case "$*" in
  *host/d1*)
    case $(cat /run/how 2>/dev/null) in
      before) kill -9 $PPID; exit 1 ;;
      during) kill -9 $PPID; sleep 3 ;;
      both) kill -9 $(pgrep -f unterbau-guardian) $PPID ;;
    esac ;;
esac
exec /usr/sbin/lvcreate "$@"
X
chmod 755 /run/shim/virsh /run/shim/lvcreate
for d in d0 d1; do
  lvcreate -q -y -Wn -L 16M -n $d host $v/pv >/dev/null
  ext4 "$(losetup --find --show /dev/host/$d)" $d
  mount -o noatime "$(losetup -n -O NAME -j "$(readlink -f /dev/host/$d)")" /mnt/$d
done
(
  n=0
  while [ ! -e /run/enough ]; do
    n=$((n + 1))
    # In place and on the medium, one disk after the other.
    printf '%08d' $n | dd of=/mnt/d0/n conv=notrunc oflag=sync status=none
    printf '%08d' $n | dd of=/mnt/d1/n conv=notrunc oflag=sync status=none
  done
) &
numbers=$!
db() { PATH=/run/shim:$PATH unterbau check vm:db --live --via lvm-snapshot --connect test:///run/db.xml "$@" </dev/null; }
thawed() { for d in d0 d1; do timeout 10 touch /mnt/$d/alive || fail "/mnt/$d is still frozen after $1"; done; }
until_none() { for _ in $(seq 150); do [ -n "$(snapshots)$(ls /var/lib/unterbau/live)" ] || return 0; sleep 0.2; done; fail "$1 left something"; }
db >/run/out 2>&1 && fail "two disks without --quiesce"
grep -q 'it has 2 disks, whose snapshots would show different instants' /run/out || fail "no word of the instants"
none "two disks without --quiesce"
for round in 1 2 3; do
  rm -f /run/agent
  # No function, as above.
  PATH=/run/shim:$PATH unterbau check vm:db --live --via lvm-snapshot --connect test:///run/db.xml --quiesce --json </dev/null >/share/quiesced.json 2>/run/out &
  checking=$!
  until [ "$(snapshots | wc -w)" = 2 ] && grep -q thaw /run/agent 2>/dev/null; do kill -0 $checking || fail "round $round ended early"; sleep 0.05; done
  kill -STOP $checking
  [ "$(tr '\n' ' ' </run/agent)" = "freeze thaw " ] || fail "frozen and thawed otherwise"
  i=0
  for s in $(snapshots | sort); do
    mount -o ro,noload "/dev/host/$s" /mnt/s
    eval "n$i=$(sed 's/^0*//' /mnt/s/n)"
    umount /mnt/s
    i=$((i + 1))
  done
  kill -CONT $checking
  wait $checking || fail "a quiesced check of two disks"
  [ $n0 = $n1 ] || [ $n0 = $((n1 + 1)) ] || fail "the snapshots show different instants: $n0 and $n1"
  none "two disks"
  thawed "a check"
done
echo "two disks: one instant"
for how in before during both; do
  echo $how >/run/how
  rm -f /run/agent
  db --quiesce >/run/out 2>&1 && fail "it was not killed"
  if [ $how = both ]; then
    [ -n "$(snapshots)" ] || fail "nothing was left"
    PATH=/run/shim:$PATH unterbau recover >/run/out 2>&1
  fi
  until_none "killed $how"
  grep -q thaw /run/agent || fail "nobody thawed after killed $how"
  thawed "killed $how"
  echo "two disks, killed $how: taken away"
done
touch /run/enough
wait $numbers
for d in d0 d1; do umount /mnt/$d; done

kill $writer
wait $writer || :
umount /mnt/guest
debugfs -w -R 'clri /etc/deep' "$loop" >/dev/null 2>&1
expect damaged 4
lvcreate -q -y -Wn -l 100%FREE -n rest host $v/pv >/dev/null
check --via lvm-snapshot >/run/out 2>&1 && fail "a snapshot without room"
grep -q '0 MiB free for a snapshot of kvmos' /run/out || fail "no word of the room"
none "a snapshot without room"

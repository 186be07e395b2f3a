# For retire.test.ts: old disks on logical volumes of every kind, destroyed or refused. What is left of them is looked for on the physical volume.
printf 'the passphrase of the mail server' >/run/key
fail() { echo "FAILED: $*"; lvs -a; cat /run/out 2>/dev/null; exit 1; }
own_lvm
modprobe -a dm-thin-pool dm-snapshot dm-cache dm-cache-smq
pv=/dev/vm/pv
quiet vgcreate vg0 $pv
quiet lvcreate -y -Wn -Zn -L 80M --poolmetadatasize 4M -T vg0/pool
lv() { quiet lvcreate -y -Wn "$@"; }
lv -V 64M -T -n thin vg0/pool
lv -V 32M -T -n base vg0/pool
lv -L 16M -n linear vg0
lv -L 16M -n cached vg0
lv -L 16M -n files vg0
# Of each volume a mark that is on the medium as it is: no journal, no compression.
guest() { # guest NAME DEVICE
  ext4 "$2" "guest-of-$1" -O ^has_journal
  sync
}
disk() { echo "<disk type='block' device='disk'><driver name='qemu' type='raw' discard='unmap'/><source dev='$1'/><target dev='vda' bus='virtio'/></disk>"; }
n=0
# migrated NAME DISK BYTES: the guest on it is moved away
migrated() {
  n=$((n + 1))
  cat >/run/guest.xml <<Y
<domain type='test'><name>$1</name><uuid>0000000$n-0000-4000-8000-000000000000</uuid><memory>65536</memory><os><type>hvm</type></os><devices>$2</devices></domain>
Y
  v define /run/guest.xml
  # Where the disk goes has a header of 16 MiB.
  truncate -s $(($3 + 16777216)) "/run/$1.luks"
  unterbau migrate "vm:$1" --to-device "$(losetup --find --show "/run/$1.luks")" --target-key-file /run/key --policy /run/policy.json \
    --pbkdf-force-iterations 4 --pbkdf-memory 4096 --pbkdf-parallel 1 --connect $uri --no-prompt >/run/out 2>&1 </dev/null || fail "migrating $1"
}
# An emulated processor takes long for what makes guessing slow.
echo '{"schema":"unterbau/luks-policy/1","least":{"memoryKiB":4096}}' >/run/policy.json
retire() { # retire NAME EXIT-CODE DISK-NAME
  local got=0
  unterbau retire "vm:$1" --i-know --connect $uri --yes-destroy "$3" --json >/run/record 2>/run/out </dev/null || got=$?
  sed "s/^/$1: /" /run/out
  [ $got = "$2" ] || { cat /run/record; fail "retire of $1 ended with $got"; }
}
# count NAME: how often its mark is on the physical volume, by whatever way
count() {
  sync
  echo 3 >/proc/sys/vm/drop_caches
  dd if=$pv bs=1M status=none | grep -aoF "this is guest-of-$1" | wc -l
}
used() { lvs --noheadings --nosuffix --units b -o lv_size,data_percent vg0/pool | awk '{ printf "%d\n", $1 * $2 / 100 / 65536 + 0.5 }'; }
held() { dmsetup status vg0-pool-tpool | grep -q ' - rw ' || fail "the pool's metadata are still held"; }

linear() {
  guest linear /dev/vg0/linear
  migrated linear "$(disk /dev/vg0/linear)" $(blockdev --getsize64 /dev/vg0/linear)
  [ "$(count linear)" = 1 ] || fail "no mark of linear"
  quiet lvcreate -y -s -L 8M -n before vg0/linear
  retire linear 1 /dev/vg0/linear
  # A guest on the snapshot itself: its disk is as much the origin's.
  migrated snapshot "$(disk /dev/vg0/before)" $(blockdev --getsize64 /dev/vg0/before)
  retire snapshot 1 /dev/vg0/before
  quiet lvremove -y vg0/before
  retire linear 0 /dev/vg0/linear
  cp /run/record /share/linear.json
  [ "$(count linear)" = 0 ] || fail "the mark of linear is still there"
  echo "linear is gone"
}

thin() {
  guest thin /dev/vg0/thin
  migrated thin "$(disk /dev/vg0/thin)" $(blockdev --getsize64 /dev/vg0/thin)
  quiet lvcreate -y -kn -s -n first vg0/thin
  retire thin 1 /dev/vg0/thin
  quiet lvcreate -y -kn -ay -K -s -n second vg0/first
  quiet lvremove -y vg0/first
  # Of `second` LVM does not say that it has anything in common with `thin`.
  [ -z "$(lvs --noheadings -o origin vg0/second | tr -d ' ')" ] || fail "LVM knows an origin"
  retire thin 1 /dev/vg0/thin
  held
  quiet lvremove -y vg0/second
  # Somebody else looks at the pool's metadata.
  dmsetup message vg0-pool-tpool 0 reserve_metadata_snap
  retire thin 1 /dev/vg0/thin
  dmsetup message vg0-pool-tpool 0 release_metadata_snap
  # Those snapshots are removed, and still the kernel would write elsewhere.
  retire thin 1 /dev/vg0/thin
  held
  [ "$(count thin)" = 1 ] || fail "no mark of thin"
  # One of which there never was a snapshot.
  guest base /dev/vg0/base
  migrated base "$(disk /dev/vg0/base)" $(blockdev --getsize64 /dev/vg0/base)
  [ "$(count base)" = 1 ] || fail "no mark of base"
  before=$(used)
  retire base 0 /dev/vg0/base
  cp /run/record /share/thin.json
  held
  [ "$(count base)" = 0 ] || fail "the mark of base is still there"
  [ "$(used)" -le "$before" ] || fail "retire took blocks of the pool: $before, $(used)"
  echo "thin is gone"
}

others() {
  # A guest on a thin snapshot of a volume that others use.
  guest base /dev/vg0/base
  quiet lvcreate -y -kn -ay -K -s -n child vg0/base
  migrated child "$(disk /dev/vg0/child)" $(blockdev --getsize64 /dev/vg0/child)
  retire child 1 /dev/vg0/child
  [ "$(count base)" = 1 ] || fail "no mark of base"

  # A file on a volume that has a snapshot.
  mke2fs -q -t ext4 /dev/vg0/files
  mkdir -p /images
  mount /dev/vg0/files /images
  truncate -s 6M /images/old.raw
  guest file /images/old.raw
  migrated file "$(disk /images/old.raw | sed "s/block/file/; s/source dev/source file/")" $((6 << 20))
  quiet lvcreate -y -s -L 8M -n nightly vg0/files
  retire file 1 old.raw
  quiet lvremove -y vg0/nightly
  retire file 0 old.raw
  [ "$(count file)" = 0 ] || fail "the mark of file is still there"
  umount /images
  echo "file is gone"

  guest cached /dev/vg0/cached
  migrated cached "$(disk /dev/vg0/cached)" $(blockdev --getsize64 /dev/vg0/cached)
  lv -L 8M -n fast vg0
  quiet lvconvert -y --type cache --cachevol vg0/fast vg0/cached
  retire cached 1 /dev/vg0/cached
  quiet lvconvert -y --splitcache vg0/cached
  retire cached 0 /dev/vg0/cached
  echo "cached is gone"
}

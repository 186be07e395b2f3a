# Every variant: looked at by the script and by run-plan, and not changed by that.
for lv in v1 v2 v3; do sha256sum /dev/volssd10/$lv; done >/run/shas
sha256sum $v/d1 $v/d2 >>/run/shas
for way in script run; do
  $way variant-1 0 $one
  $way variant-2 0 /dev/volssd10/v2 --key-file /run/key --inside "$image" --volume lvg1/lvroot
  $way variant-3 0 /dev/volssd10/v3 --key-file /run/key --inside /images/os43.raw
  $way two-disks 0 $v/d1 $v/d2
done
sha256sum --quiet -c /run/shas
# The key comes on standard input, as it does from a terminal.
unterbau run-plan /dev/volssd10/v1 --key-file - --volume vgguest/lvroot </run/key >/dev/null 2>&1
same "run-plan with a key on standard input"

# Damage, made through run-plan's own way in; repaired by the script and by run-plan.
harm() { unterbau exec "$@" --write -- debugfs -w -R 'clri /etc/deep' {} >/dev/null 2>&1; }
harm $one --volume vgguest/lvroot
run variant-1-damaged 4 $one --volume vgguest/lvroot
script variant-1-repair 1 $one --volume vgguest/lvroot --repair
run variant-1-repaired 0 $one --volume vgguest/lvroot
harm $v/d1 $v/d2 --volume two/lvdata
run two-disks-repair 1 $v/d1 $v/d2 --repair
script two-disks-repaired 0 $v/d1 $v/d2
run variant-2-repair 0 /dev/volssd10/v2 --key-file /run/key --inside "$image" --volume lvg1/lvroot --repair

# The host has a group of the guest's name that is active; then even the very same group, from a clone.
truncate -s 40M /run/host.raw
host=$(losetup --find --show /run/host.raw)
quiet vgcreate --devices "$host" two "$host"
# What was written to, and what appears, the host activates by itself: the guest's group of that name, too.
udevadm settle
quiet vgchange --devices $v/d1,$v/d2 -an two
quiet lvcreate --devices "$host" -y -L 8M -n lvdata two
state >/run/before
for way in script run; do
  $way same-name 0 $v/d1 $v/d2
  $way same-name-repair 0 $v/d1 $v/d2 --repair
done
vgs --noheadings -o vg_name,vg_uuid --devices $v/d1,$v/d2 | grep -q 'two'
quiet vgremove --devices "$host" -f two
losetup -d "$host"
quiet vgchange --devices $v/d1,$v/d2 -ay two
for d in d1 d2; do dd if=$v/$d of=/run/$d.raw bs=1M status=none conv=sparse; done
state >/run/before
# The copies of its physical volumes have the same UUIDs, and so has the group: LVM would take the host's volume for the guest's.
dmsetup table two-lvdata >/run/table
run same-group 8 /run/d1.raw /run/d2.raw --repair
grep -q 'itself, or a clone of it, is active on this host' /run/out
quiet vgchange --devices $v/d1,$v/d2 -an two
unterbau plan /run/d1.raw /run/d2.raw --rename >/run/plan.sh
quiet vgchange --devices $v/d1,$v/d2 -ay two
got=0
dash /run/plan.sh >/run/out 2>&1 </dev/null || got=$?
[ $got = 8 ]
grep -q 'itself, or a clone of it, is active on this host' /run/out
same "a plan that was made before the group was active"
dmsetup table two-lvdata | diff - /run/table
quiet vgchange --devices $v/d1,$v/d2 -an two
rm -f /run/d1.raw /run/d2.raw
state >/run/before

unterbau run-plan $one --volume vgguest/lvroot --json </dev/null >/share/run-plan.json 2>/dev/null
same "run-plan with a document"

# Somebody uses what was opened: it is left, named, and taken down later.
unterbau plan $one --volume vgguest/lvroot >/run/plan.sh
mkdir -p /run/shim
printf '#!/bin/sh\nsleep 1000 </dev/mapper/vgguest-lvroot >/dev/null 2>&1 &\necho $! >/run/sleeper\nexec /usr/sbin/fsck "$@"\n' >/run/shim/fsck
chmod 755 /run/shim/fsck
got=0
PATH=/run/shim:$PATH unterbau run-plan $one --volume vgguest/lvroot >/run/out 2>&1 </dev/null || got=$?
cat /run/out
[ $got = 8 ]
grep -q "sleep (pid $(cat /run/sleeper))" /run/out
got=0
unterbau recover >/run/out || got=$?
[ $got = 1 ]
grep -q "sleep (pid $(cat /run/sleeper))" /run/out
kill "$(cat /run/sleeper)"
unterbau recover
same "recover after somebody's use"
rm -r /run/shim

# The host of engine-make.sh's disks is an ordinary one: what udev sees of LVM is activated.
printf 'a key for tests' >/run/key
udevadm settle
# Of the guest's disks this is no wish of ours.
quiet vgchange --devices $v/d1,$v/d2 -an two
quiet vgchange --devices $v/pv -ay volssd10
# As a host may have it: the guest's partitions appear as devices, and udev sees the physical volumes in them.
modprobe nbd max_part=16
mkdir -p /run/udev/rules.d /run/unterbau
state >/run/before
one="/dev/volssd10/v1 --key-file /run/key"
image="/images/os'43 \$(x).qcow2"

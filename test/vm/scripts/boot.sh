# For boot.test.ts: a host with two encrypted volumes, of which a guest needs both, and `boot enable`. Then systemd boots it.
printf 'one passphrase' >/run/key
v=/dev/vm
quiet() { "$@" >/run/quiet 2>&1 || { cat /run/quiet; return 1; }; }
luks $v/d1 luks2 /run/key
luks $v/d2 luks1 /run/key
cryptsetup open --key-file /run/key $v/d2 images
ext4 /dev/mapper/images images
mkdir -p /srv/images
mount /dev/mapper/images /srv/images
truncate -s 1m /srv/images/root.raw
umount /srv/images
cryptsetup close images
cat >/etc/crypttab <<X
mail-crypt UUID=$(cryptsetup luksUUID $v/d1) none luks,noauto
images UUID=$(cryptsetup luksUUID $v/d2) none luks,noauto
X
echo "/dev/mapper/images /srv/images ext4 noauto" >/etc/fstab
disk() { echo "<disk type='$1' device='disk'><driver name='qemu' type='raw'/><source $2='$3'/><target dev='$4' bus='virtio'/></disk>"; }
cat >/etc/node.xml <<X
<node><domain type='test' xmlns:test='http://libvirt.org/schemas/domain/test/1.0'><name>mail</name><uuid>00000000-0000-4000-8000-000000000000</uuid>
<memory>65536</memory><os><type>hvm</type></os><devices>$(disk block dev /dev/mapper/mail-crypt vda)$(disk file file /srv/images/root.raw vdb)</devices>
<test:runstate>5</test:runstate></domain></node>
X
# The program lies where a host has it, so that the unit finds it after the boot.
mkdir -p /opt/unterbau
cp -a /run/unterbau-program/dist /run/unterbau-program/node_modules /opt/unterbau/
printf '#!/bin/sh\nexec node /opt/unterbau/dist/cli.js "$@"\n' >/usr/bin/unterbau
chmod 755 /usr/bin/unterbau
/usr/bin/unterbau boot enable vm:mail --yes --json --connect test:///etc/node.xml >/share/enable.json || [ $? = 1 ]
cat /etc/crypttab /etc/fstab /etc/systemd/system/unterbau-guest-mail.service

# What a host has that was booted before; nothing here is for a desktop or a network.
echo 0123456789abcdef0123456789abcdef >/etc/machine-id
touch /etc/.updated /var/.updated
rm -rf /usr/lib/udev/rules.d/69-lvm.rules
for unit in systemd-logind.service systemd-networkd.service systemd-resolved.service systemd-timesyncd.service getty.target \
  systemd-random-seed.service systemd-update-utmp.service systemd-binfmt.service dev-hugepages.mount systemd-pstore.service; do
  ln -sf /dev/null /etc/systemd/system/$unit
done
mkdir -p /etc/systemd/system/multi-user.target.wants
cat >/etc/systemd/system/booted.service <<'X'
[Unit]
After=systemd-journald.service
[Service]
Environment=HOME=/root LC_ALL=C.UTF-8
ExecStart=/bin/bash -c '(bash /share/booted.sh; echo $? >/run/status) >>/share/out.log 2>&1; cp /run/status /share/status; sync; echo o >/proc/sysrq-trigger; sleep 60'
X
ln -sf ../booted.service /etc/systemd/system/multi-user.target.wants/booted.service

# For confined.test.ts: a host as Debian makes it. The system's libvirt starts guests as libvirt-qemu, each under an AppArmor profile of its own.
fail() { echo "FAILED: $*"; cat /run/out 2>/dev/null; for f in /var/log/libvirt/libvirtd.log /var/log/libvirt/qemu/*.log; do echo "== $f"; grep -vE ': (info|debug) :' $f | tail -40; done; dmesg | grep -i apparmor | tail -20; exit 1; }
quiet() { "$@" >/run/quiet 2>&1 || { cat /run/quiet; return 1; }; }
tar -C / -x --keep-directory-symlink --skip-old-files --no-same-owner -f /share/host.tar
ldconfig
[ -L /var/run ] || { rm -rf /var/run; ln -s /run /var/run; }
echo 'libvirt-qemu:x:64055:103::/var/lib/libvirt:/usr/sbin/nologin' >>/etc/passwd
echo 'libvirt-qemu:x:64055:' >>/etc/group
mkdir -p /var/lib/libvirt/qemu /var/cache/libvirt/qemu /var/log/libvirt/qemu /run/libvirt /etc/libvirt /etc/apparmor.d/local/abstractions /etc/apparmor.d/libvirt /etc/apparmor.d/disable
touch /etc/apparmor.d/local/abstractions/libvirt-qemu /etc/apparmor.d/local/usr.sbin.libvirtd /etc/apparmor.d/local/usr.lib.libvirt.virt-aa-helper
modprobe -a kvm 2>/dev/null || :
mountpoint -q /sys/kernel/security || mount -t securityfs securityfs /sys/kernel/security
grep -q Y /sys/module/apparmor/parameters/enabled || fail "the kernel has no AppArmor"
quiet apparmor_parser -r /etc/apparmor.d/usr.lib.libvirt.virt-aa-helper /etc/apparmor.d/usr.sbin.libvirtd
printf 'auth_unix_rw = "none"\nauth_unix_ro = "none"\nunix_sock_group = "root"\nlog_outputs="2:file:/var/log/libvirt/libvirtd.log"\n' >/etc/libvirt/libvirtd.conf
printf 'user = "libvirt-qemu"\ngroup = "kvm"\nsecurity_driver = "apparmor"\nnamespaces = []\ncgroup_controllers = []\nstdio_handler = "file"\n' >/etc/libvirt/qemu.conf
quiet libvirtd --daemon --config /etc/libvirt/libvirtd.conf
for _ in $(seq 100); do virsh -q -c qemu:///system uri >/dev/null 2>&1 && break || sleep 0.5; done
v() { virsh -q -c qemu:///system "$@"; }
v capabilities | grep -q '<model>apparmor</model>' || fail "libvirt does not use AppArmor"

# The guest moves into a volume that the host opens, and is started from there.
own_lvm
printf 'the passphrase of the mail server' >/run/key
quiet vgcreate vg0 /dev/vm/pv
v define /share/mail.xml
echo '{"schema":"unterbau/luks-policy/1","least":{"memoryKiB":4096}}' >/run/policy.json
unterbau migrate vm:mail --to vg0 --target-key-file /run/key --policy /run/policy.json --pbkdf-force-iterations 4 --pbkdf-memory 4096 \
  --pbkdf-parallel 1 --no-prompt >/run/out 2>&1 </dev/null || fail "migrate"
cryptsetup open --key-file /run/key /dev/vg0/mail-luks mail-luks
v start mail-luks || fail "libvirt does not start the copy from /dev/mapper/mail-luks"
pid=$(cat /run/libvirt/qemu/mail-luks.pid)
echo "user $(stat -c %u /proc/$pid), profile $(cat /proc/$pid/attr/apparmor/current)"
tr '\0' '\n' </proc/$pid/cmdline | grep -o '"filename":"/dev/mapper/mail-luks"'
# Its boot code counts in a sector of its own, through dm-crypt.
counter() { dd if=/dev/mapper/mail-luks bs=512 skip=8 count=1 iflag=direct status=none | od -An -tu4 -N4 | tr -d ' '; }
first=$(counter)
for _ in $(seq 240); do [ "$(counter)" != "$first" ] && break || sleep 0.5; done
[ "$(counter)" != "$first" ] || fail "the guest does not run"
echo "the guest runs from the mapping"

# A socket elsewhere is denied; so a view needs another place for it.
mkdir -m 777 /dev/shm/elsewhere
echo "<domainbackup mode='pull'><server transport='unix' socket='/dev/shm/elsewhere/s'/><disks><disk name='vda' backup='yes' type='file'><scratch file='/dev/shm/elsewhere/x'/></disk></disks></domainbackup>" >/run/backup.xml
v backup-begin mail-luks /run/backup.xml >/run/out 2>&1 && fail "AppArmor lets QEMU make a socket anywhere"
cat /run/out
unterbau check vm:mail-luks --live --json --no-prompt >/share/live.json 2>/run/out </dev/null || fail "check --live ended with $?"
cat /run/out
v backup-dumpxml mail-luks >/dev/null 2>&1 && fail "the backup goes on"
for place in /dev/shm /run /run/user/0; do [ -z "$(ls -d $place/unterbau-live-* 2>/dev/null)" ] || fail "something is left in $place"; done
[ -z "$(ls -d /var/lib/libvirt/qemu/domain-*/unterbau-live-* 2>/dev/null)" ] || fail "a socket is left"
# Where it is kept from more than that, it is said by what.
mkdir -m 700 /run/closed
unterbau check vm:mail-luks --live --scratch /run/closed --no-prompt >/run/out 2>&1 </dev/null && fail "a folder that QEMU cannot enter"
cat /run/out
v destroy mail-luks
cryptsetup close mail-luks

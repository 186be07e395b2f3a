# For unlock.test.ts: a host with three ways in which a guest's disks lie on encrypted volumes, and a guest that has a disk on each.
printf 'one passphrase' >/run/key
printf 'another passphrase' >/run/other
v=/dev/vm
quiet() { "$@" >/run/quiet 2>&1 || { cat /run/quiet; return 1; }; }
fail() { echo "FAILED: $*"; exit 1; }
# LUKS in a logical volume of a group that is not encrypted; LUKS with a file system; LUKS with a volume group with a file system.
quiet vgcreate plain $v/d1
quiet lvcreate -y -W n -L 48m -n mail plain
luks /dev/plain/mail luks2 /run/key
luks $v/d2 luks1 /run/key
luks $v/d3 luks2 /run/other
cryptsetup open --key-file /run/key /dev/plain/mail mail-crypt
ext4 /dev/mapper/mail-crypt mail
# In the boot block, which a file system leaves alone.
echo "the guest's own bytes" | dd of=/dev/mapper/mail-crypt conv=notrunc status=none
cryptsetup open --key-file /run/key $v/d2 images
ext4 /dev/mapper/images images
cryptsetup open --key-file /run/other $v/d3 pv
quiet vgcreate secret /dev/mapper/pv
quiet lvcreate -y -W n -L 24m -n data secret
quiet lvcreate -y -W n -L 8m -n idle secret
ext4 /dev/secret/data data
uuid2=$(cryptsetup luksUUID $v/d2)
uuid3=$(cryptsetup luksUUID $v/d3)
cat >/etc/crypttab <<X
# made by a test
mail-crypt /dev/plain/mail none luks,noauto,discard
images UUID=$uuid2 none luks,noauto
pv UUID=$uuid3 /etc/pv.key luks,noauto
X
cp /run/other /etc/pv.key
cat >/etc/fstab <<X
/dev/mapper/images /srv/images ext4 noauto
/dev/secret/data /srv/images/data ext4 noauto
X
mkdir -p /srv/images
mount /srv/images
mkdir /srv/images/data
mount /srv/images/data
truncate -s 1m /srv/images/root.raw
truncate -s 1m /srv/images/data/more.raw
umount /srv/images/data /srv/images
quiet vgchange -an secret
for name in pv images mail-crypt; do cryptsetup close $name; done
disk() { echo "<disk type='$1' device='disk'><driver name='qemu' type='raw'/><source $2='$3'/><target dev='$4' bus='virtio'/></disk>"; }
node() { # node FILE STATE-OF-OTHER
  cat >"$1" <<X
<node><domain type='test' xmlns:test='http://libvirt.org/schemas/domain/test/1.0'><name>mail</name><uuid>00000000-0000-4000-8000-000000000000</uuid>
<memory>65536</memory><os><type>hvm</type></os><devices>$(disk block dev /dev/mapper/mail-crypt vda)$(disk file file /srv/images/root.raw vdb)$(disk file file /srv/images/data/more.raw vdc)</devices>
<test:runstate>5</test:runstate></domain>
<domain type='test' xmlns:test='http://libvirt.org/schemas/domain/test/1.0'><name>other</name><uuid>00000001-0000-4000-8000-000000000000</uuid>
<memory>65536</memory><os><type>hvm</type></os><devices>$(disk file file /srv/images/root.raw vda)</devices>
<test:runstate>$2</test:runstate></domain>
<domain type='test' xmlns:test='http://libvirt.org/schemas/domain/test/1.0'><name>solo</name><uuid>00000002-0000-4000-8000-000000000000</uuid>
<memory>65536</memory><os><type>hvm</type></os><devices>$(disk block dev /dev/mapper/mail-crypt vda)</devices>
<test:runstate>5</test:runstate></domain></node>
X
}
node /run/node.xml 5
node /run/node-shared.xml 1
state() {
  udevadm settle
  dmsetup ls | sort
  cut -d' ' -f1-3 /proc/mounts
  losetup -l -n
}
state >/run/before
same() { state >/run/after; diff /run/before /run/after || fail "$1 left something"; }
life() { # life NAME EXIT-CODE ARGUMENT…
  local name=$1 want=$2 got=0
  shift 2
  local connect="--connect test:///run/node.xml"
  [ "$1 $2" != "backup verify" ] || connect=
  # shellcheck disable=SC2086
  unterbau "$@" $connect >"/share/$name.out" 2>"/share/$name.err" </dev/null || got=$?
  [ $got = "$want" ] || { cat "/share/$name.out" "/share/$name.err"; fail "$name ended with $got"; }
  echo "$name: $got"
}

# Backups: the ciphertext while all is closed, the content while it is open.
life backup 0 backup vm:solo --to /run/backups --json
life verify 0 backup verify vm:solo --from /run/backups --key-file /run/key --json
jq -r '.disks[0] | "\(.sha256)  \(.source)"' /share/backup.out >/run/sums
sha256sum --check --quiet /run/sums || fail "the ciphertext is another one"
[ "$(jq -r '.headers[0].uuid' /share/verify.out)" = "$(cryptsetup luksUUID /dev/plain/mail)" ] || fail "the header"
cryptsetup open --test-passphrase --key-file /run/key --header /run/backups/*/vda.luks-header /dev/plain/mail || fail "the header does not unlock"
life open-mail 0 unlock vm:solo --key-file /run/key
life backup-open 1 backup vm:solo --to /run/backups
life backup-plain 1 backup vm:solo --to /run/backups --content
life backup-content 0 backup vm:solo --to /run/backups --content --plaintext --json
life verify-content 0 backup verify vm:solo --from /run/backups --json
jq -r '.disks[0] | "\(.sha256)  \(.source)"' /share/backup-content.out >/run/sums
sha256sum --check --quiet /run/sums || fail "the content is another one"
life close-mail 0 lock vm:solo
same "backups"

life dry 0 unlock vm:mail --dry-run
same "a dry run"
# Its commands do what it would do.
sed 's/cryptsetup open --type luks/& --key-file \/run\/key/; s/--key-file \/run\/key --key-file/--key-file/' /share/dry.out >/run/dry.sh
bash -eu /run/dry.sh >/run/quiet 2>&1 || { cat /run/dry.sh /run/quiet; fail "the commands of the dry run"; }
[ -e /srv/images/data/more.raw ] || fail "the commands of the dry run opened not all"
life dry-lock 0 lock vm:mail --dry-run
bash -eu /share/dry-lock.out >/run/quiet 2>&1 || { cat /share/dry-lock.out /run/quiet; fail "the commands of the dry lock"; }
same "the commands of the dry lock"

life wrong 1 unlock vm:mail --key-file /run/other
grep -q 'no key opens mail-crypt' /share/wrong.err || fail "$(cat /share/wrong.err)"
same "a wrong key"
life unlock 0 unlock vm:mail --key-file /run/key --json
life again 0 unlock vm:mail --start --no-prompt
# What lies below each mapping is like random bytes; the plaintext above it is not.
unterbau audit vm:mail --sample --no-keep --connect test:///run/node.xml --json >/share/sample.json 2>/share/sample.err || [ $? -le 2 ] || fail "$(cat /share/sample.err)"
# TRIM: vda's mapping has allow_discards, vdb's has not.
life trim 1 trim explain vm:mail --json
sed -i "s/type='raw'\/>/type='raw' discard='unmap'\/>/g" /run/node.xml
life trim-unmap 1 trim explain vm:mail --json
[ "$(head -c 21 /dev/mapper/mail-crypt)" = "the guest's own bytes" ] || fail "mail-crypt"
dmsetup table mail-crypt | grep -q allow_discards || fail "discard of crypttab is not set"
! dmsetup table images | grep -q allow_discards || fail "discards that nobody asked for"
[ "$(cat /srv/images/MARKER /srv/images/data/MARKER)" = "$(printf 'this is images\nthis is data')" ] || fail "the mounts"
# Somebody stands in it.
(cd /srv/images/data && exec sleep 1000) &
sleeper=$!
until [ "$(readlink /proc/$sleeper/cwd)" = /srv/images/data ]; do sleep 0.1; done
life busy 1 lock vm:mail --json
kill $sleeper; wait $sleeper || :
life half 0 unlock vm:mail --key-file /run/key
cp /run/node-shared.xml /run/node.xml
life shared 1 lock vm:mail
[ -e /srv/images/root.raw ] || fail "another guest's image is gone"
node /run/node.xml 5
life lock 0 lock vm:mail --json
same "lock"
life nothing 0 lock vm:mail
# What is open but declared nowhere is said, and closed all the same.
# The key comes as systemd gives it to a service.
mkdir /run/credentials
cp /run/key /run/credentials/unterbau.key
export CREDENTIALS_DIRECTORY=/run/credentials
life open2 0 unlock vm:mail --no-prompt
unset CREDENTIALS_DIRECTORY
sed -i '/^mail-crypt/d' /etc/crypttab
life undeclared 0 lock vm:mail
same "lock of what is not declared"
life undeclarable 1 unlock vm:mail
same "an unlock that cannot be"
# Killed at any moment: the next one goes on.
printf 'mail-crypt /dev/plain/mail none luks,noauto\n' >>/etc/crypttab
for ms in 0.6 1.2 2 3; do
  unterbau unlock vm:mail --key-file /run/key --connect test:///run/node.xml >/dev/null 2>&1 </dev/null &
  pid=$!
  sleep $ms
  kill -9 $pid 2>/dev/null || :
  wait $pid || :
done
while pgrep -x cryptsetup >/dev/null; do sleep 0.1; done
life killed 0 unlock vm:mail --key-file /run/key
[ -e /srv/images/data/more.raw ] || fail "after the kill"
life end 0 lock vm:mail
same "the end"

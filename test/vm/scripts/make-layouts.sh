# Makes one small ext4 on every kind of volume that the kernel knows, and records what the kernel reads from each.
# Disks: a1 a2 (LVM over two disks), r1…r5 (LVM's RAID), m1…m4 (md), s1 s2 (two groups of one name), l1 l2 (LUKS), k1 k2 (a group over two LUKS)
own_lvm
v=/dev/vm
modprobe -a dm-thin-pool dm-snapshot dm-cache dm-raid raid0 raid1 raid10 raid456 linear
quiet() { "$@" >/dev/null 2>/run/quiet || { cat /run/quiet; return 1; }; }

vgcreate -q two $v/a1 $v/a2
quiet lvcreate -y -Wn -L 40M -n alone two $v/a1
ext4 /dev/two/alone alone
# What is left of the first disk is less than this: it lies on both.
quiet lvcreate -y -Wn -L 60M -n across two
ext4 /dev/two/across across
quiet lvcreate -y -Wn -i 2 -I 16k -L 24M -n stripes two
ext4 /dev/two/stripes stripes
quiet lvcreate -y -Wn -L 24M -n base two
ext4 /dev/two/base base
quiet lvcreate -y -s -L 8M -n before two/base
mount /dev/two/base /mnt
echo "after the snapshot" >/mnt/changed
umount /mnt
quiet lvcreate -y --type thin-pool -L 32M -c 64k --poolmetadatasize 4M -n pool two
quiet lvcreate -y -Wn -V 64M --thinpool pool -n thin two
ext4 /dev/two/thin thin
quiet lvcreate -y -s -n thinold two/thin
quiet lvchange -ay -K two/thinold
mount /dev/two/thin /mnt
echo "after the thin snapshot" >/mnt/changed
umount /mnt
quiet lvcreate -y -Wn -V 32M --thinpool pool -n thinown two
ext4 /dev/two/thinown thinown
quiet lvcreate -y -Wn -L 24M -n cached two $v/a2
ext4 /dev/two/cached cached
quiet lvcreate -y --type cache-pool -L 8M --poolmetadatasize 4M -n fast two $v/a1
quiet lvconvert -y --type cache --cachepool fast --cachemode writethrough two/cached
mount /dev/two/cached /mnt
cat /mnt/home/* >/dev/null
echo "through the cache" >/mnt/changed
umount /mnt
for lv in alone across stripes base before thin thinold thinown cached; do sum /dev/two/$lv two/$lv; done

vgcreate -q red $v/r1 $v/r2 $v/r3 $v/r4 $v/r5
quiet lvcreate -y -Wn --type raid1 -m 1 -L 24M -n raid1 red
quiet lvcreate -y -Wn --type raid5 -i 2 -I 16k -L 24M -n raid5 red
quiet lvcreate -y -Wn --type raid6 -i 3 -I 16k -L 36M -n raid6 red
quiet lvcreate -y -Wn --type raid10 -i 2 -m 1 -I 16k -L 24M -n raid10 red
for lv in raid1 raid5 raid6 raid10; do ext4 /dev/red/$lv lvm-$lv; done
for lv in raid1 raid5 raid6 raid10; do
  until_status red-$lv ' ([0-9]+)/\1 '
  sum /dev/red/$lv red/$lv
done

for disk in m1 m2 m3 m4; do
  printf 'label: gpt\n%s' "$(for _ in 1 2 3 4 5 6; do echo 'size=16M'; done)" | sfdisk -q $v/$disk
done
udevadm settle
part() { echo "$(readlink -f $v/$1)$2"; }
array() { # array NAME PARTITION LEVEL [option]... over the first DISKS disks
  local name=$1 n=$2 level=$3 disks=$4 members="" d
  shift 4
  for d in m1 m2 m3 m4; do [ "$(echo $members | wc -w)" -ge "$disks" ] || members="$members $(part $d $n)"; done
  # shellcheck disable=SC2086
  quiet mdadm --create /dev/md/$name --run --level="$level" --raid-devices="$disks" --homehost=any --name=$name "$@" $members
  ext4 /dev/md/$name $name
  mdadm --wait /dev/md/$name || :
  sum /dev/md/$name md/$name
  mdadm --quiet --stop /dev/md/$name
}
array md-raid1 1 1 2 --metadata=1.2
array md-raid5 2 5 3 --metadata=1.2 --chunk=16
array md-raid6 3 6 4 --metadata=1.1 --chunk=16
array md-raid10 4 10 4 --metadata=1.0 --chunk=16 --layout=f2
array md-raid0 5 0 3 --metadata=1.2 --chunk=16
array md-linear 6 linear 2 --metadata=1.2

for s in s1 s2; do
  vgcreate -q --devices $v/$s same $v/$s
  quiet lvcreate -y -Wn --devices $v/$s -L 24M -n root same
  ext4 /dev/same/root same-$s
  sum /dev/same/root LABEL=same-$s
  vgchange -q -an --devices $v/$s same >/dev/null
done

printf 'a key for tests' >/run/key
luks $v/l1 luks1 /run/key --hash sha512 --cipher aes-xts-plain64 --key-size 512
luks $v/l2 luks2 /run/key --sector-size 4096
for l in l1 l2; do
  cryptsetup open --key-file /run/key $v/$l crypt-$l
  ext4 /dev/mapper/crypt-$l crypt-$l
  sum /dev/mapper/crypt-$l LABEL=crypt-$l
  cryptsetup close crypt-$l
done
for k in k1 k2; do
  luks $v/$k luks2 /run/key
  cryptsetup open --key-file /run/key $v/$k open-$k
done
vgcreate -q secret /dev/mapper/open-k1 /dev/mapper/open-k2
quiet lvcreate -y -Wn -i 2 -I 64k -L 48M -n root secret
ext4 /dev/secret/root secret
sum /dev/secret/root secret/root
vgchange -q -an secret two red >/dev/null
cryptsetup close open-k1
cryptsetup close open-k2

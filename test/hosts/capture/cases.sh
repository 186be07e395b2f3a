# One real thing changed at a time: case_NAME, and undo_NAME that takes it back. /run/scope.yaml is what is declared; each case begins with a fresh one.
SPARE=$(readlink -f /dev/disk/by-id/ata-*SPARE)
images=/var/lib/libvirt/images
# A disk with an unencrypted ext4, at a place.
plain_at() {
  mke2fs -q -t ext4 -F "$SPARE"
  mkdir -p "$1"
  mount "$SPARE" "$1"
}
clean() {
  udevadm settle
  wipefs -qaf "$SPARE"
  dd if=/dev/zero of="$SPARE" bs=1M count=20 status=none
  blockdev --rereadpt "$SPARE"
  udevadm settle
}
redefine() { # GUEST sed-script
  virsh --quiet dumpxml "$1" --inactive | sed -E "$2" >/run/edited.xml
  virsh --quiet define /run/edited.xml
}
restore() {
  virsh --quiet dumpxml "$1" --inactive >/dev/null
  virsh --quiet define "/run/$1.good.xml"
}
second() { redefine web "0,/<\/disk>/s##</disk><disk type='block' device='disk'><driver name='qemu' type='raw'/><source dev='$1'/><target dev='vdb' bus='virtio'/></disk>#"; }
weak() { # OPTION…: an encrypted volume on the spare disk, as the guest's second disk
  cryptsetup luksFormat -q "$@" "$SPARE" /share/passphrase
  cryptsetup open --key-file /share/passphrase "$SPARE" second
  second /dev/mapper/second
}
unweak() {
  restore web
  cryptsetup close second
  clean
}

case_swap_plain() { mkswap -q "$SPARE"; swapon "$SPARE"; }
undo_swap_plain() { swapoff "$SPARE"; clean; }

case_plain_volume() {
  pvcreate -qq -ff -y "$SPARE"
  vgcreate -qq vg9 "$SPARE"
  lvcreate -qq -y -L 16m -n web vg9
  second /dev/vg9/web
}
undo_plain_volume() { restore web; vgremove -qq -ff -y vg9; pvremove -qq -ff -y "$SPARE"; clean; }

case_luks1_cbc() { weak --type luks1 --cipher aes-cbc-plain --key-size 128 --pbkdf-force-iterations 300000; }
undo_luks1_cbc() { unweak; }
case_pbkdf2_few() { weak --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000; }
undo_pbkdf2_few() { unweak; }
case_null_cipher() { weak --type luks2 --cipher cipher_null-ecb --key-size 256 --pbkdf argon2id --pbkdf-memory 65536 --pbkdf-force-iterations 4; }
undo_null_cipher() { unweak; }
case_encryption_begun() {
  mke2fs -q -t ext4 -F "$SPARE" 16m
  cryptsetup reencrypt -q --encrypt --init-only --reduce-device-size 32m --type luks2 --pbkdf argon2id --pbkdf-memory 65536 --pbkdf-force-iterations 4 \
    --key-file /share/passphrase "$SPARE" second
  second /dev/mapper/second
}
undo_encryption_begun() { unweak; }
case_container_plain() {
  plain_at /srv/old
  truncate -s 40m /srv/old/web.luks
  cryptsetup luksFormat -q --type luks2 --pbkdf argon2id --pbkdf-memory 65536 --pbkdf-force-iterations 4 /srv/old/web.luks /share/passphrase
  cryptsetup open --key-file /share/passphrase /srv/old/web.luks second
  second /dev/mapper/second
}
undo_container_plain() { restore web; cryptsetup close second; umount /srv/old; rmdir /srv/old; clean; }

case_discards() { cryptsetup refresh --key-file /share/passphrase --allow-discards data_crypt; }
undo_discards() { cryptsetup refresh --key-file /share/passphrase data_crypt; }

header=/media/tresor/kvm1-data.header
case_header_gone() { mv $header /run/kept.header; }
undo_header_gone() { mv /run/kept.header $header; }
case_header_readable() { chmod 644 $header; }
undo_header_readable() { chmod 400 $header; }
case_header_other() { mv $header /run/kept.header; cp -p /media/tresor/kvm1-sys.header $header; }
undo_header_other() { mv -f /run/kept.header $header; }
case_header_plain() {
  plain_at /srv/old
  cp -p $header /srv/old/
  sed -i "s#$header#/srv/old/kvm1-data.header#" /run/scope.yaml
}
undo_header_plain() { umount /srv/old; rmdir /srv/old; clean; }
case_more_keys() { printf another >/run/another; cryptsetup luksAddKey -q --key-file /share/passphrase --pbkdf argon2id --pbkdf-memory 65536 --pbkdf-force-iterations 4 "/dev/disk/by-uuid/$DATA" /run/another; }
undo_more_keys() {
  cryptsetup luksRemoveKey -q "/dev/disk/by-uuid/$DATA" /run/another
  rm -f $header
  cryptsetup luksHeaderBackup "/dev/disk/by-uuid/$DATA" --header-backup-file $header
}

keyed() { cp -p /etc/crypttab /run/crypttab; sed -i "s#^(data_crypt \S+) none#\1 $1#" -E /etc/crypttab; }
case_key_readable() { mkdir -p /etc/keys; cp /share/passphrase /etc/keys/data.key; chmod 644 /etc/keys/data.key; keyed /etc/keys/data.key; }
undo_key_readable() { cp -p /run/crypttab /etc/crypttab; rm -r /etc/keys; }
case_key_plain() { cp /share/passphrase /boot/data.key; chmod 400 /boot/data.key; keyed /boot/data.key; }
undo_key_plain() { cp -p /run/crypttab /etc/crypttab; rm -f /boot/data.key; }
case_autostart() { virsh --quiet autostart mail; }
undo_autostart() { virsh --quiet autostart mail --disable; }
case_image_beneath() { umount $images; install -m 600 /dev/null $images/web.qcow2; qemu-img create -q -f qcow2 $images/web.qcow2 8M; }
undo_image_beneath() { rm -f $images/web.qcow2; mount $images; }
case_logs_plain() {
  mkdir -p /run/logs
  cp -a /var/log/libvirt/. /run/logs/
  plain_at /var/log/libvirt
  cp -a /run/logs/. /var/log/libvirt/
}
undo_logs_plain() { umount /var/log/libvirt; clean; }

case_hibernation_plain() { lsblk -ndo MAJ:MIN "$SPARE" | tr -d ' ' >/sys/power/resume || true; }
# The kernel takes no empty device back: this one is the last.
undo_hibernation_plain() { lsblk -ndo MAJ:MIN /dev/vg0/swap | tr -d ' ' >/sys/power/resume || true; clean; }
case_saved_plain() {
  plain_at /var/lib/libvirt/qemu/save
  chown libvirt-qemu:kvm /var/lib/libvirt/qemu/save
  cp -p /etc/default/libvirt-guests /run/libvirt-guests
  sed -i 's/^ON_SHUTDOWN=.*/ON_SHUTDOWN=suspend/' /etc/default/libvirt-guests
}
undo_saved_plain() { cp -p /run/libvirt-guests /etc/default/libvirt-guests; umount /var/lib/libvirt/qemu/save; clean; }
case_snapshot_old() {
  local now
  now=$(date +%s)
  date -s "@$((now - 30 * 86400))"
  lvcreate -qq -y -s -L 8m -n mail-before vg1/mail
  date -s "@$((now + 3))"
}
undo_snapshot_old() { lvremove -qq -y vg1/mail-before; }
case_cores_plain() {
  cp -p /etc/libvirt/qemu.conf /run/qemu.conf
  sed -i 's/^dump_guest_core = 0/dump_guest_core = 1/' /etc/libvirt/qemu.conf
  echo /boot/core.%p >/proc/sys/kernel/core_pattern
}
undo_cores_plain() { cp -p /run/qemu.conf /etc/libvirt/qemu.conf; echo core >/proc/sys/kernel/core_pattern; }
case_stray_copy() { plain_at /srv/old; qemu-img convert -f qcow2 -O qcow2 $images/debian-12.qcow2 /srv/old/web-before.qcow2; }
undo_stray_copy() { umount /srv/old; rmdir /srv/old; clean; }
case_stray_disk() { mke2fs -q -t ext4 -F "$SPARE"; udevadm settle; }
undo_stray_disk() { clean; }
case_console_log_plain() {
  redefine web "0,/<serial type='pty'>/s##<serial type='pty'><log file='/boot/web-console.log' append='on'/>#"
  install -m 600 /dev/null /boot/web-console.log
}
undo_console_log_plain() { restore web; rm -f /boot/web-console.log; }

case_image_readable() { chmod 644 $images/web.qcow2; }
undo_image_readable() { chmod 600 $images/web.qcow2; }
case_image_acl() { setfacl -m u:anna:r $images/web.qcow2; }
undo_image_acl() { setfacl -b $images/web.qcow2; chmod 600 $images/web.qcow2; }
case_vnc_everywhere() {
  redefine web "s#</devices>#<graphics type='vnc' port='5999' listen='0.0.0.0'/></devices>#"
  virsh --quiet start web --paused
}
undo_vnc_everywhere() { virsh --quiet destroy web; restore web; }
case_ssh_passwords() { sed -i 's/^PasswordAuthentication no/PasswordAuthentication yes/' /etc/ssh/sshd_config.d/keys.conf; }
undo_ssh_passwords() { sed -i 's/^PasswordAuthentication yes/PasswordAuthentication no/' /etc/ssh/sshd_config.d/keys.conf; }
case_undeclared_admin() { cp -p /etc/group /run/group; cp -p /etc/passwd /run/passwd; useradd bert; usermod -aG libvirt bert; }
undo_undeclared_admin() { userdel bert; }
case_unconfined() { redefine web "s#</domain>#<seclabel type='none' model='apparmor'/></domain>#"; }
undo_unconfined() { restore web; }
case_qemu_root() {
  cp -p /etc/libvirt/qemu.conf /run/qemu.conf
  echo 'user = "root"' >>/etc/libvirt/qemu.conf
  systemctl restart libvirtd
  virsh --quiet start web --paused
}
undo_qemu_root() { virsh --quiet destroy web; cp -p /run/qemu.conf /etc/libvirt/qemu.conf; systemctl restart libvirtd; }
case_undeclared_guest() {
  virsh --quiet dumpxml web --inactive | sed -E "s#<name>web#<name>other#; s#$WEB#0f0e0d0c-0b0a-4908-8706-050403020100#; s#52:54:00:6d:61:02#52:54:00:6d:61:03#; s#web_VARS#other_VARS#; s#web.qcow2#debian-12.qcow2#" >/run/edited.xml
  virsh --quiet define /run/edited.xml
}
undo_undeclared_guest() { virsh --quiet undefine other --nvram || virsh --quiet undefine other; }
case_guest_gone() { virsh --quiet undefine web --keep-nvram; }
undo_guest_gone() { restore_web_new; }
restore_web_new() { virsh --quiet define /run/web.good.xml; }

case_no_filter() { redefine web "/<filterref/,/<\/filterref>/d"; }
undo_no_filter() { restore web; }
case_filter_open() { refilter unterbau-egress-web "s#<rule action='drop' direction='out'[^>]*priority='1000'[^>]*>#<rule action='accept' direction='out' priority='1000'>#"; }
undo_filter_open() { virsh --quiet nwfilter-define /run/egress-web.good.xml; }
case_filter_peer() { refilter unterbau-egress-mail "s#dstipaddr='198.51.100.25'#dstipaddr='203.0.113.9'#"; }
undo_filter_peer() { virsh --quiet nwfilter-define /run/egress-mail.good.xml; }
frames="s#<filterref filter='no-other-l2-traffic'/>#<rule action='accept' direction='inout' priority='-400'><mac protocolid='ipv6'/></rule>#"
case_filter_ipv6_frames() { refilter unterbau-egress-web "$frames"; }
undo_filter_ipv6_frames() { virsh --quiet nwfilter-define /run/egress-web.good.xml; }
case_filter_ipv6() { refilter unterbau-egress-web "$frames; s#<all-ipv6/>#<all-ipv6 dstipaddr='2001:db8::1'/>#"; }
undo_filter_ipv6() { virsh --quiet nwfilter-define /run/egress-web.good.xml; }
case_filter_spoofing() { refilter unterbau-egress-web "s#<filterref filter='no-(mac|ip|arp)-spoofing'/>##"; }
undo_filter_spoofing() { virsh --quiet nwfilter-define /run/egress-web.good.xml; }
refilter() { virsh --quiet nwfilter-dumpxml "$1" | sed -E "$2" >/run/filter.xml; ! cmp -s /run/filter.xml "/run/${1#unterbau-}.good.xml"; virsh --quiet nwfilter-define /run/filter.xml; }

restic_at() { RESTIC_PASSWORD_FILE=/etc/restic/password restic --quiet --repo "$@"; }
case_backup_old() {
  mv /media/tresor/restic /media/tresor/restic.good
  restic_at /media/tresor/restic init
  restic_at /media/tresor/restic backup --time "$(date -d '20 days ago' '+%Y-%m-%d %H:%M:%S')" --stdin --stdin-filename mail-vda </dev/vg1/mail
}
undo_backup_old() { rm -rf /media/tresor/restic; mv /media/tresor/restic.good /media/tresor/restic; }
case_backup_none() { mv /media/tresor/restic /media/tresor/restic.good; restic_at /media/tresor/restic init; }
undo_backup_none() { rm -rf /media/tresor/restic; mv /media/tresor/restic.good /media/tresor/restic; }
case_backup_plain() {
  plain_at /srv/old
  dd if=/dev/vg1/mail of=/srv/old/mail.img bs=1M status=none
  sed -i "s#kind: restic#kind: file#; s#place: /media/tresor/restic#place: /srv/old#; /passwordFile/d" /run/scope.yaml
}
undo_backup_plain() { umount /srv/old; rmdir /srv/old; clean; }
case_backup_same_disk() {
  mkdir -p $images/backup
  cp -r /media/tresor/restic $images/backup/
  sed -i "s#place: /media/tresor/restic#place: $images/backup/restic#" /run/scope.yaml
}
undo_backup_same_disk() { rm -rf $images/backup; }
case_reboot_wanted() { touch /run/reboot-required; }
undo_reboot_wanted() { rm -f /run/reboot-required; }

# Files in the guest's disk, which it does not have mounted: no system runs in it.
in_mail() { debugfs -w -R "$1" /dev/vg1/mail 2>&1 | sed 1d; }
mail_file() { # PATH sed-script: what the guest's file is from now on; /run/mail-file keeps the former one
  in_mail "dump $1 /run/mail-file"
  sed -E "$2" /run/mail-file >/run/mail-file.new
  ! cmp -s /run/mail-file /run/mail-file.new
  in_mail "rm $1"
  in_mail "write /run/mail-file.new $1"
}
mail_file_back() {
  in_mail "rm $1"
  in_mail "write /run/mail-file $1"
}
case_mail_policy() { mail_file /etc/postfix/tls_policy 's#^client.example .*##'; }
undo_mail_policy() { mail_file_back /etc/postfix/tls_policy; }
case_mail_in_clear() { mail_file /etc/postfix/main.cf 's#^smtpd_tls_security_level.*#smtpd_tls_security_level = none#'; }
undo_mail_in_clear() { mail_file_back /etc/postfix/main.cf; }
case_mail_razor() { mail_file /etc/spamassassin/local.cf 's#^use_razor2 0#use_razor2 1#'; }
undo_mail_razor() { mail_file_back /etc/spamassassin/local.cf; }
case_mail_dnsbl() { mail_file /etc/spamassassin/local.cf 's#^skip_rbl_checks 1#skip_rbl_checks 0#'; }
undo_mail_dnsbl() { mail_file_back /etc/spamassassin/local.cf; }
case_mail_store_nfs() { mail_file /etc/fstab '$a nas.example:/mail /var/mail nfs4 defaults 0 0'; }
undo_mail_store_nfs() { mail_file_back /etc/fstab; }
# The firmware variables of a guest that was never started are not there yet, and nothing is wrong with that.
case_never_started() { mv /var/lib/libvirt/qemu/nvram/web_VARS.fd /run/; }
undo_never_started() { mv /run/web_VARS.fd /var/lib/libvirt/qemu/nvram/; }

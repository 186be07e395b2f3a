#!/bin/bash
# Makes the disk of the captured host's mail guest: what Debian's own packages of Postfix, Dovecot, SpamAssassin and Amavis put into /etc, and what an administrator sets there.
# Usage: mail-guest.sh FOLDER     leaves FOLDER/mail.img, of 24 MiB; does nothing when it was made from the same inputs.
# Needs root, Debian 12, mmdebstrap, mke2fs.
set -euo pipefail
export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin
here=$(cd "$(dirname "$0")" && pwd)
home=$(cd "$1" && pwd)
packages=postfix,dovecot-imapd,dovecot-lmtpd,spamassassin,amavisd-new
inputs=$({ echo "$packages"; cat "$here/mail-guest.sh"; } | sha256sum)
[ "$(cat "$home/mail-inputs" 2>/dev/null)" != "$inputs" ] || exit 0
rm -rf "$home/mail" "$home/mail.img" "$home/mail-inputs"

[ "$(cat "$home/mail-packages" 2>/dev/null)" = "$packages" ] || {
  mmdebstrap --mode=root --variant=minbase --aptopt='APT::Install-Recommends "false"' --include="$packages" bookworm "$home/mail-root.tar" \
    "deb http://deb.debian.org/debian bookworm main" "deb http://deb.debian.org/debian bookworm-updates main" "deb http://deb.debian.org/debian-security bookworm-security main"
  echo "$packages" >"$home/mail-packages"
}
mkdir -p "$home/mail/root" "$home/mail/disk/etc"
tar -C "$home/mail/root" -xf "$home/mail-root.tar"
inside() { chroot "$home/mail/root" "$@"; }
# Postfix as its package sets it up where nobody is asked, then by its own tool.
inside cp /usr/share/postfix/main.cf.debian /etc/postfix/main.cf
inside postconf -e myhostname=mail.example 'mydestination=$myhostname, localhost' relayhost= inet_interfaces=all \
  mailbox_transport=lmtp:unix:private/dovecot-lmtp content_filter=smtp-amavis:[127.0.0.1]:10024 \
  smtpd_tls_cert_file=/etc/ssl/certs/mail.pem smtpd_tls_key_file=/etc/ssl/private/mail.key smtpd_tls_security_level=may 'smtpd_tls_protocols=>=TLSv1.2' \
  smtp_tls_CApath=/etc/ssl/certs smtp_tls_security_level=may 'smtp_tls_protocols=>=TLSv1.2' 'smtp_tls_mandatory_protocols=>=TLSv1.2' \
  smtp_tls_policy_maps=hash:/etc/postfix/tls_policy smtpd_tls_auth_only=yes
inside postconf -Me 'submission/inet=submission inet n - y - - smtpd'
inside postconf -Pe submission/inet/smtpd_tls_security_level=encrypt submission/inet/smtpd_sasl_auth_enable=yes
inside postconf -Me 'smtp-amavis/unix=smtp-amavis unix - - y - 2 smtp'
inside postconf -Me '127.0.0.1:10025/inet=127.0.0.1:10025 inet n - y - - smtpd'
inside postconf -Pe 127.0.0.1:10025/inet/content_filter= 127.0.0.1:10025/inet/mynetworks=127.0.0.0/8
etc=$home/mail/root/etc
printf '# domains of clients\nclient.example      secure match=nexthop\n.client.example     encrypt protocols=>=TLSv1.2\n' >"$etc/postfix/tls_policy"
sed -i 's|^#\?mail_location =.*|mail_location = maildir:~/Maildir|' "$etc/dovecot/conf.d/10-mail.conf"
sed -i 's|^#\?ssl = .*|ssl = required|' "$etc/dovecot/conf.d/10-ssl.conf"
# Nothing of a mail, not even a sum of it, is asked about elsewhere.
printf 'use_razor2 0\nuse_pyzor 0\nskip_rbl_checks 1\nskip_uribl_checks 1\n' >>"$etc/spamassassin/local.cf"
printf 'UUID=6f0c9a55-2a0e-4b7c-9a34-8b6f5a0d1c11 / ext4 errors=remount-ro 0 1\n' >"$etc/fstab"
# What the packages need to be told: content checks are on, and what is answered for.
printf 'use strict;\n@bypass_spam_checks_maps = (\\%%bypass_spam_checks, \\@bypass_spam_checks_acl, \\$bypass_spam_checks_re);\n1;\n' >"$etc/amavis/conf.d/15-content_filter_mode"
echo mail.example | tee "$etc/hostname" >"$etc/mailname"
for name in postfix dovecot spamassassin amavis fstab hostname mailname; do cp -a "$etc/$name" "$home/mail/disk/etc/"; done
cp "$home/mail/root/usr/lib/os-release" "$home/mail/disk/etc/"
rm -rf "$home/mail/disk/etc/dovecot/private"
mkdir -p "$home/mail/disk/var/mail" "$home/mail/disk/home"
mke2fs -q -t ext4 -U 6f0c9a55-2a0e-4b7c-9a34-8b6f5a0d1c11 -E root_owner=0:0 -d "$home/mail/disk" "$home/mail.img" 24M
rm -rf "$home/mail"
echo "$inputs" >"$home/mail-inputs"

# For boot.test.ts, in the booted host: the boot is over while the guest's unit waits for the passphrase; given it, the guest is started.
unit=unterbau-guest-mail.service
fail() { echo "FAILED: $*"; systemctl list-jobs --no-pager; journalctl -b --no-pager -o cat | tail -60; exit 1; }
# wait_for SECONDS COMMAND…: until it succeeds.
wait_for() {
  local left=$(($1 * 5))
  shift
  until "$@" >/dev/null 2>&1; do
    left=$((left - 1))
    [ $left -gt 0 ] || return 1
    sleep 0.2
  done
}
state() { systemctl show -P ActiveState "$1"; }
wait_for 300 systemctl is-active multi-user.target || fail "the boot waits"
pending() { systemctl list-jobs --no-legend --no-pager | grep -qF $unit; }
pending || fail "nobody waits to start the guest"
echo "booted: $(state multi-user.target), guest $(state $unit), waiting"
[ ! -e /dev/mapper/mail-crypt ] || fail "it is open without a passphrase"
questions() { ls /run/systemd/ask-password/ask.* 2>/dev/null; }
wait_for 180 questions || fail "nobody is asked"
while pending; do
  for ask in $(questions); do
    # systemd takes a question back when the passphrase of another volume has opened this one, too.
    text=$(cat "$ask" 2>/dev/null) || continue
    socket=$(sed -n 's/^Socket=//p' <<<"$text")
    # By the program that systemd's own agents call: the first line of its input is the passphrase.
    /lib/systemd/systemd-reply-password 1 "$socket" </run/key || continue
    sed -n 's/^Message=/asked: /p' <<<"$text"
    rm -f "$ask"
  done
  sleep 0.2
done
[ "$(state $unit)" = active ] || fail "the unit is $(state $unit)"
echo "answered, guest $(state $unit)"
journalctl -u $unit --no-pager -o cat | grep -E 'guest mail|already' || :
for path in /dev/mapper/mail-crypt /srv/images/root.raw; do [ -e $path ] || fail "$path is not there"; done
systemctl is-active systemd-cryptsetup@mail\\x2dcrypt.service srv-images.mount
# The end of the host: the guest goes first, then mounts and mappings.
systemctl stop $unit || fail "the unit does not stop"
systemctl stop srv-images.mount 'systemd-cryptsetup@images.service' 'systemd-cryptsetup@mail\x2dcrypt.service' || fail "the volumes do not close"
for name in mail-crypt images; do [ ! -e /dev/mapper/$name ] || fail "$name is open"; done
echo "closed"
unterbau boot disable vm:mail --yes --connect test:///etc/node.xml || fail "disable"
[ ! -e /etc/systemd/system/$unit ] || fail "the unit is left"

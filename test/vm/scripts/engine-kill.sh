# run-plan is killed at every command that it gives: before it, while it goes on alone, and after it. Then recover takes all of it down.
mkdir -p /run/shim
cat >/run/shim/shim <<'X'
#!/bin/bash
# Stands before a tool: counts the calls, and at KILL_AT kills the caller.
real=$(PATH=${PATH#/run/shim:} command -v "${0##*/}")
# These change nothing.
case ${1:-} in settle | monitor) exec "$real" "$@" ;; esac
n=$(($(cat /run/shim/count) + 1))
echo $n >/run/shim/count
[ "$n" = "${KILL_AT:-0}" ] || exec "$real" "$@"
echo "${0##*/} $KILL_HOW" >>/run/kills
case $KILL_HOW in
  before) kill -9 $PPID ;;
  during) kill -9 $PPID; exec "$real" "$@" ;;
  after)
    if [ "${0##*/}" = qemu-nbd ] && [ "$1" = --verbose ]; then
      "$real" "$@" &
      until [ -e /sys/block/nbd0/pid ]; do sleep 0.1; done
    else
      "$real" "$@"
    fi
    kill -9 $PPID ;;
esac
X
chmod 755 /run/shim/shim
for tool in mkdir udevadm modprobe cryptsetup mount qemu-nbd losetup vgchange vgrename dd truncate dmsetup touch rm fsck umount rmdir; do ln -s shim /run/shim/$tool; done
# kills NAME FIRST STEP ARGUMENT…: at every STEPth command, until a run comes to its end.
kills() {
  local name=$1 n=$(($2 - $3)) step=$3 count got how
  shift 3
  while :; do
    n=$((n + step))
    case $((n % 3)) in 0) how=before ;; 1) how=during ;; 2) how=after ;; esac
    echo 0 >/run/shim/count
    got=0
    KILL_AT=$n KILL_HOW=$how PATH=/run/shim:$PATH unterbau run-plan --no-prompt "$@" >/run/out 2>&1 </dev/null || got=$?
    [ $got = 137 ] || break
    echo "killed at $n: $(tail -1 /run/kills)"
    unterbau recover >/run/recovered 2>&1 || { cat /run/out /run/recovered; tail -1 /run/kills; echo "FAILED: recover after kill $n of $name"; exit 1; }
    same "recover after kill $n of $name ($(tail -1 /run/kills)): $(cat /run/recovered)"
  done
  [ $got = 0 ] || { cat /run/out; echo "FAILED: $name ended with $got"; exit 1; }
  count=$(cat /run/shim/count)
  [ "$count" -lt "$n" ] || { echo "FAILED: command $n of $name was not killed"; exit 1; }
  same "$name in the end"
  echo "$name has $count commands"
}

# For tests of the kernel engine.
v=/dev/vm
quiet() { "$@" >/dev/null 2>/run/quiet || { cat /run/quiet; return 1; }; }
state() {
  udevadm settle
  cat /proc/mdstat 2>/dev/null || :
  losetup -l -n -O NAME,BACK-FILE,OFFSET
  dmsetup ls | sort
  cut -d' ' -f1-3 /proc/mounts
  ls /run/udev/rules.d /run/unterbau
  ls -d /sys/block/nbd*/pid 2>/dev/null || :
  ps -eo args | grep '^qemu-nbd' || :
}
same() { state >/run/after; diff /run/before /run/after || { echo "FAILED: $1 left something"; exit 1; }; }
# script NAME EXIT-CODE ARGUMENT…: plan's own script, by dash
script() {
  local name=$1 want=$2 got=0
  shift 2
  unterbau plan --no-prompt "$@" >/run/plan.sh
  cp /run/plan.sh "/share/$name.sh"
  dash /run/plan.sh >/run/out 2>&1 </dev/null || got=$?
  [ $got = "$want" ] || { cat /run/out; echo "FAILED: the script of $name ended with $got"; exit 1; }
  same "the script of $name"
  echo "script $name: $got"
}
# run NAME EXIT-CODE ARGUMENT…: run-plan
run() {
  local name=$1 want=$2 got=0
  shift 2
  unterbau run-plan --no-prompt "$@" >/run/out 2>&1 </dev/null || got=$?
  [ $got = "$want" ] || { cat /run/out; echo "FAILED: run-plan of $name ended with $got"; exit 1; }
  same "run-plan of $name"
  echo "run-plan $name: $got"
}

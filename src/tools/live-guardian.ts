import { type ChildProcess, spawn } from "node:child_process";
import { findProgram } from "./find.ts";
import { selection } from "./lvm.ts";

/**
 * Waits until its standard input ends, which it does with the process that holds the other end, killed or not. Then, unless the note of
 * the view ($5) is gone, the view is ended: file systems that may be frozen are thawed, the backup is aborted if it is ours, what the guest
 * overwrote is removed. A constant text; all names are arguments.
 */
const SCRIPT = `cat >/dev/null
[ -e "$5" ] || exit 0
[ -e "$4/frozen" ] && "$1" -q -c "$2" domfsthaw --domain "$3"
if "$1" -q -c "$2" backup-dumpxml --domain "$3" | grep -qF "$4/"; then "$1" -q -c "$2" domjobabort --domain "$3" || exit 1; fi
rm -rf "$4" "$5"`;

/** The same for a view through snapshots: a group and a selection in it for each. What still reads from one ends with us, too. */
const SNAPSHOT_SCRIPT = `cat >/dev/null
virsh=$1 uri=$2 uuid=$3 folder=$4 note=$5 lvremove=$6 n=0
shift 6
[ -e "$note" ] || exit 0
[ -e "$folder/frozen" ] && "$virsh" -q -c "$uri" domfsthaw --domain "$uuid"
while [ $# -gt 0 ]; do
  until "$lvremove" --quiet --force --yes --select "$2" "$1"; do n=$((n + 1)); [ $n -lt 60 ] || exit 1; sleep 1; done
  shift 2
done
rm -rf "$folder" "$note"`;

/**
 * Ends a view of a running guest when this process dies before it can do so itself: else the scratch file would grow until a guest's
 * write fails. Kill it when the view is over; it does nothing then either.
 */
export function guardLiveView(uri: string, uuid: string, folder: string, note: string): ChildProcess {
  return guard(SCRIPT, [uri, uuid, folder, note]);
}

/** As `guardLiveView`; `snapshots`: groups and names. */
export function guardSnapshots(
  uri: string,
  uuid: string,
  folder: string,
  note: string,
  snapshots: readonly { readonly group: string; readonly name: string }[],
): ChildProcess {
  const selections = snapshots.flatMap(({ group, name }) => [group, selection(name)]);
  return guard(SNAPSHOT_SCRIPT, [uri, uuid, folder, note, findProgram("lvremove") ?? "lvremove", ...selections]);
}

function guard(script: string, args: readonly string[]): ChildProcess {
  const virsh = findProgram("virsh") ?? "virsh";
  const child = spawn("/bin/sh", ["-c", script, "unterbau-guardian", virsh, ...args], {
    // Not ended by a Ctrl-C that is meant for us.
    detached: true,
    stdio: ["pipe", "ignore", "ignore"],
    env: { ...process.env, LC_ALL: "C" },
    cwd: "/",
  });
  child.on("error", () => undefined);
  child.stdin?.on("error", () => undefined);
  child.unref();
  return child;
}

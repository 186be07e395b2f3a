import type { Action, Argument, Check, Plan, PlanGuest, Probe, Step } from "./model.ts";
import { mapperName } from "./names.ts";
import { comment, quote } from "./quote.ts";

/** The plan as a POSIX shell script: each step, the checks, and an undo that runs in the end and after any failure. `title`: lines about it. */
export function planScript(plan: Plan, title: readonly string[]): string {
  const served = plan.steps.some((s) => s.choose === "nbd");
  const variables = plan.steps.filter((s) => s.choose !== null).map((s) => `${s.id}=''`);
  const lines = [
    "#!/bin/sh",
    ...title.map(comment),
    "#",
    comment(`Sources: ${[...plan.sources, ...plan.inside.map((spec) => `inside ${spec}`)].join(", ")}`),
    comment(plan.repair ? "The checks repair." : "Everything is opened read-only; the checks change nothing."),
    "# Run it as root. What it opens is closed again, in reverse order, also after an error; its exit code is fsck's, 8 where something failed.",
    "# shellcheck disable=SC2016,SC2094,SC2317",
    "set -eu",
    "umask 077",
    "PATH=$PATH:/usr/sbin:/sbin",
    ...Object.entries(plan.env).map(([name, value]) => `export ${name}=${quote(value)}`),
    "status=0 reached=0 kept=0",
    ...(variables.length > 0 ? [variables.join(" ")] : []),
    "",
    ...FUNCTIONS,
    ...(served ? ["", ...SERVE] : []),
    "",
    `[ "$(id -u)" = 0 ] || fail "only root may do this"`,
    ...plan.guests.map(guestIsOff),
    `[ -e /sys/module/dm_mod ] || modprobe dm_mod || fail "this kernel has no device mapper"`,
    "",
    "steps() {",
    ...indented([
      ...plan.steps.flatMap((step, i) => ["", ...stepLines(step, i + 1)]),
      ...plan.checks.flatMap((c) => ["", ...checkLines(c)]),
    ]),
    "}",
    "",
    "# The way back: whatever is there of the steps, last first.",
    ...undoFunction(plan),
    "",
    "trap undo EXIT",
    "trap 'exit 130' INT",
    "trap 'exit 143' HUP TERM",
    "steps",
    `exit "$status"`,
  ];
  return `${lines.join("\n")}\n`;
}

/** Not a lock: whoever starts the guest afterwards is not kept from it. */
function guestIsOff({ name, uuid, uri }: PlanGuest): string {
  const connect = uri === null ? "" : ` --connect ${quote(uri)}`;
  const state = `$(LC_ALL=C virsh --quiet --readonly${connect} domstate ${quote(uuid)})`;
  return `[ "${state}" = "shut off" ] || fail ${quote(`the guest ${name} is not shut off`)}`;
}

function indented(lines: readonly string[]): string[] {
  const all = lines.flatMap((line) => line.split("\n")).map((line) => (line === "" ? "" : `  ${line}`));
  return all[0] === "" ? all.slice(1) : all;
}

const FUNCTIONS = [
  `fail() { printf 'failed: %s\\n' "$*" >&2; status=$((status | 8)); exit "$status"; }`,
  "# left STEP: it is still there; nothing below it is touched, as it is in use.",
  `left() { printf 'left, in use: %s\\n' "$*" >&2; status=$((status | 8)) kept=1; }`,
  "# check COMMAND…: exit codes are OR-ed, as fsck(8) does it.",
  `check() { "$@" || status=$((status | $?)); }`,
  "# mapped NAME: whether device mapper has it.",
  `mapped() { dmsetup info "$1" >/dev/null 2>&1; }`,
  "# active GROUP: whether a volume of it is active. Hyphens of the name are doubled.",
  "active() {",
  "  for name in /sys/block/dm-*/dm/name; do",
  `    case $(cat "$name" 2>/dev/null) in "$1"-[!-]*) return 0 ;; esac`,
  "  done",
  "  return 1",
  "}",
  "# known PREFIX: whether a device-mapper device has a UUID that begins so.",
  "known() {",
  "  for uuid in /sys/block/dm-*/dm/uuid; do",
  `    case $(cat "$uuid" 2>/dev/null) in "$1"*) return 0 ;; esac`,
  "  done",
  "  return 1",
  "}",
  "# loop_is DEVICE BACKING OFFSET: whether the loop device shows just that.",
  "loop_is() {",
  `  [ -n "$1" ] && [ -e "/sys/block/\${1#/dev/}/loop/backing_file" ] &&`,
  `    [ "$(cat "/sys/block/\${1#/dev/}/loop/backing_file")" = "$(readlink -f -- "$2")" ] && [ "$(cat "/sys/block/\${1#/dev/}/loop/offset")" = "$3" ]`,
  "}",
];

const SERVE = [
  "# The first nbd device that nobody serves.",
  "free_nbd() {",
  "  for block in /sys/block/nbd*; do",
  `    [ -e "$block/pid" ] || [ "$(cat "$block/size")" != 0 ] || { echo "/dev/\${block##*/}"; return; }`,
  "  done",
  `  echo "no network block device is free" >&2`,
  "  return 1",
  "}",
  "# nbd_is DEVICE FILE: whether the device is served from the file.",
  "nbd_is() {",
  `  [ -n "$1" ] && server_pid=$(cat "/sys/block/\${1#/dev/}/pid" 2>/dev/null) && tr '\\0' '\\n' <"/proc/$server_pid/cmdline" | grep -qxF -e "$2"`,
  "}",
  "# serve DEVICE COMMAND…: starts the server and waits for the kernel's word that the device is there. $server is its process.",
  "serve() {",
  "  served=$1",
  "  shift",
  `  mkfifo "$LVM_SYSTEM_DIR/events"`,
  `  timeout 60 udevadm monitor --kernel --subsystem-match=block >"$LVM_SYSTEM_DIR/events" &`,
  "  monitor=$!",
  `  exec 3<"$LVM_SYSTEM_DIR/events" 4>"$LVM_SYSTEM_DIR/events"`,
  `  rm "$LVM_SYSTEM_DIR/events"`,
  "  # What comes before the empty line says that it listens.",
  `  while read -r line <&3 && [ -n "$line" ]; do :; done`,
  `  { "$@" 3<&- 4>&- >/dev/null || :; echo ended >&4; } &`,
  "  server=$!",
  "  exec 4>&-",
  `  until [ "$(cat "/sys/block/\${served#/dev/}/size")" -gt 0 ]; do`,
  `    if ! read -r line <&3 || [ "$line" = ended ]; then fail "$1 did not serve $served"; fi`,
  "  done",
  "  exec 3<&-",
  `  kill "$monitor" 2>/dev/null || :`,
  "}",
];

function stepLines(step: Step, number: number): string[] {
  const lines = [comment(`${number}. ${step.title}`), ...step.notes.map((note) => comment(`   ${note}`))];
  if (step.choose === "loop") lines.push(`${step.id}=$(losetup --find)`);
  if (step.choose === "nbd") lines.push(`${step.id}=$(free_nbd)`);
  const there = probeText(step.probe);
  if (step.probe.kind === "module") {
    lines.push(...step.act.map((a) => `${there} || ${actionText(a, step)}`));
    return lines;
  }
  if (step.choose === null) lines.push(`! ${there} || fail ${quote(`${shown(step.probe)} is there already`)}`);
  if (step.unless !== null)
    lines.push(`! ${probeText(step.unless)} || fail ${quote(`${shown(step.unless)} is active on this host`)}`);
  lines.push(`reached=${number}`, ...step.act.map((a) => actionText(a, step)));
  lines.push(`${there} || fail ${quote(`step ${number} had no effect`)}`);
  return lines;
}

function undoFunction({ steps }: Plan): string[] {
  const body = [...steps.entries()].reverse().flatMap(([i, step]) => {
    if (step.undo.length === 0) return [];
    const number = i + 1;
    const there = probeText(step.probe);
    const ended = step.choose === "nbd" ? [`    wait "$${step.id}_server" || :`] : [];
    return [
      comment(`${number}. ${step.title}`).replace(/^/, "  "),
      `  if [ "$reached" -ge ${number} ] && ${there}; then`,
      `    if [ "$kept" = 0 ]; then`,
      ...step.undo.map((a) => `      ${actionText(a, step)}`),
      ...ended.map((line) => `  ${line}`),
      "    fi",
      `    ! ${there} || left ${quote(`${number}. ${step.title}`)}`,
      "  fi",
    ];
  });
  return [
    "undo() {",
    "  code=$?",
    `  case $code in "$status") ;; 130 | 143) status=$code ;; *) status=$((status | 8)) ;; esac`,
    "  trap - EXIT",
    "  trap '' HUP INT TERM",
    "  set +e",
    ...body,
    `  exit "$status"`,
    "}",
  ];
}

function checkLines({ selector, type, device, argv, unattended }: Check): string[] {
  const title = comment(`${selector}: ${type}`);
  if (argv === null || unattended === null) {
    return [title, comment(`   nothing is known that checks it; it is there as ${plainText(device)} at this point`)];
  }
  const words = (a: readonly Argument[]) => a.map(word).join(" ");
  if (words(argv) === words(unattended)) return [title, `check ${words(argv)}`];
  return [title, `if [ -t 0 ]; then check ${words(argv)}; else check ${words(unattended)}; fi`];
}

function plainText(device: Argument): string {
  return device.map((part) => (typeof part === "string" ? part : `$${part.ref}`)).join("");
}

/** An argument as one word of the shell. */
function word(argument: Argument): string {
  return argument.map((part) => (typeof part === "string" ? quote(part) : `"$${part.ref}"`)).join("") || "''";
}

function actionText(action: Action, step: Step): string {
  switch (action.kind) {
    case "write":
      return `printf '%s\\n' ${action.text.trimEnd().split("\n").map(quote).join(" ")} >${quote(action.path)}`;
    case "remove":
      return `rm -f ${quote(action.path)}`;
    case "run": {
      const [program = [], verb, ...rest] = action.argv;
      const key = action.key?.file == null ? [] : ["--key-file", quote(action.key.file)];
      const words = [word(program), ...(verb ? [word(verb)] : []), ...key, ...rest.map(word)].join(" ");
      return action.background ? `serve "$${step.id}" ${words}\n${step.id}_server=$server` : words;
    }
  }
}

function probeText(probe: Probe): string {
  switch (probe.kind) {
    case "path":
      return `[ -e ${quote(probe.path)} ]`;
    case "mapped":
      return `mapped ${quote(probe.name)}`;
    case "group":
      return `active ${quote(mapperName(probe.name))}`;
    case "uuid":
      return `known ${quote(probe.prefix)}`;
    case "mounted":
      return `mountpoint -q ${quote(probe.path)}`;
    case "module":
      return `[ -e ${quote(`/sys/module/${probe.name}`)} ]`;
    case "loop":
      return `loop_is ${word(probe.device)} ${word(probe.backing)} ${probe.offset}`;
    case "nbd":
      return `nbd_is ${word(probe.device)} ${word(probe.file)}`;
  }
}

function shown(probe: Probe): string {
  switch (probe.kind) {
    case "path":
    case "mounted":
      return probe.path;
    case "uuid":
      return probe.what;
    case "group":
      return `a group called ${probe.name}`;
    case "mapped":
    case "module":
      return probe.name;
    case "loop":
    case "nbd":
      return "the device";
  }
}

/**
 * System calls that no program on a guest's file has a use for, as a seccomp filter (classic BPF: linux/filter.h, linux/seccomp.h) for
 * bubblewrap's `--seccomp`. Namespaces, capabilities and mounts already keep a program in; this takes the kernel's less travelled code
 * out of its reach. A list of what is denied, not of what is allowed: what the C library needs changes with every version of it.
 */

/**
 * checker: parses guest bytes. server: the same, and is handed a descriptor over a socket pair of its own.
 * host: a tool of the user's choice, which may trace itself and talk to itself over sockets.
 */
export type FilterKind = "checker" | "server" | "host";

/** Numbers on x86-64 (arch/x86/entry/syscalls/syscall_64.tbl) and on arm64 (include/uapi/asm-generic/unistd.h). */
type Numbers = readonly [x64: number | null, arm64: number | null];

const DENIED_ALWAYS: { readonly [name: string]: Numbers } = {
  mount: [165, 40],
  umount2: [166, 39],
  pivot_root: [155, 41],
  chroot: [161, 51],
  open_tree: [428, 428],
  move_mount: [429, 429],
  fsopen: [430, 430],
  fsconfig: [431, 431],
  fsmount: [432, 432],
  fspick: [433, 433],
  mount_setattr: [442, 442],
  unshare: [272, 97],
  setns: [308, 268],
  bpf: [321, 280],
  perf_event_open: [298, 241],
  userfaultfd: [323, 282],
  add_key: [248, 217],
  request_key: [249, 218],
  keyctl: [250, 219],
  kexec_load: [246, 104],
  kexec_file_load: [320, 294],
  init_module: [175, 105],
  finit_module: [313, 273],
  delete_module: [176, 106],
  personality: [135, 92],
  swapon: [167, 224],
  swapoff: [168, 225],
  reboot: [169, 142],
  settimeofday: [164, 170],
  clock_settime: [227, 112],
  adjtimex: [159, 171],
  clock_adjtime: [305, 266],
  name_to_handle_at: [303, 264],
  open_by_handle_at: [304, 265],
  pidfd_getfd: [438, 438],
  quotactl: [179, 60],
  quotactl_fd: [443, 443],
  acct: [163, 89],
  syslog: [103, 116],
  vhangup: [153, 58],
  sethostname: [170, 161],
  setdomainname: [171, 162],
  lookup_dcookie: [212, 18],
  fanotify_init: [300, 262],
  iopl: [172, null],
  ioperm: [173, null],
  modify_ldt: [154, null],
  uselib: [134, null],
};

const DENIED_TO_CHECKERS: { readonly [name: string]: Numbers } = {
  socket: [41, 198],
  socketpair: [53, 199],
  bind: [49, 200],
  listen: [50, 201],
  accept: [43, 202],
  accept4: [288, 242],
  connect: [42, 203],
  sendto: [44, 206],
  sendmsg: [46, 211],
  sendmmsg: [307, 269],
  recvmsg: [47, 212],
  recvmmsg: [299, 243],
  ptrace: [101, 117],
  process_vm_readv: [310, 270],
  process_vm_writev: [311, 271],
  process_madvise: [440, 440],
  kcmp: [312, 272],
};

/** libfuse gets its connection to the kernel so (libfuse, lib/mount.c, receive_fd). */
const SERVERS_NEED: readonly string[] = ["socketpair", "sendmsg", "recvmsg"];

/** "Not there", so that programs take their other way: the C library then uses clone(), whose flags can be looked at. */
const ABSENT: { readonly [name: string]: Numbers } = {
  clone3: [435, 435],
  io_uring_setup: [425, 425],
  io_uring_enter: [426, 426],
  io_uring_register: [427, 427],
};

const CLONE: Numbers = [56, 220];
const IOCTL: Numbers = [16, 29];
/** CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET (linux/sched.h); clone() cannot ask for NEWTIME. */
const CLONE_NEW = 0x7e02_0000;
/** Puts characters into the terminal's input, or selects on the console (asm-generic/ioctls.h). */
const TIOCSTI = 0x5412;
const TIOCLINUX = 0x541c;

const EPERM = 1;
const ENOSYS = 38;
/** linux/audit.h */
const ARCHITECTURES: { readonly [arch: string]: { readonly audit: number; readonly column: 0 | 1 } } = {
  x64: { audit: 0xc000_003e, column: 0 },
  arm64: { audit: 0xc000_00b7, column: 1 },
};
/** x86-64: numbers from here on are the x32 ABI's, a second table that a filter by number would miss. */
const X32 = 0x4000_0000;

/** BPF: class, size, mode or operation, source. */
const LOAD = 0x20;
const JUMP_EQUAL = 0x15;
const JUMP_GREATER_EQUAL = 0x35;
const JUMP_SET = 0x45;
const RETURN = 0x06;
const ALLOW = 0x7fff_0000;
const KILL_PROCESS = 0x8000_0000;
const refuse = (errno: number): number => 0x0005_0000 + errno;
/** struct seccomp_data: number, architecture, instruction pointer, six arguments of 8 bytes each. */
const AT_NUMBER = 0;
const AT_ARCHITECTURE = 4;
const atArgument = (index: number): number => 16 + 8 * index;

/** struct sock_filter: code, jumps when true and false, k. */
type Instruction = readonly [code: number, yes: number, no: number, k: number];

/** The filter as bytes, or null for an architecture whose numbers are not known here. */
export function seccompFilter(kind: FilterKind, arch: string = process.arch): Uint8Array | null {
  const architecture = ARCHITECTURES[arch];
  if (!architecture) return null;
  const { audit, column } = architecture;
  const numbers = (table: { readonly [name: string]: Numbers }): number[] =>
    Object.values(table)
      .map((entry) => entry[column])
      .filter((n) => n !== null);
  const also = Object.entries(DENIED_TO_CHECKERS).filter(
    ([name]) => kind === "checker" || (kind === "server" && !SERVERS_NEED.includes(name)),
  );
  const denied = numbers({ ...DENIED_ALWAYS, ...Object.fromEntries(also) });
  const program: Instruction[] = [
    [LOAD, 0, 0, AT_ARCHITECTURE],
    // Another ABI (32 bits) has other numbers.
    [JUMP_EQUAL, 1, 0, audit],
    [RETURN, 0, 0, KILL_PROCESS],
    [LOAD, 0, 0, AT_NUMBER],
    ...(column === 0 ? onlyIf(JUMP_GREATER_EQUAL, X32, refuse(ENOSYS)) : []),
    ...denied.flatMap((n) => onlyIf(JUMP_EQUAL, n, refuse(EPERM))),
    ...numbers(ABSENT).flatMap((n) => onlyIf(JUMP_EQUAL, n, refuse(ENOSYS))),
    // Each ends the program, or goes on behind itself with the number still loaded.
    [JUMP_EQUAL, 0, 4, CLONE[column]!],
    [LOAD, 0, 0, atArgument(0)],
    [JUMP_SET, 0, 1, CLONE_NEW],
    [RETURN, 0, 0, refuse(EPERM)],
    [RETURN, 0, 0, ALLOW],
    [JUMP_EQUAL, 1, 0, IOCTL[column]!],
    [RETURN, 0, 0, ALLOW],
    [LOAD, 0, 0, atArgument(1)],
    ...onlyIf(JUMP_EQUAL, TIOCSTI, refuse(EPERM)),
    ...onlyIf(JUMP_EQUAL, TIOCLINUX, refuse(EPERM)),
    [RETURN, 0, 0, ALLOW],
  ];
  return encode(program);
}

/** Returns `action` when the loaded word passes the test against `k`, else goes on. */
function onlyIf(jump: number, k: number, action: number): Instruction[] {
  return [
    [jump, 0, 1, k],
    [RETURN, 0, 0, action],
  ];
}

function encode(program: readonly Instruction[]): Uint8Array {
  const bytes = new Uint8Array(8 * program.length);
  const view = new DataView(bytes.buffer);
  program.forEach(([code, yes, no, k], i) => {
    view.setUint16(8 * i, code, true);
    view.setUint8(8 * i + 2, yes);
    view.setUint8(8 * i + 3, no);
    view.setUint32(8 * i + 4, k, true);
  });
  return bytes;
}

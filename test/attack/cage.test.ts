import { createServer } from "node:net";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { memoryDevice } from "../../src/core/memory-device.ts";
import { seccompFilter } from "../../src/tools/seccomp.ts";
import { type Ran, runCaged } from "../helpers/caged.ts";
import { run, temporaryFolder } from "../helpers/programs.ts";

/**
 * A checker that was taken over by the guest's bytes: Perl in the checker's place, which can make any system call. What the namespaces
 * forbid is tested in test/interop/cage.test.ts; here each call is refused by the filter before the kernel looks at its arguments.
 */
const perl = run("sh", "-c", "command -v perl").trim();
const folder = temporaryFolder();
afterAll(folder.remove);

const X64 = process.arch === "x64";
/** Numbers of asm/unistd.h of this machine. */
const NUMBERS = new Map(
  run("sh", "-c", "echo '#include <asm/unistd.h>' | cpp -dM")
    .split("\n")
    .map((line) => /^#define __NR_(\w+) (\d+)$/.exec(line))
    .filter((match) => match !== null)
    .map((match) => [match[1]!, Number(match[2])] as const),
);

function attack(script: string, cage: "checker" | "host" = "checker"): Promise<Ran> {
  return runCaged(memoryDevice(new Uint8Array(8192)), [perl, "-e", script], { cage });
}

/** The errno of each call, by name; 0: it succeeded. Arguments are zeros, so that a call which is let through fails otherwise, or does nothing. */
async function errnos(
  names: readonly string[],
  cage: "checker" | "host" = "checker",
): Promise<{ [name: string]: number }> {
  const calls = names.map(
    (name) => `$!=0; $r=syscall(${NUMBERS.get(name)!},0,0,0,0,0); print "${name} ",$r<0?$!+0:0,"\\n";`,
  );
  const { output } = await attack(calls.join(""), cage);
  return Object.fromEntries(
    output
      .trim()
      .split("\n")
      .map((line) => line.split(" "))
      .map(([name, errno]) => [name!, Number(errno)]),
  );
}

const KERNEL = [
  [
    "mount",
    "umount2",
    "pivot_root",
    "chroot",
    "open_tree",
    "move_mount",
    "fsopen",
    "fsmount",
    "fspick",
    "mount_setattr",
  ],
  ["unshare", "setns", "bpf", "perf_event_open", "userfaultfd", "add_key", "request_key", "keyctl", "kexec_load"],
  ["init_module", "finit_module", "delete_module", "personality", "swapon", "reboot", "settimeofday", "clock_settime"],
  ["name_to_handle_at", "open_by_handle_at", "pidfd_getfd", "quotactl", "acct", "syslog", "fanotify_init"],
].flat();
const TALK = ["socket", "socketpair", "bind", "connect", "sendto", "sendmsg", "recvmsg"];
const SPY = ["ptrace", "process_vm_readv", "process_vm_writev", "kcmp"];
const ABSENT = ["clone3", "io_uring_setup", "io_uring_enter", "io_uring_register"];

describe("a checker that was taken over", () => {
  it("has a filter", async () => {
    const { output } = await attack('open F, "/proc/self/status"; print grep /^Seccomp/, <F>');
    expect(output).toMatch(/^Seccomp:\t2$/m);
    expect(output).toMatch(/^Seccomp_filters:\t[1-9]/m);
  });

  it("is refused every call that it has no use for", async () => {
    const names = [...KERNEL, ...TALK, ...SPY];
    expect(await errnos(names)).toEqual(Object.fromEntries(names.map((name) => [name, 1])));
    expect(await errnos(ABSENT)).toEqual(Object.fromEntries(ABSENT.map((name) => [name, 38])));
  });

  it("may do what checkers do", async () => {
    const { output, exitCode } = await attack(
      'open F, "+<", "/disk" or die "open $!"; seek F, 512, 0; print F "x"; close F or die; my $p = fork; if (!$p) { exit 3 } waitpid $p, 0; print $? >> 8',
    );
    expect({ output, exitCode }).toEqual({ output: "3", exitCode: 0 });
  });

  it("cannot open the network, read /etc/shadow, or write beside its file", async () => {
    let connections = 0;
    const server = createServer(() => connections++);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as { port: number };
    const { output } = await attack(
      `for my $family (1, 2, 10, 16, 17, 40) { print "socket $family ", (socket(S, $family, 1, 0) ? "yes" : "no"), "\\n" }
       socket(S, 2, 1, 0) and connect(S, pack("S n C4 x8", 2, ${port}, 127, 0, 0, 1)) and print "connected\\n";
       for ("/etc/shadow", "/etc/passwd", "/proc/1/root/etc/shadow", "/proc/self/root/etc/shadow") { print "read $_\\n" if open F, "<", $_ }
       for ("/usr/x", "/etc/x", "/dev/x", "/proc/sysrq-trigger", "/x", "${join(folder.path, "x")}") { print "wrote $_\\n" if open F, ">", $_ }`,
    );
    server.close();
    expect(output.trim().split("\n")).toEqual([1, 2, 10, 16, 17, 40].map((family) => `socket ${family} no`));
    expect(connections).toBe(0);
  });

  it("cannot make a namespace by clone, nor type into a terminal", async () => {
    const clone = NUMBERS.get("clone")!;
    const { output } = await attack(
      `for my $flag (0x20000, 0x10000000, 0x20000000, 0x40000000, 0x4000000, 0x8000000, 0x2000000) {
         $! = 0; my $r = syscall(${clone}, $flag + 17, 0, 0, 0, 0); exit 0 if $r == 0; print $r < 0 ? $! + 0 : "made", " " }
       my $c = "x"; print ioctl(STDIN, 0x5412, $c) ? "typed" : $! + 0, " "; print ioctl(STDIN, 0x541c, $c) ? "typed" : $! + 0, " ";
       print ioctl(STDIN, 0x5401, $c) ? "terminal" : $! + 0`,
    );
    // The last is TCGETS, which is let through: standard input is no terminal (ENOTTY).
    expect(output).toBe("1 1 1 1 1 1 1 1 1 25");
  });

  it.runIf(X64)("has no way around it by the x32 ABI", async () => {
    const { output } = await attack("$r = syscall(0x40000000 + 39); print $r < 0 ? $! + 0 : 'x32'");
    expect(output).toBe("38");
  });

  it.runIf(X64)("dies when it uses the 32-bit ABI", () => {
    // int 0x80 cannot be made from Perl; the first instructions of the filter decide by the architecture.
    const view = new DataView(seccompFilter("checker")!.buffer);
    expect([view.getUint16(0, true), view.getUint32(4, true)]).toEqual([0x20, 4]);
    expect([view.getUint16(8, true), view.getUint8(10), view.getUint32(12, true)]).toEqual([0x15, 1, 0xc000003e]);
    expect([view.getUint16(16, true), view.getUint32(20, true)]).toEqual([0x06, 0x80000000]);
  });
});

describe("a tool of the user's choice", () => {
  it("keeps sockets of its own and tracing, and nothing of the kernel's", async () => {
    expect(await errnos(KERNEL, "host")).toEqual(Object.fromEntries(KERNEL.map((name) => [name, 1])));
    const { output } = await attack("print socket(S, 1, 1, 0) ? 'yes' : 'no'", "host");
    expect(output).toBe("yes");
  });

  it("has no network", async () => {
    let connections = 0;
    const server = createServer(() => connections++);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as { port: number };
    const line = `socket(S, 2, 1, 0) or die; print connect(S, pack("S n C4 x8", 2, ${port}, 127, 0, 0, 1)) ? "connected" : $! + 0`;
    const { output } = await attack(line, "host");
    server.close();
    // ECONNREFUSED from the cage's own loopback, or ENETUNREACH where it is down.
    expect(output).toMatch(/^(111|101)$/);
    expect(connections).toBe(0);
  });
});

describe("the filter", () => {
  it("is a program that the kernel takes, of whole instructions, for the architectures that it knows", () => {
    for (const arch of ["x64", "arm64"]) {
      for (const kind of ["checker", "server", "host"] as const) {
        const filter = seccompFilter(kind, arch)!;
        expect(filter.length % 8).toBe(0);
        expect(filter.length / 8).toBeLessThan(4096);
      }
    }
    expect(seccompFilter("checker", "riscv64")).toBeNull();
  });
});

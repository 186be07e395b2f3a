import { spawnSync } from "node:child_process";
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { must, run } from "./cli.ts";

/** nobody and nogroup on Debian: libvirtd that runs as root is always the system's. */
const [UID, GID] = [65534, 65534];

/** A libvirt session daemon of its own, with all that it keeps in one folder. */
export interface SessionDaemon {
  readonly uri: string;
  /** The daemon's user may read and write here. */
  readonly folder: string;
  virsh(...args: string[]): Promise<string>;
  /** Gives a file to the user as whom guests run. */
  handOver(...paths: string[]): void;
  /** Ends all guests, then the daemon. */
  end(): Promise<void>;
}

export async function startSessionDaemon(): Promise<SessionDaemon> {
  const folder = mkdtempSync(join(tmpdir(), "unterbau-libvirt-"));
  const root = process.getuid?.() === 0;
  chmodSync(folder, 0o755);
  const handOver = (...paths: string[]) => {
    for (const path of paths) if (root) chownSync(path, UID, GID);
  };
  handOver(folder);
  const env: Record<string, string> = { HOME: folder };
  for (const name of ["RUNTIME_DIR", "CONFIG_HOME", "CACHE_HOME", "DATA_HOME"]) {
    const path = join(folder, name.toLowerCase());
    mkdirSync(path, { mode: 0o700 });
    handOver(path);
    env[`XDG_${name}`] = path;
  }
  const pidFile = join(folder, "libvirtd.pid");
  // It returns when it is ready to be spoken to.
  const argv = ["libvirtd", "--daemon", "--pid-file", pidFile];
  const asUser = root ? ["setpriv", `--reuid=${UID}`, `--regid=${GID}`, "--clear-groups", ...argv] : argv;
  await must(asUser[0]!, asUser.slice(1), { env });
  const uri = `qemu+unix:///session?socket=${join(env.XDG_RUNTIME_DIR!, "libvirt", "libvirt-sock")}`;
  const virsh = (...args: string[]) => must("virsh", ["-q", "-c", uri, ...args]);
  const end = async () => {
    for (const uuid of (await virsh("list", "--uuid")).split("\n").filter((line) => line !== ""))
      await run("virsh", ["-c", uri, "destroy", uuid]);
    const pid = Number(readFileSync(pidFile, "utf8"));
    process.kill(pid);
    // Its guests are gone; it sometimes waits for a minute for threads of its own.
    const patience = performance.now() + 5_000;
    while (spawnSync("kill", ["-0", String(pid)], { stdio: "ignore" }).status === 0) {
      if (performance.now() > patience) spawnSync("kill", ["-KILL", String(pid)], { stdio: "ignore" });
      await wait(50);
    }
    rmSync(folder, { recursive: true, force: true });
  };
  return { uri, folder, virsh, handOver, end };
}

/** A guest without a network, of 32 MiB, that boots from its first disk. */
export function qemuDomain(name: string, uuid: string, devices: string): string {
  return `<domain type='qemu'><name>${name}</name><uuid>${uuid}</uuid><memory unit='MiB'>32</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='pc'>hvm</type><boot dev='hd'/></os><features><acpi/></features>
<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>${devices}<memballoon model='none'/></devices></domain>`;
}

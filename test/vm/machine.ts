import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  truncateSync,
  watch,
  writeFileSync,
} from "node:fs";
import { homedir } from "node:os";
import { join, resolve } from "node:path";

/** Where the machine is built and kept, for all checkouts. */
export const HOME = join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "unterbau", "vm");

/** A disk of the machine, `/dev/vm/NAME` in it. The machine sees the file's bytes and writes them, unless `keep`: then its writes are lost. */
export interface Disk {
  readonly name: string;
  readonly path: string;
  /** Makes the file, empty, of so many bytes. */
  readonly size?: number | undefined;
  readonly keep?: boolean | undefined;
}

export interface Job {
  /** Run by bash as root, after `test/vm/lib.sh`. */
  readonly script: string;
  /** Run after it, when systemd has become the first process of the machine. */
  readonly booted?: string | undefined;
  readonly disks?: readonly Disk[] | undefined;
  /** Seen as /share, read and written. Default: a new one, which the result names. */
  readonly share?: string | undefined;
  /** Brings the built command line along; `unterbau` calls it. */
  readonly unterbau?: boolean | undefined;
  /** The script cuts the power by `cut_power`: the machine is killed then, and has no exit status. */
  readonly powerCut?: boolean | undefined;
  /** Seconds until the machine is ended. */
  readonly limit?: number | undefined;
}

export interface Outcome {
  /** The script's exit status; null when the machine ended before it. */
  readonly status: number | null;
  /** What the script wrote, both streams. */
  readonly output: string;
  readonly share: string;
}

/** Builds the machine if it is not there. Throws with build.sh's own words when a program is missing. */
export function buildMachine(): void {
  execFileSync("bash", ["test/vm/build.sh", HOME], { stdio: ["ignore", "inherit", "inherit"] });
}

/** Boots the machine, runs the script in it, waits until it has powered off. */
export async function runInMachine(job: Job): Promise<Outcome> {
  const share = job.share ?? mkdtempSync(join(process.env.TMPDIR ?? "/tmp", "unterbau-vm-"));
  mkdirSync(share, { recursive: true });
  for (const name of ["status", "out.log", "cut", "booted.sh"]) rmSync(join(share, name), { force: true });
  const disks = job.disks ?? [];
  for (const { path, size } of disks) if (size !== undefined) emptyFile(path, size);
  for (const name of ["init.sh", "lib.sh"]) copyFileSync(join("test/vm", name), join(share, name));
  writeFileSync(join(share, "disks"), disks.map((d) => `${d.name}\n`).join(""));
  writeFileSync(join(share, "job.sh"), `. /share/lib.sh\n${job.script}\n`);
  if (job.booted !== undefined) writeFileSync(join(share, "booted.sh"), `. /share/lib.sh\n${job.booted}\n`);
  if (job.unterbau) packProgram(join(share, "unterbau.tar"));
  const child = boot(disks, share);
  const errors = collect(child);
  const timer = setTimeout(() => child.kill("SIGKILL"), (job.limit ?? 300) * 1000);
  const watcher = job.powerCut
    ? watch(share, (_, name) => name === "cut" && existsSync(join(share, "cut")) && child.kill("SIGKILL"))
    : null;
  const code = await new Promise<number | null>((done, fail) => {
    child.on("error", fail);
    child.on("close", done);
  });
  clearTimeout(timer);
  watcher?.close();
  const read = (name: string) => (existsSync(join(share, name)) ? readFileSync(join(share, name), "utf8") : null);
  const status = read("status");
  const output = read("out.log") ?? "";
  if (status === null && !(job.powerCut && existsSync(join(share, "cut")))) {
    const console = read("console.log") ?? "";
    const why = code === null ? "it ran longer than its limit and was ended" : `qemu ended with ${code}`;
    throw new Error(`the machine did not finish its script: ${why}\n${errors()}${console}\n${output}`);
  }
  if (status !== null && job.powerCut)
    throw new Error(`the script ended with ${status} before it cut the power:\n${output}`);
  return { status: status === null ? null : Number(status), output, share };
}

/** The same for a script that has to succeed; its output. */
export async function mustInMachine(job: Job): Promise<string> {
  const { status, output } = await runInMachine(job);
  if (status !== 0) throw new Error(`the script ended with ${status}:\n${output}`);
  return output;
}

function boot(disks: readonly Disk[], share: string): ChildProcess {
  const drives = disks.flatMap(({ name, path, keep }, i) => [
    "-drive",
    `if=none,id=d${i},format=raw,cache=unsafe,discard=unmap,detect-zeroes=unmap,file=${path.replaceAll(",", ",,")}${keep ? ",snapshot=on" : ""}`,
    "-device",
    `scsi-hd,drive=d${i},bus=scsi0.0,scsi-id=${Math.floor(i / 8)},lun=${i % 8},serial=${name}`,
  ]);
  const kernel = [
    ...["console=ttyS0", "quiet", "loglevel=1", "panic=1", "mitigations=off", "cryptomgr.notests", "tsc=reliable"],
    ...["no_timer_check", "raid=noautodetect", "audit=0"],
  ];
  const args = [
    ...["-accel", "tcg,thread=multi,tb-size=512", "-machine", "q35,usb=off,vmport=off", "-cpu", "max", "-smp", "2"],
    ...["-m", "1536", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"],
    ...["-kernel", join(HOME, "kernel"), "-initrd", join(HOME, "initrd.img"), "-append", kernel.join(" ")],
    ...["-drive", `if=none,id=root,format=raw,snapshot=on,cache=unsafe,file=${join(HOME, "root.img")}`],
    ...["-device", "virtio-blk-pci,drive=root", "-device", "virtio-scsi-pci,id=scsi0", "-device", "virtio-rng-pci"],
    ...["-fsdev", `local,id=share,path=${share},security_model=none,multidevs=remap`],
    ...["-device", "virtio-9p-pci,fsdev=share,mount_tag=share"],
    ...["-serial", `file:${join(share, "console.log")}`],
    ...drives,
  ];
  return spawn("qemu-system-x86_64", args, { stdio: ["ignore", "ignore", "pipe"] });
}

function collect(child: ChildProcess): () => string {
  let text = "";
  child.stderr?.on("data", (chunk: Buffer) => {
    text += chunk.toString();
  });
  return () => text;
}

/** The bundle and the packages that it loads. */
function packProgram(to: string): void {
  const packages = ["koffi", "@koromix", "@node-rs", "hash-wasm", "zstddec"]
    .map((name) => join("node_modules", name))
    .filter((path) => existsSync(path));
  const args = ["-C", resolve("."), "-cf", to, "--exclude=*.map", "--exclude=dist/lib", "dist", ...packages];
  execFileSync("tar", args, { stdio: ["ignore", "ignore", "inherit"] });
}

function emptyFile(path: string, size: number): void {
  closeSync(openSync(path, "w"));
  truncateSync(path, size);
}

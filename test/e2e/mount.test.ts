import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  closeSync,
  copyFileSync,
  fsyncSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Ajv } from "ajv";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { markedProcesses } from "../../src/host/marked-processes.ts";
import { seccompFilter } from "../../src/tools/seccomp.ts";
import { CLI, must, run, unterbau } from "../helpers/cli.ts";
import { type Facts, kernelFacts, mounted } from "../helpers/ext.ts";
import { copyOf, cutOut, type Guest, makeGuest, sha256File, toLuks1, toQcow2 } from "../helpers/guest.ts";
import { fileDisk, testGuests } from "../helpers/libvirt.ts";
import { populate } from "../helpers/populate.ts";

let folder: string;
let env: Record<string, string>;
let guest: Guest;
let qcow2: string;
/** The guest's own files, by the kernel's mount of the volume. */
let expected: Map<string, Facts>;
let count = 0;
const fresh = (name: string) => join(folder, `${count++}-${name}`);
const running = new Set<ChildProcess>();
const folders = new Set<string>();

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "unterbau-mount-"));
  chmodSync(folder, 0o755);
  env = { UNTERBAU_STATE_DIR: join(folder, "state") };
  guest = await makeGuest(folder, "mbr-lvm");
  qcow2 = join(folder, "guest.qcow2");
  await toQcow2(guest.disks[0]!, qcow2);
  const plain = join(folder, "plain.raw");
  cutOut(guest.disks[0]!, guest.root.offset, guest.root.size, plain);
  expected = await mounted(plain, folder, "ro,noload", kernelFacts);
});
afterAll(async () => {
  for (const child of running) child.kill("SIGKILL");
  for (const at of folders) await run("umount", ["-l", at]);
  rmSync(folder, { recursive: true, force: true });
});

interface Mounting {
  readonly child: ChildProcess;
  readonly at: string;
  /** What it has said so far. */
  said(): string;
  /** Its exit code, null when a signal ended it. */
  readonly ended: Promise<number | null>;
}

const USER = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];

/** Starts a mount and waits until it is there. */
async function mounting(
  source: string,
  args: readonly string[] = [],
  prefix: readonly string[] = [],
): Promise<Mounting> {
  const at = fresh("dir");
  mkdirSync(at);
  if (prefix.length > 0) chownSync(at, 65534, 65534);
  folders.add(at);
  const argv = [...prefix, process.execPath, CLI, "mount", source, at, ...args];
  const child = spawn(argv[0]!, argv.slice(1), {
    env: { ...process.env, ...env, NO_COLOR: "1" },
    stdio: ["ignore", "ignore", "pipe"],
  });
  running.add(child);
  let stderr = "";
  child.stderr!.on("data", (c: Buffer) => {
    stderr += c.toString();
  });
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
  while (!stderr.includes("Ctrl-C")) {
    if ((await Promise.race([ended.then(() => "ended"), sleep(20)])) === "ended")
      throw new Error(`${argv.join(" ")} ended:\n${stderr}`);
  }
  return { child, at, said: () => stderr, ended };
}

const lvm = (...more: string[]) => ["--volume", guest.selector, ...more];
const umount = (at: string) => unterbau(["umount", at], { env });
const isMounted = (at: string) => readFileSync("/proc/self/mountinfo", "utf8").includes(` ${at} `);

/** fuse2fs 1.47.2 with libfuse 3 has files numbered by that, whatever options it is given. */
const said = spawnSync("fuse2fs", ["-V"], { encoding: "utf8" });
const numbersKept = !(said.stdout.includes("FUSE library version 3") && said.stderr.includes("fuse2fs 1.47.2 "));
/** What both the kernel and fuse2fs tell: this one has no parts of seconds. */
const shared = (facts: Map<string, Facts>) =>
  [...facts]
    .map(([path, { type, mode, uid, gid, size, links, mtime, content, inode }]) => ({
      ...{ path, type, mode, uid, gid, links, content, ...(numbersKept ? { inode } : {}) },
      seconds: Math.floor(Number(mtime) / 1e9),
      size: type === "file" || type === "symlink" ? size : 0,
    }))
    .sort((a, b) => (a.path < b.path ? -1 : 1));

/** The processes of a mount, by the name of their program. */
function processesOf(mount: Mounting): Map<string, number> {
  const found = new Map<string, number>();
  const source = readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .find((line) => line.split(" ")[4] === mount.at)!
    .split(" - ")[1]!
    .split(" ")[1]!;
  for (const { pid, argv } of markedProcesses("UNTERBAU_MOUNT", source)) found.set(argv[0]!, pid);
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const argv = readFileSync(`/proc/${pid}/cmdline`, "latin1").split("\0");
      if (argv[0]!.endsWith("fusermount3") && argv.includes(mount.at)) found.set("fusermount3", Number(pid));
      const parent = Number(/^PPid:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"))![1]);
      if (argv[0]!.endsWith("bwrap") && parent === mount.child.pid) found.set("bwrap", Number(pid));
    } catch {
      // It has ended.
    }
  }
  return found;
}

async function gone(at: string): Promise<boolean> {
  for (let i = 0; i < 3000 && isMounted(at); i++) await sleep(10);
  return !isMounted(at);
}

describe("mount", () => {
  it("shows what the kernel shows: qcow2, partition, volume group; nothing is changed, and nothing is left", async () => {
    const before = await sha256File(qcow2);
    const m = await mounting(qcow2, lvm());
    expect(shared(kernelFacts(m.at))).toEqual(shared(expected));
    expect(expected.size).toBeGreaterThan(60);
    const options = await must("findmnt", ["-n", "-o", "OPTIONS", m.at]);
    for (const option of ["ro", "nosuid", "nodev", "noexec"]) expect(options.trim().split(",")).toContain(option);
    expect(() => writeFileSync(join(m.at, "new"), "x")).toThrow(/EROFS/);
    expect(await umount(m.at)).toMatchObject({ code: 0, stderr: "" });
    expect(await m.ended).toBe(0);
    expect(isMounted(m.at)).toBe(false);
    expect(await sha256File(qcow2)).toBe(before);
  });

  it("every kind of file, in an ext4 that was cut off in the middle of writing: its journal is replayed in memory", async () => {
    const image = fresh("crashed.img");
    await must("mke2fs", ["-q", "-F", "-t", "ext4", "-b", "1024", `${image}.live`, "64M"]);
    await mounted(`${image}.live`, folder, "data=ordered", async (root) => {
      populate(root);
      await must("sync", ["-f", root]);
      rmSync(join(root, "many"), { recursive: true });
      writeFileSync(join(root, "last"), "written last\n");
      await must("sync", ["-f", root]);
      copyFileSync(`${image}.live`, image);
    });
    const before = await sha256File(image);
    const m = await mounting(image, ["--volume", "disk1"]);
    expect(m.said()).toContain("its journal was replayed into memory; the disk is as it was");
    const seen = shared(kernelFacts(m.at));
    expect(await umount(m.at)).toMatchObject({ code: 0 });
    expect(await sha256File(image)).toBe(before);
    // The kernel replays its copy for real.
    const replayed = await mounted(copyOf(image, fresh("copy.img")), folder, "rw,noatime", kernelFacts);
    expect(replayed.has("/last")).toBe(true);
    expect(seen).toEqual(shared(replayed));
  });

  it("replays fast commits, too, which our own reader refuses", async () => {
    const image = fresh("fast.img");
    await must("mke2fs", ["-q", "-F", "-t", "ext4", "-O", "fast_commit", `${image}.live`, "64M"]);
    await mounted(`${image}.live`, folder, "noatime", async (root) => {
      writeFileSync(join(root, "before"), "");
      await must("sync", ["-f", root]);
      const fd = openSync(join(root, "fast"), "w");
      writeSync(fd, "small");
      fsyncSync(fd);
      closeSync(fd);
      copyFileSync(`${image}.live`, image);
    });
    expect((await unterbau(["ls", image, "--volume", "disk1"], { env })).stderr).toContain("fast commits");
    const m = await mounting(image, ["--volume", "disk1"]);
    expect(readFileSync(join(m.at, "fast"), "utf8")).toBe("small");
    expect((await umount(m.at)).code).toBe(0);
  });

  it("opens LUKS with a key; without one it says what to do", async () => {
    const luks = fresh("guest.luks");
    const key = fresh("key");
    await toLuks1(guest.disks[0]!, luks, key);
    const m = await mounting(luks, lvm("--key-file", key));
    expect(shared(kernelFacts(m.at))).toEqual(shared(expected));
    m.child.kill("SIGINT");
    expect(await m.ended).toBe(0);
    expect(await gone(m.at)).toBe(true);
    const locked = await unterbau(["mount", luks, "--volume", "disk1", m.at, "--no-prompt"], { env });
    expect([locked.code, locked.stderr]).toEqual([1, expect.stringContaining("--key-file")]);
    expect(isMounted(m.at)).toBe(false);
  });

  it("works without root, for that user alone", async () => {
    const disk = copyOf(qcow2, fresh("user.qcow2"));
    chmodSync(disk, 0o644);
    env = { ...env, UNTERBAU_STATE_DIR: fresh("user-state") };
    const m = await mounting(disk, lvm(), USER);
    expect(() => readdirSync(m.at)).toThrow(/EACCES/);
    const script = `cd "$1" && cat etc/hostname && find . -type f | wc -l`;
    const seen = await must("setpriv", [...USER.slice(1), "sh", "-c", script, "sh", m.at]);
    const files = [...expected.values()].filter(({ type }) => type === "file").length;
    expect(seen).toBe(`guest\n${files}\n`);
    const ended = await run("setpriv", [...USER.slice(1), process.execPath, CLI, "umount", m.at], { env });
    expect([ended.code, ended.stderr]).toEqual([0, ""]);
    expect(await m.ended).toBe(0);
  });

  it("takes a guest by its name, and an image that lies in a volume", async () => {
    const uri = testGuests(folder, [{ name: "web", devices: fileDisk(qcow2, "qcow2") }]);
    const named = await mounting("vm:web", lvm("--connect", uri));
    expect(readFileSync(join(named.at, "etc/hostname"), "utf8")).toBe("guest\n");
    expect((await umount(named.at)).code).toBe(0);
    const files = fresh("files");
    mkdirSync(files);
    copyFileSync(qcow2, join(files, "os.qcow2"));
    const outer = fresh("outer.img");
    await must("mke2fs", ["-q", "-F", "-t", "ext4", "-d", files, outer, "200M"]);
    const inside = await mounting(outer, lvm("--inside", "/os.qcow2"));
    expect(shared(kernelFacts(inside.at))).toEqual(shared(expected));
    expect((await umount(inside.at)).code).toBe(0);
  });

  it("has the program that reads the guest's bytes in a cage, though its files are seen outside", async () => {
    const m = await mounting(qcow2, lvm());
    const pid = processesOf(m).get("fuse2fs")!;
    const status = readFileSync(`/proc/${pid}/status`, "latin1");
    expect(status).toMatch(/^CapEff:\s*0+$/m);
    expect(status).toMatch(/^CapPrm:\s*0+$/m);
    expect(status).toMatch(/^NoNewPrivs:\s*1$/m);
    if (seccompFilter("server") !== null) expect(status).toMatch(/^Seccomp:\s*2$/m);
    for (const space of ["mnt", "net", "pid", "ipc", "uts", "user"])
      expect(readlinkSync(`/proc/${pid}/ns/${space}`), space).not.toBe(readlinkSync(`/proc/self/ns/${space}`));
    expect(readdirSync(`/proc/${pid}/root`).sort()).not.toContain("home");
    // What it sees as /dev/fuse is nothing.
    expect(statSync(`/proc/${pid}/root/dev/fuse`).rdev).toBe(statSync("/dev/null").rdev);
    expect(readdirSync(`/proc/${pid}/root/usr/bin`).sort()).toEqual(["fuse2fs", "fusermount", "fusermount3"]);
    expect((await umount(m.at)).code).toBe(0);
  });

  it("--json: one document when it is there, one when it is gone", async () => {
    const at = fresh("dir");
    mkdirSync(at);
    folders.add(at);
    const child = spawn(process.execPath, [CLI, "mount", qcow2, at, ...lvm("--json")], {
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "inherit"],
    });
    running.add(child);
    const ended = new Promise((resolve) => child.once("close", resolve));
    let text = "";
    for await (const chunk of child.stdout!) {
      text += chunk;
      if (text.endsWith("}\n")) break;
    }
    const doc = JSON.parse(text) as object;
    expect(doc).toMatchObject({ folder: at, volume: guest.selector, pid: child.pid });
    const ajv = new Ajv({ strict: true });
    const valid = (verb: string, value: object) =>
      ajv.validate(JSON.parse(readFileSync(`docs/schemas/${verb}.json`, "utf8")) as object, value);
    expect(valid("mount", doc)).toBe(true);
    const gone = await unterbau(["umount", at, "--json"], { env });
    const end = JSON.parse(gone.stdout.toString()) as object;
    expect(end).toMatchObject({ folder: at, outcome: "unmounted" });
    expect(valid("umount", end)).toBe(true);
    await ended;
  });

  it("keeps writers away as long as it is there, and no longer", async () => {
    const disk = copyOf(qcow2, fresh("locked.qcow2"));
    const m = await mounting(disk, lvm());
    const write = () => run("qemu-io", ["-f", "qcow2", "-c", "write 0 512", disk]);
    expect((await write()).stderr).toContain("Is another process using the image");
    expect((await umount(m.at)).code).toBe(0);
    expect((await write()).code).toBe(0);
  });
});

describe("the end of a mount", () => {
  it.each(["main", "bwrap", "fuse2fs", "sleep", "fusermount3"])("%s killed: nothing stays", async (victim) => {
    const m = await mounting(qcow2, lvm());
    const pids = processesOf(m);
    const pid = victim === "main" ? m.child.pid! : pids.get(victim)!;
    expect(pid).toBeGreaterThan(1);
    process.kill(pid, "SIGKILL");
    if (victim === "sleep" || victim === "fusermount3") {
      // They have done their part: the files are still there.
      expect(readFileSync(join(m.at, "etc/hostname"), "utf8")).toBe("guest\n");
      expect((await umount(m.at)).code).toBe(0);
      expect(await m.ended).toBe(0);
    } else {
      const code = await m.ended;
      if (victim !== "main")
        expect([code, m.said()]).toEqual([1, expect.stringMatching(/fuse2fs (was ended by|ended)/)]);
    }
    expect(await gone(m.at)).toBe(true);
    const again = await unterbau(["umount", m.at], { env });
    expect([again.code, again.stderr]).toEqual([2, expect.stringContaining("nothing of unterbau's is mounted")]);
  });

  // In a mount namespace of its own: whatever else runs doctor meanwhile would take it away first.
  const LEFT = `
    at=$1 source=$2 volume=$3 log=$at.log; shift 3
    "$@" mount "$source" "$at" --volume "$volume" 2>"$log" & pid=$!
    until grep -q Ctrl-C "$log"; do kill -0 $pid || exit 97; sleep 0.05; done
    kill -9 $(pgrep -f "^[^ ]*fusermount3 .* $at$") $pid
    until ls "$at" 2>&1 | grep -q 'not connected'; do sleep 0.05; done
    grep -q " $at " /proc/self/mountinfo || exit 99
    case $verb in
    mount) "$@" mount "$source" "$at.none" --volume "$volume" ;;
    umount) "$@" umount "$at" ;;
    doctor) "$@" doctor ;;
    esac
    ! grep -q " $at " /proc/self/mountinfo || exit 98`;

  it.each(["mount", "umount", "doctor"])(
    "what is left when all are killed, %s takes away and says so",
    async (verb) => {
      const at = fresh("dir");
      mkdirSync(at);
      const argv = ["-m", "sh", "-c", LEFT, "sh", at, qcow2, guest.selector, process.execPath, CLI];
      const r = await run("unshare", argv, { env: { ...env, verb } });
      expect(r.code).toBe(0);
      expect(r.stderr).toContain("had been killed");
      expect(r.stderr).toContain(at);
    },
  );

  it("a mount that is in use stays, and who uses it is named; Ctrl-C ends it all the same", async () => {
    const m = await mounting(qcow2, lvm());
    const user = spawn("sleep", ["600"], { cwd: join(m.at, "etc"), stdio: "ignore" });
    running.add(user);
    const refused = await umount(m.at);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain(`cannot unmount ${m.at}: it is in use by sleep (pid ${user.pid})`);
    expect(readFileSync(join(m.at, "etc/hostname"), "utf8")).toBe("guest\n");
    m.child.kill("SIGINT");
    expect(await m.ended).toBe(0);
    expect(m.said()).toContain(`still in use by sleep (pid ${user.pid})`);
    expect(isMounted(m.at)).toBe(false);
    user.kill();
  });
});

describe("what mount refuses", () => {
  const refused = async (...args: string[]) => {
    const r = await unterbau(["mount", ...args], { env });
    return [r.code, r.stderr];
  };

  it("folders that are not there, not empty, no folder, or mounted on", async () => {
    const full = fresh("full");
    mkdirSync(full);
    writeFileSync(join(full, "file"), "");
    expect(await refused(qcow2, full, ...lvm())).toEqual([2, expect.stringContaining("it is not empty")]);
    expect(await refused(qcow2, join(full, "file"), ...lvm())).toEqual([2, expect.stringContaining("it is no folder")]);
    expect(await refused(qcow2, fresh("none"), ...lvm())).toEqual([2, expect.stringContaining("it is not there")]);
    expect(await refused(qcow2, ...lvm())).toEqual([2, expect.stringContaining("no folder is named")]);
    const link = fresh("link");
    symlinkSync("/nowhere", link);
    expect(await refused(qcow2, link, ...lvm())).toEqual([2, expect.stringContaining("it is not there")]);
    const m = await mounting(qcow2, lvm());
    expect(await refused(qcow2, m.at, ...lvm())).toEqual([2, expect.stringContaining("mounted there already")]);
    expect((await umount(m.at)).code).toBe(0);
  });

  it("other file systems, by their names, with the way to them", async () => {
    const at = fresh("dir");
    mkdirSync(at);
    for (const [type, ...make] of [
      ["xfs", "mkfs.xfs", "-q"],
      ["btrfs", "mkfs.btrfs", "-q"],
      ["vfat", "mkfs.vfat"],
    ]) {
      const image = fresh(`${type}.img`);
      await must("truncate", ["-s", "320M", image]);
      await must(make[0]!, [...make.slice(1), image]);
      const [code, stderr] = await refused(image, at, "--volume", "disk1");
      expect([code, stderr]).toEqual([1, expect.stringContaining(`disk1 holds ${type}`)]);
      expect(stderr).toContain("export");
    }
  });

  it("a damaged ext4: said by fuse2fs, nothing stays", async () => {
    const image = fresh("bad.img");
    await must("mke2fs", ["-q", "-F", "-t", "ext4", "-b", "1024", image, "16M"]);
    // All of the group descriptors, and the root's inode with them.
    await must("dd", ["if=/dev/zero", `of=${image}`, "bs=1024", "seek=2", "count=400", "conv=notrunc", "status=none"]);
    const at = fresh("dir");
    mkdirSync(at);
    expect(await refused(image, at, "--volume", "disk1")).toEqual([1, expect.stringContaining("fuse2fs")]);
    expect(isMounted(at)).toBe(false);
  });

  it("a host without fuse2fs or fusermount3, by their packages", async () => {
    const at = fresh("dir");
    mkdirSync(at);
    for (const [hidden, name] of [
      ["/usr/bin/fuse2fs", "fuse2fs"],
      ["/usr/bin/fusermount3", "fuse3"],
    ]) {
      const argv = [
        "-m",
        "sh",
        "-c",
        'mount --bind /dev/null "$1"; for f in /bin/fusermount; do [ "$1" = /usr/bin/fuse2fs ] || mount --bind /dev/null "$f"; done 2>/dev/null; shift; exec "$@"',
      ];
      const r = await run("unshare", [...argv, "sh", hidden!, process.execPath, CLI, "mount", qcow2, at, ...lvm()], {
        env,
      });
      expect([r.code, r.stderr]).toEqual([1, expect.stringContaining(`install the package ${name}`)]);
    }
  });
});

// The table: each row measures ours and a peer on the same input, one after the other, and gives a ratio with its target.
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { chains } from "./chains.mjs";
import { emptyLuks2, grown, guest, KEY, luks1Of, qcow2Of, realData, renewed, WORK } from "./inputs.mjs";
import { compare, dropCaches, once, settleMemory } from "./measure.mjs";

const CLI = ["node", "dist/cli.js"];
const MIB = 1024 * 1024;
const SMALL = { disk: 16, lv: 8, files: 100_000 };
const LARGE = { disk: 68, lv: 64, files: 1_000_000 };
const LUKS_IMAGE = (path) => `driver=luks,key-secret=k,file.filename=${path}`;
const SECRET = ["--object", `secret,id=k,file=${KEY}`];

/** `figure`: what the ratio is of. `better`: "less" (time) or "more" (rate). */
const ratio = (ours, theirs, figure = "seconds") => ours[figure] / theirs[figure];

export const rows = {
  async inspect() {
    const { qcow2 } = guest("guest", SMALL);
    const peers = {
      "qemu-img info": [["qemu-img", "info", qcow2], "< 8"],
      "qemu-img info, blkid": [`qemu-img info ${qcow2} && { blkid -p ${qcow2} || true; }`, "<= 4"],
    };
    const out = [];
    for (const [peer, [command, target]] of Object.entries(peers)) {
      const [ours, theirs] = await compare([() => once([...CLI, "inspect", qcow2]), () => once(command)], {
        rounds: 9,
      });
      out.push({ work: "inspect, 16 GiB qcow2 with LVM", peer, ours, theirs, ratio: ratio(ours, theirs), target });
    }
    return out;
  },

  /** libguestfs boots a machine of its own for each look. */
  async libguestfs() {
    if (spawnSync("sh", ["-c", "command -v virt-filesystems"]).status !== 0) {
      console.error("bench: virt-filesystems (libguestfs-tools) is not here: its row is left out");
      return [];
    }
    const { qcow2 } = guest("guest", SMALL);
    const peer = ["virt-filesystems", "-a", qcow2, "--all", "--long"];
    const env = { LIBGUESTFS_BACKEND: "direct" };
    const [ours, theirs] = await compare([() => once([...CLI, "inspect", qcow2]), () => once(peer, { env })], {
      rounds: 1,
    });
    const r = { ours, theirs, ratio: theirs.seconds / ours.seconds, target: ">= 50 times faster", figure: "faster" };
    return [{ work: "inspect, 16 GiB qcow2 with LVM", peer: "virt-filesystems (libguestfs)", ...r }];
  },

  async start() {
    const out = [];
    for (const flag of ["--version", "--help"]) {
      const [ours, theirs] = await compare([() => once([...CLI, flag]), () => once(["node", "-e", "0"])], {
        rounds: 9,
      });
      out.push({
        work: `start-up (${flag})`,
        peer: "node -e 0",
        ours,
        theirs,
        ratio: ratio(ours, theirs),
        target: "<= 1.5",
      });
    }
    return out;
  },

  async check() {
    const input = guest("guest", SMALL);
    return checks("8 GiB, 100,000 files", input, { plain: "<= 3", chain: "< 1", rounds: 5, withChains: true });
  },

  async checkLarge() {
    return checks("64 GiB, 1,000,000 files", guest("large", LARGE), {
      plain: "<= 1.5",
      chain: "",
      rounds: 5,
      withChains: false,
    });
  },

  async checkLargeLuks() {
    const { qcow2, raw } = guest("large", LARGE);
    const luks = emptyLuks2(
      "large-luks2",
      LARGE.disk * 1024 * MIB,
      "--pbkdf",
      "pbkdf2",
      "--pbkdf-force-iterations",
      "1000",
    );
    if (!existsSync(`${luks}.filled`)) {
      once(["node", "bench/fill-luks.mjs", qcow2, luks, KEY]);
      once(["touch", `${luks}.filled`]);
    }
    const check = () => once([...CLI, "check", luks, "--key-file", KEY, "--volume", "lvg1/lvroot"]);
    const [ours, theirs] = await compare([check, () => once(["e2fsck", "-fn", raw])], { before: dropCaches });
    return [
      {
        work: "check in LUKS2, 64 GiB, 1,000,000 files, cold",
        peer: "e2fsck -fn, plain file",
        ours,
        theirs,
        ratio: ratio(ours, theirs),
        target: "<= 2",
      },
    ];
  },

  async luksRead() {
    // As much as makes the start of the command a small part: the figure is a rate.
    const mib = 4096;
    const raw = realData(mib);
    const luks = renewed(luks1Of(raw));
    const theirs0 = ["qemu-img", "convert", "-n", "-m", "16", "-W", ...SECRET, "--image-opts", "--target-image-opts"];
    const peer = () => once([...theirs0, LUKS_IMAGE(luks), `driver=null-co,size=${mib * MIB}`]);
    const read = (image) => once([...CLI, "read", image, "--key-file", KEY, "--volume", "disk1"], { pipe: true });
    const ours512 = () => read(luks);
    const big = emptyLuks2(
      `data-luks2-4k-${mib}`,
      mib * MIB,
      "--sector-size",
      "4096",
      "--pbkdf",
      "pbkdf2",
      "--pbkdf-force-iterations",
      "1000",
    );
    if (!existsSync(`${big}.filled`)) {
      once([...CLI, "convert", raw, big, "--to", "luks", "--target-key-file", KEY, "--overwrite"]);
      once(["touch", `${big}.filled`]);
    }
    renewed(big);
    const ours4k = () => read(big);
    const alone = (image) => () =>
      JSON.parse(spawnSync("node", ["bench/decrypt.mjs", image, KEY], { encoding: "utf8" }).stdout);
    const [a, b, theirs, own512, own4k] = await compare([ours512, ours4k, peer, alone(luks), alone(big)]);
    const per = (work, ours) => ({
      work,
      peer: "qemu-img convert to null-co",
      ours,
      theirs,
      ratio: theirs.cpu / ours.cpu,
      target: ">= 3 per CPU second",
      figure: "rate per CPU second",
    });
    const openssl = opensslRate();
    const share = (work, ours) => ({
      work,
      peer: "openssl speed aes-256-xts",
      ours,
      theirs: { seconds: mib / openssl, mib: 0 },
      ratio: mib / ours.cpu / openssl,
      target: ">= 0.3",
      figure: "rate per core",
    });
    return [
      per("read LUKS1, 512-byte sectors, 4 GiB", a),
      per("read LUKS2, 4096-byte sectors, 4 GiB", b),
      share("the whole command, 512", a),
      share("the whole command, 4096", b),
      share("reading and decrypting in it, 512", own512),
      share("reading and decrypting in it, 4096", own4k),
    ];
  },

  async luksWrite() {
    const raw = realData(1024);
    const luks = renewed(luks1Of(raw));
    const peer = () =>
      once([
        "qemu-img",
        "convert",
        "-n",
        "-m",
        "16",
        "-W",
        ...SECRET,
        "--target-image-opts",
        "-f",
        "raw",
        raw,
        LUKS_IMAGE(luks),
      ]);
    const own = () => once([...CLI, "convert", raw, luks, "--to", "luks", "--target-key-file", KEY, "--overwrite"]);
    // qemu-img leaves its bytes to the system: who writes next is not to be measured with them.
    const [ours, theirs] = await compare([own, peer], { before: () => spawnSync("sync") });
    const row = (figure, target, work) => ({
      work,
      peer: "qemu-img convert -O luks -n",
      ours,
      theirs,
      ratio: theirs[figure] / ours[figure],
      target,
      figure: figure === "cpu" ? "rate per CPU second" : "rate",
    });
    return [row("cpu", ">= 3", "raw to LUKS, 1 GiB"), row("seconds", ">= 2", "raw to LUKS, 1 GiB")];
  },

  async fromQcow2() {
    const raw = realData(1024);
    const out = [];
    for (const compression of [null, "zlib", "zstd"]) {
      const source = qcow2Of(raw, compression);
      const target = `${WORK}/out.raw`;
      const before = () => {
        rmSync(target, { force: true });
        settleMemory(target, 1280);
      };
      const own = () => once([...CLI, "convert", source, target]);
      const [ours, theirs] = await compare(
        [own, () => once(["qemu-img", "convert", "-m", "8", "-t", "writeback", "-O", "raw", source, target])],
        { before, rounds: 3 },
      );
      before();
      out.push({
        work: `qcow2 (${compression ?? "plain"}) to raw, 1 GiB`,
        // So that both end with the bytes on the disk; qemu-img's default leaves them to the system.
        peer: "qemu-img convert -m 8 -t writeback",
        ours,
        theirs,
        ratio: theirs.seconds / ours.seconds,
        target: ">= 1",
        figure: "rate",
      });
    }
    return out;
  },

  async unlock() {
    const luks = emptyLuks2(
      "argon2",
      32 * MIB,
      "--pbkdf",
      "argon2id",
      "--pbkdf-memory",
      "1048576",
      "--pbkdf-parallel",
      "4",
      "--pbkdf-force-iterations",
      "4",
    );
    const peer = () => once(["cryptsetup", "open", "--test-passphrase", "--key-file", KEY, luks]);
    const [ours, theirs] = await compare([() => once([...CLI, "inspect", luks, "--key-file", KEY]), peer]);
    return [
      {
        work: "unlock, Argon2id with 1 GiB",
        peer: "cryptsetup --test-passphrase",
        ours,
        theirs,
        ratio: ratio(ours, theirs, "cpu"),
        target: "<= 1",
        figure: "CPU time",
      },
    ];
  },

  /** Every verb that reads disks, on a guest whose virtual disk is large. A count, not a time. */
  async memory() {
    const { qcow2 } = guest("guest", SMALL);
    const image = grown(qcow2, 16_384);
    const root = ["--volume", "lvg1/lvroot"];
    const scratch = mkdtempSync(join(tmpdir(), "unterbau-bench-"));
    const verbs = {
      inspect: [image],
      check: [image, ...root],
      read: [image, ...root],
      exec: [image, ...root, "--", "dumpe2fs", "-h", "{}"],
      "ls -R": [image, ...root, "-R", "/"],
      cat: [image, ...root, "/d1/f10"],
      cp: [image, ...root, "-r", "/d1", join(scratch, "d1")],
      convert: [image, join(scratch, "all.qcow2")],
    };
    const out = Object.entries(verbs).map(([verb, args]) => {
      const ours = once([...CLI, verb.split(" ")[0], ...args]);
      const limit = { seconds: 0, mib: 256 };
      return {
        work: `memory of ${verb}, 16 TiB virtual`,
        peer: "256 MiB",
        ours,
        theirs: limit,
        ratio: ours.mib / limit.mib,
        target: "<= 1",
        figure: "memory",
      };
    });
    rmSync(scratch, { recursive: true });
    return out;
  },

  async nbd() {
    const raw = realData(1024);
    const clients = {
      "4 KiB random reads": [
        (uri) => [
          "qemu-img",
          "bench",
          "-f",
          "raw",
          "-c",
          "20000",
          "-d",
          "1",
          "-s",
          "4096",
          "-S",
          String(52_429 * 4096),
          uri,
        ],
        ">= 0.5",
      ],
      "256 KiB sequential reads": [
        (uri) => ["nbdcopy", "--request-size=262144", "--connections=1", uri, "null:"],
        ">= 0.8",
      ],
    };
    const out = [];
    for (const [what, [client, target]] of Object.entries(clients)) {
      const own = () =>
        served((s) => [...CLI, "export", raw, "--format", "raw", "--volume", "disk1", "--nbd", s], client);
      const peer = () => served((s) => ["qemu-nbd", "-r", "-t", "-f", "raw", "-k", s, raw], client);
      const [ours, theirs] = await compare([own, peer]);
      out.push({
        work: `NBD server, ${what}`,
        peer: "qemu-nbd",
        ours,
        theirs,
        ratio: theirs.seconds / ours.seconds,
        target,
        figure: "rate",
      });
    }
    return out;
  },
};

async function checks(what, input, { plain, chain, rounds, withChains }) {
  const out = [];
  const check = () => once([...CLI, "check", input.qcow2, "--volume", "lvg1/lvroot"]);
  for (const [state, before] of [
    ["cold", dropCaches],
    ["warm", () => {}],
  ]) {
    const [ours, theirs] = await compare([check, () => once(["e2fsck", "-fn", input.raw])], { rounds, before });
    out.push({
      work: `check, ${what}, ${state}`,
      peer: "e2fsck -fn, plain file",
      ours,
      theirs,
      ratio: ratio(ours, theirs),
      target: plain,
    });
    for (const [peer, candidate] of withChains ? Object.entries(chains(input)) : []) {
      const [own, other] = await compare([check, candidate], { rounds, before });
      out.push({
        work: `check, ${what}, ${state}`,
        peer,
        ours: own,
        theirs: other,
        ratio: ratio(own, other),
        target: chain,
      });
    }
  }
  return out;
}

/** MiB/s of one core. */
function opensslRate() {
  const text = spawnSync("openssl", ["speed", "-elapsed", "-bytes", "16384", "-seconds", "2", "-evp", "aes-256-xts"], {
    encoding: "utf8",
  }).stdout;
  const rate = /AES-256-XTS\s+([\d.]+)k/i.exec(text)?.[1];
  // openssl counts in thousands of bytes.
  return (Number(rate) * 1000) / MIB;
}

/** Starts a server on a socket and times a client of it; the server's start is not counted. */
async function served(server, client) {
  const folder = mkdtempSync(join(tmpdir(), "unterbau-bench-"));
  const socket = join(folder, "s");
  const [program, ...args] = server(socket);
  const child = spawn(program, args, { stdio: "ignore" });
  const ended = new Promise((resolve) => child.on("exit", resolve));
  while (!existsSync(socket)) await sleep(5);
  await sleep(50);
  const result = once(client(`nbd+unix:///?socket=${socket}`));
  child.kill("SIGTERM");
  await ended;
  rmSync(folder, { recursive: true, force: true });
  return result;
}

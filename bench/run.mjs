// Ratios beside other tools, both measured in one run on the same input. Absolute times mean nothing on shared machines.
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { guest } from "./inputs.mjs";
import { compare, dropCaches, median, once } from "./measure.mjs";

if (process.getuid() !== 0) {
  console.error("bench: making the inputs and dropping the page cache need root");
  process.exit(1);
}
const CLI = ["node", "dist/cli.js"];
const rows = [];
const row = (work, peer, ours, theirs, target) => {
  const ratio = ours.seconds / theirs.seconds;
  rows.push({
    work,
    peer,
    ratio,
    target,
    oursSeconds: ours.seconds,
    peerSeconds: theirs.seconds,
    oursMiB: ours.mib,
    peerMiB: theirs.mib,
  });
  console.log(
    `${work.padEnd(46)} beside ${peer.padEnd(34)} ${ratio.toFixed(2).padStart(6)} x  (${ours.seconds.toFixed(3)} s / ${theirs.seconds.toFixed(3)} s, ${ours.mib.toFixed(0)} MiB)  ${target}`,
  );
};

const input = guest();

{
  const [ours, theirs] = compare(
    [() => once([...CLI, "inspect", input.qcow2]), () => once(["qemu-img", "info", input.qcow2])],
    9,
  );
  row("inspect, 16 GiB qcow2 with LVM", "qemu-img info", ours, theirs, "target < 8");
}
{
  const [ours, theirs] = compare([() => once([...CLI, "--version"]), () => once(["node", "-e", "0"])], 9);
  row("start-up (--version)", "node -e 0", ours, theirs, "");
}

const check = () => once([...CLI, "check", input.qcow2, "--volume", "lvg1/lvroot"]);
for (const [state, before] of [
  ["cold", dropCaches],
  ["warm", () => {}],
]) {
  {
    const [ours, theirs] = compare([check, () => once(["e2fsck", "-fn", input.raw])], 5, before);
    row(`check, 8 GiB ext4, 100,000 files, ${state}`, "e2fsck -fn on the plain file", ours, theirs, "");
  }
  const chain = await handMadeChain(state === "cold" ? dropCaches : () => {});
  if (chain)
    row(
      `check, 8 GiB ext4, 100,000 files, ${state}`,
      "qemu-nbd, nbdfuse, e2fsck -fn",
      chain.ours,
      chain.theirs,
      "target < 1",
    );
}

mkdirSync("bench/results", { recursive: true });
writeFileSync("bench/results/latest.json", `${JSON.stringify({ node: process.version, rows }, null, 2)}\n`);

/** qemu-nbd on a socket, nbdfuse makes a file of it, e2fsck checks the volume at its offset: set up, check, tear down. */
async function handMadeChain(before) {
  if (!existsSync("/usr/bin/nbdfuse")) return null;
  const ours = [];
  const theirs = [];
  for (let round = -1; round < 5; round++) {
    before();
    const own = check();
    before();
    const folder = mkdtempSync(join(tmpdir(), "unterbau-bench-"));
    const socket = join(folder, "s");
    const file = join(folder, "disk");
    writeFileSync(file, "");
    const started = process.hrtime.bigint();
    const nbd = spawn("qemu-nbd", ["-r", "-t", "-k", socket, "-f", "qcow2", input.qcow2], { stdio: "ignore" });
    while (!existsSync(socket)) await sleep(2);
    const fuse = spawn("nbdfuse", ["-r", file, "--unix", socket], { stdio: "ignore" });
    while (spawnSync("stat", ["-c", "%s", file], { encoding: "utf8" }).stdout.trim() === "0") await sleep(2);
    const result = once(["e2fsck", "-fn", `${file}?offset=${input.offset}`]);
    spawnSync("umount", [file]);
    await new Promise((r) => fuse.on("exit", r));
    nbd.kill();
    await new Promise((r) => nbd.on("exit", r));
    const seconds = Number(process.hrtime.bigint() - started) / 1e9;
    rmSync(folder, { recursive: true });
    if (round >= 0) {
      ours.push(own);
      theirs.push({ seconds, mib: result.mib });
    }
  }
  const mid = (rs) => ({ seconds: median(rs.map((r) => r.seconds)), mib: median(rs.map((r) => r.mib)) });
  return { ours: mid(ours), theirs: mid(theirs) };
}

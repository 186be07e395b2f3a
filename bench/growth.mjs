// How the work grows: inspect with the virtual size, check with the number of files, convert with the allocated data, each at 1, 4 and 16 times the
// work beside a peer. Prints a table and draws docs/performance.svg.
//   node bench/growth.mjs [ROW...]
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { grown, guest, realData, sparseQcow2, WORK } from "./inputs.mjs";
import { compare, dropCaches, once, settleMemory } from "./measure.mjs";
import { plot } from "./plot.mjs";

const CLI = ["node", "dist/cli.js"];
const FILE = "bench/results/growth.json";

const panels = {
  async inspect() {
    const { qcow2 } = guest("guest", { disk: 16, lv: 8, files: 100_000 });
    const points = [];
    for (const gib of [16, 64, 256, 16_384]) {
      const image = gib === 16 ? qcow2 : grown(qcow2, gib);
      const [ours, peer] = await compare([
        () => once([...CLI, "inspect", image]),
        () => once(["qemu-img", "info", image]),
      ]);
      points.push({ x: gib, ours, peer, readKiB: bytesRead([...CLI, "inspect", image], image) / 1024 });
    }
    return { title: "inspect", x: "GiB of the virtual disk", peer: "qemu-img info", points };
  },

  async check() {
    const points = [];
    for (const [name, shape] of [
      ["grow-25k", { disk: 6, lv: 2, files: 25_000 }],
      ["guest", { disk: 16, lv: 8, files: 100_000 }],
      ["grow-400k", { disk: 40, lv: 32, files: 400_000 }],
    ]) {
      const { qcow2, raw } = guest(name, shape);
      const [ours, peer] = await compare(
        [() => once([...CLI, "check", qcow2, "--volume", "lvg1/lvroot"]), () => once(["e2fsck", "-fn", raw])],
        { before: dropCaches },
      );
      points.push({ x: shape.files, ours, peer });
    }
    return { title: "check, cold", x: "files", peer: "e2fsck -fn, plain file", points };
  },

  async convert() {
    const points = [];
    for (const mib of [256, 1024, 4096]) {
      const source = sparseQcow2(realData(mib), mib);
      const target = `${WORK}/grown.raw`;
      const remove = () => {
        rmSync(target, { force: true });
        settleMemory(target, 1.25 * mib);
      };
      const [ours, peer] = await compare(
        [
          () => once([...CLI, "convert", source, target]),
          () => once(["qemu-img", "convert", "-m", "8", "-t", "writeback", "-O", "raw", source, target]),
        ],
        { rounds: 3, before: remove },
      );
      remove();
      points.push({ x: mib, ours, peer });
    }
    return {
      title: "convert qcow2 to raw",
      x: "MiB allocated of 64 GiB",
      peer: "qemu-img convert -t writeback",
      points,
    };
  },
};

/** Bytes that a command reads of one file. */
function bytesRead(command, file) {
  const trace = `${WORK}/reads.txt`;
  spawnSync("strace", ["-f", "-y", "-e", "trace=read,pread64", "-o", trace, ...command], { stdio: "ignore" });
  const text = readFileSync(trace, "utf8");
  rmSync(trace);
  const lines = text.split("\n").filter((line) => line.includes(`/${file.split("/").at(-1)}>`));
  return lines.reduce((sum, line) => sum + Number(/= (\d+)$/.exec(line)?.[1] ?? 0), 0);
}

const wanted = process.argv.slice(2);
mkdirSync("bench/results", { recursive: true });
let results = {};
try {
  results = JSON.parse(readFileSync(FILE, "utf8"));
} catch {
  // The first run.
}
for (const [name, measure] of Object.entries(panels)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  results[name] = await measure();
  for (const { x, ours, peer, readKiB } of results[name].points) {
    const read = readKiB === undefined ? "" : `, ${readKiB.toFixed(0)} KiB read`;
    console.log(
      `${name.padEnd(8)} ${String(x).padStart(7)} ${results[name].x.padEnd(24)} ${ours.seconds.toFixed(2)} s / ${peer.seconds.toFixed(2)} s ` +
        `= ${(ours.seconds / peer.seconds).toFixed(2)} x ${results[name].peer}, ${ours.mib.toFixed(0)} MiB${read}`,
    );
  }
  writeFileSync(FILE, `${JSON.stringify(results, null, 2)}\n`);
}
writeFileSync("docs/performance.svg", plot(Object.values(results)));

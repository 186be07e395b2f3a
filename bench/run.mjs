// Ratios beside other tools, both measured in one run on the same input. Absolute times mean nothing on shared machines.
//   node bench/run.mjs [ROW...]      rows: see rows.mjs; none: all
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { rows } from "./rows.mjs";

if (process.getuid() !== 0) {
  console.error("bench: making the inputs and dropping the page cache need root");
  process.exit(1);
}
const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !Object.hasOwn(rows, name));
if (unknown.length > 0) {
  console.error(`bench: no row is called ${unknown.join(", ")}; there are ${Object.keys(rows).join(", ")}`);
  process.exit(2);
}
const FILE = "bench/results/latest.json";
mkdirSync("bench/results", { recursive: true });
let before = {};
try {
  before = JSON.parse(readFileSync(FILE, "utf8")).rows;
} catch {
  // The first run.
}
const results = { ...before };
for (const [name, measure] of Object.entries(rows)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  results[name] = await measure();
  for (const r of results[name]) console.log(line(r));
  writeFileSync(FILE, `${JSON.stringify({ node: process.version, cpus: cpus().length, rows: results }, null, 2)}\n`);
}

function line({ work, peer, ours, theirs, ratio, target, figure = "time" }) {
  const times = `${ours.seconds.toFixed(2)} s / ${theirs.seconds.toFixed(2)} s, ${ours.mib.toFixed(0)} MiB`;
  return `${work.padEnd(46)} beside ${peer.padEnd(30)} ${ratio.toFixed(2).padStart(6)} x ${figure}  (${times})  ${target}`;
}

// Puts the measured table between the marks `<!-- bench -->` and `<!-- /bench -->` of README.md and docs/performance.md.
import { existsSync, readFileSync, writeFileSync } from "node:fs";

const { node, cpus, rows } = JSON.parse(readFileSync("bench/results/latest.json", "utf8"));
/** Takes an hour, so it is not measured each time: then the page keeps the figures that it has. */
const GROWTH = "bench/results/growth.json";
const growth = existsSync(GROWTH) ? JSON.parse(readFileSync(GROWTH, "utf8")) : null;
/** What a reader of the README wants to know first. */
const SHORT = ["inspect", "libguestfs", "start", "check", "luksRead", "luksWrite", "fromQcow2", "unlock"];

const seconds = (s) => (s < 0.1 ? s.toFixed(3) : s.toFixed(2));
const cell = ({ work, peer, ours, theirs, ratio, target, figure = "time" }) => {
  const times = theirs.seconds > 0 ? ` (${seconds(ours.seconds)} s / ${seconds(theirs.seconds)} s)` : "";
  return `| ${work} | ${peer} | ${ratio.toFixed(2)} × ${figure}${times} | ${target || "-"} | ${ours.mib.toFixed(0)} MiB |`;
};
const table = (names) => [
  "| work | beside | ours / theirs (a rate: theirs / ours) | wanted | memory |",
  "|---|---|---|---|---|",
  ...names.flatMap((name) => (rows[name] ?? []).map(cell)),
];
const grown = Object.values(growth ?? {}).flatMap(({ title, x, peer, points }) => [
  "",
  `| ${title}: ${x} | ours | ${peer} | ratio | memory |${points[0].readKiB === undefined ? "" : " read |"}`,
  `|---|---|---|---|---|${points[0].readKiB === undefined ? "" : "---|"}`,
  ...points.map(
    (p) =>
      `| ${p.x.toLocaleString("en")} | ${seconds(p.ours.seconds)} s | ${seconds(p.peer.seconds)} s | ${(p.ours.seconds / p.peer.seconds).toFixed(2)} | ${p.ours.mib.toFixed(0)} MiB |` +
      (p.readKiB === undefined ? "" : ` ${p.readKiB.toFixed(0)} KiB |`),
  ),
]);

put("README.md", "bench", table(SHORT));
put("docs/performance.md", "bench", [`Node ${node}, ${cpus} cores.`, "", ...table(Object.keys(rows))]);
if (growth) put("docs/performance.md", "growth", grown);

function put(file, mark, lines) {
  const text = readFileSync(file, "utf8");
  const place = new RegExp(`(<!-- ${mark} -->\n)[^]*?(\n<!-- /${mark} -->)`);
  if (!place.test(text)) throw new Error(`${file} has no place for ${mark}`);
  writeFileSync(
    file,
    text.replace(place, (_, before, after) => before + lines.join("\n") + after),
  );
}

// Turns what capture.sh recorded into the trees that tests take: `node overlays.mjs RECORDED OUT`.
// OUT/host: the host as it should be; OUT/cases/NAME: what is different there; OUT/verdicts.json: what the audit in the machine said, live; of a case what
// it said otherwise.
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

const [from, out] = process.argv.slice(2);
const json = (path) => JSON.parse(readFileSync(path, "utf8"));
const put = (path, content) => {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
};
const pretty = (value) => `${JSON.stringify(value, null, 1)}\n`;

/** All files of a tree but its record. */
function files(root, below = "") {
  return readdirSync(join(root, below)).flatMap((name) => {
    const path = join(below, name);
    if (path === ".recorded") return [];
    return statSync(join(root, path)).isDirectory() ? files(root, path) : [path];
  });
}

/** Of a list of packages' sums only the head says something here: whose it is, and of when. Of long configurations all but lines of comments. */
function cut(path, text) {
  if (/_InRelease$/.test(path)) return `${text.split(/^(?:MD5Sum|SHA256):$/m)[0]}`;
  return /^etc\/libvirt\/|^vm:/.test(path) ? text.replace(/^[ \t]*(?:#.*)?\n/gm, "") : text;
}

function treeOf(root) {
  const recorded = join(root, ".recorded");
  const commands = json(join(recorded, "commands.json")).map((c) => ({
    ...c,
    stdout: typeof c.stdout === "string" ? c.stdout : readFileSync(join(recorded, c.stdout.file), "utf8"),
  }));
  const texts = files(root).map((path) => [path, cut(path, readFileSync(join(root, path), "utf8"))]);
  return {
    commands: new Map(commands.map((c) => [c.argv.join(" "), c])),
    stats: json(join(recorded, "stat.json")),
    paths: json(join(recorded, "paths.json")),
    texts: new Map(texts),
  };
}

/** What runs on in any case, and says nothing of the change. */
const RUNNING = /^CPU time:.*$|^# (?:Generated|Completed) .*$|(?<=\s)\[\d+:\d+\]|"(?:packets|bytes|handle)": ?\d+/gm;
const still = (c) => c && JSON.stringify({ ...c, stdout: c.stdout.replace(RUNNING, "") });
const owner = (text) => text?.match(/^[UG]id:.*$/gm)?.join();
const sameFile = (path, own, base) =>
  own === base || (/^proc\/\d+\/status$/.test(path) && base !== undefined && owner(own) === owner(base));

function write(folder, { commands, stats, paths, texts }) {
  const LONG = 4096;
  let n = 0;
  const list = [...commands.values()].map((c) => {
    if (c.stdout.length <= LONG) return c;
    const file = `${String(++n).padStart(2, "0")}-${c.argv[0]}`;
    put(join(folder, ".recorded", file), c.stdout);
    return { ...c, stdout: { file } };
  });
  put(join(folder, ".recorded/commands.json"), pretty(list));
  if (Object.keys(stats).length > 0) put(join(folder, ".recorded/stat.json"), pretty(stats));
  if (Object.keys(paths).length > 0) put(join(folder, ".recorded/paths.json"), pretty(paths));
  for (const [path, text] of texts) put(join(folder, path), text);
}

const changed = (own, base) =>
  Object.fromEntries(Object.entries(own).filter(([k, v]) => JSON.stringify(v) !== JSON.stringify(base[k])));

function verdictsOf(doc) {
  const checks = doc.checks.map((c) => [
    `${c.id} ${c.guest ?? "host"}`,
    `${c.state} ${c.remarks.map((r) => r.code).join(" ")}`,
  ]);
  return { at: doc.started, checks: Object.fromEntries(checks) };
}

rmSync(out, { recursive: true, force: true });
const good = treeOf(join(from, "good/tree"));
write(join(out, "host"), good);
cpSync(join(from, "good/scope.yaml"), join(out, "scope.yaml"));
const live = { good: verdictsOf(json(join(from, "good/live.json"))) };
const names = readdirSync(from).filter((n) => n !== "good" && existsSync(join(from, n, "tree/.recorded/paths.json")));
for (const name of names.sort()) {
  const own = treeOf(join(from, name, "tree"));
  // A program that did not end in time tells of a busy machine, not of the change.
  const late = [...own.commands.values()].filter((c) => c.exit === 124);
  if (late.length > 0) {
    process.stderr.write(`${name} is left out: ${late.map((c) => c.argv[0]).join(", ")} did not end in time\n`);
    continue;
  }
  const folder = join(out, "cases", name);
  write(folder, {
    commands: new Map([...own.commands].filter(([k, c]) => still(c) !== still(good.commands.get(k)))),
    stats: changed(own.stats, good.stats),
    // What could be read in the one and not in the other is told by the record of its own.
    paths: changed(
      {
        ...Object.fromEntries([...own.texts.keys()].filter((p) => good.paths[`/${p}`]).map((p) => [`/${p}`, {}])),
        ...own.paths,
      },
      good.paths,
    ),
    texts: new Map([...own.texts].filter(([p, t]) => !sameFile(p, t, good.texts.get(p)))),
  });
  const scope = readFileSync(join(from, name, "scope.yaml"), "utf8");
  if (scope !== readFileSync(join(from, "good/scope.yaml"), "utf8")) put(join(folder, ".recorded/scope.yaml"), scope);
  const { at, checks } = verdictsOf(json(join(from, name, "live.json")));
  const missing = Object.keys(live.good.checks).filter((k) => !(k in checks));
  live[name] = {
    at,
    checks: { ...changed(checks, live.good.checks), ...Object.fromEntries(missing.map((k) => [k, null])) },
  };
}
put(join(out, "verdicts.json"), pretty(live));
process.stdout.write(`${names.length} cases\n`);

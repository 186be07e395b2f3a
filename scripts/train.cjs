"use strict";
// Runs the bundle's common verbs once and keeps what V8 has compiled by then: `train.cjs DIST DISK`, DISK being a guest's disk.
const { writeFileSync } = require("node:fs");
const { join, resolve } = require("node:path");

const [dist, disk] = process.argv.slice(2);
const { script, exports: bundle } = require(resolve(dist, "cli.js")).load();

async function train() {
  for (const argv of [["--help"], ["inspect", disk], ["inspect", disk, "--json"], ["check", disk]])
    await bundle.main(argv);
  // What the verbs found does not matter here.
  process.exitCode = 0;
  writeFileSync(join(dist, "unterbau.cache"), script.createCachedData());
}

void train();

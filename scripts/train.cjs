"use strict";
// Runs the bundle's common verbs once and keeps what V8 has compiled by then: `train.cjs DIST DISK`, DISK being a guest's disk.
const { renameSync, writeFileSync } = require("node:fs");
const { join, resolve } = require("node:path");

const [dist, disk] = process.argv.slice(2);
const { commandLine, files, folder } = require(resolve(dist, "cli.js"));

async function train() {
  const { main } = commandLine();
  for (const argv of [["--help"], ["inspect", disk], ["inspect", disk, "--json"], ["check", disk]]) await main(argv);
  // What the verbs found does not matter here.
  process.exitCode = 0;
  for (const [file, { script }] of files) {
    const cache = join(folder, `${file}.cache`);
    // Whole or not at all: a command may start meanwhile.
    writeFileSync(`${cache}.new`, script.createCachedData());
    renameSync(`${cache}.new`, cache);
  }
}

void train();

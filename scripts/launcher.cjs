#!/usr/bin/env node
"use strict";
// Starts the bundle beside it, chunk by chunk as they are needed, with what V8 compiled of each at build time (its code cache).
// V8 itself refuses a cache of another version of Node, of other flags or of another length; then it compiles as usual.
const { readFileSync } = require("node:fs");
const { join } = require("node:path");
const { pathToFileURL } = require("node:url");
const vm = require("node:vm");

const folder = join(__dirname, "cli");
const url = pathToFileURL(__filename).href;
/** File → its script, and the functions that are its chunks. */
const files = new Map();
/** Chunk → what it exports. */
const chunks = new Map();

function load(file) {
  const found = files.get(file);
  if (found) return found.functions;
  const filename = join(folder, `${file}.cjs`);
  let cachedData;
  try {
    cachedData = readFileSync(join(folder, `${file}.cache`));
  } catch {
    // None was made, or it was left out of a package: slower, nothing else.
  }
  const script = new vm.Script(readFileSync(filename, "latin1"), { filename, cachedData });
  const functions = script.runInThisContext();
  files.set(file, { script, functions });
  return functions;
}

function chunk(name) {
  const found = chunks.get(name);
  if (found) return found.exports;
  const module = { exports: {} };
  chunks.set(name, module);
  const own = load(load("main").index[name]);
  const from = (id) => (id.startsWith("./") ? chunk(id) : require(id));
  own[name](module.exports, from, module, lazy, url, __filename, __dirname);
  return module.exports;
}

/** A module of Node's that is loaded when something of it is used. */
function lazy(id) {
  return new Proxy({}, { get: (_, name) => require(id)[name] });
}

/** @returns {{ main(argv: readonly string[]): Promise<void> }} */
const commandLine = () => chunk("./main.js");

module.exports = { commandLine, files, folder };
if (require.main === module) void commandLine().main(process.argv.slice(2));

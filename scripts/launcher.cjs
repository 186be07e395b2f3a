#!/usr/bin/env node
"use strict";
// Starts the bundle beside it with what V8 compiled of it at build time (its code cache), which saves a third of the time until work begins.
// V8 itself refuses a cache of another version of Node, of other flags or of another length; then it compiles as usual.
const { readFileSync } = require("node:fs");
const { join } = require("node:path");
const vm = require("node:vm");

/** @returns {{ script: vm.Script, exports: { main(argv: readonly string[]): Promise<void> } }} */
function load() {
  const filename = join(__dirname, "unterbau.cjs");
  let cachedData;
  try {
    cachedData = readFileSync(join(__dirname, "unterbau.cache"));
  } catch {
    // None was made, or it was left out of a package: slower, nothing else.
  }
  const source = `(function (exports, require, module, __filename, __dirname) {${readFileSync(filename, "latin1")}\n})`;
  const script = new vm.Script(source, { filename, cachedData });
  const bundle = { exports: {} };
  script.runInThisContext()(bundle.exports, require, bundle, filename, __dirname);
  return { script, exports: bundle.exports };
}

module.exports = { load };
if (require.main === module) void load().exports.main(process.argv.slice(2));

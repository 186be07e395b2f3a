// Compiles src/crypto/xts.wat and writes its bytes into src/crypto/xts-wasm.ts. Run it after every change of the text.
import { readFileSync, writeFileSync } from "node:fs";
import wabt from "wabt";

const folder = new URL("../src/crypto/", import.meta.url);

/** The compiled module as base64. */
async function compileXts() {
  const text = readFileSync(new URL("xts.wat", folder), "utf8");
  const module = (await wabt()).parseWat("xts.wat", text, { simd: true });
  try {
    module.validate();
    return Buffer.from(module.toBinary({}).buffer).toString("base64");
  } finally {
    module.destroy();
  }
}

const lines = (await compileXts()).match(/.{1,110}/g).map((line) => `  "${line}",`);
writeFileSync(
  new URL("xts-wasm.ts", folder),
  `/** xts.wat, compiled by scripts/build-xts.mjs (do not edit); base64. */\nexport const XTS_WASM = [\n${lines.join("\n")}\n].join("");\n`,
);

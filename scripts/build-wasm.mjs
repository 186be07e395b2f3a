// Compiles the WebAssembly texts and writes the bytes of each into a file beside it. Run it after every change of a text.
import { readFileSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import wabt from "wabt";

/** Text → what exports its bytes, and under which name. */
const MODULES = {
  "src/crypto/xts.wat": ["src/crypto/xts-wasm.ts", "XTS_WASM"],
  "src/extfs/inode-select.wat": ["src/extfs/inode-select-wasm.ts", "INODE_SELECT_WASM"],
};

const root = new URL("../", import.meta.url);
const { parseWat } = await wabt();

for (const [source, [target, name]] of Object.entries(MODULES)) {
  const module = parseWat(source, readFileSync(new URL(source, root), "utf8"), { simd: true });
  module.validate();
  const base64 = Buffer.from(module.toBinary({}).buffer).toString("base64");
  module.destroy();
  const lines = base64.match(/.{1,110}/g).map((line) => `  "${line}",`);
  writeFileSync(
    new URL(target, root),
    `/** ${basename(source)}, compiled by scripts/build-wasm.mjs (do not edit); base64. */\nexport const ${name} = [\n${lines.join("\n")}\n].join("");\n`,
  );
}

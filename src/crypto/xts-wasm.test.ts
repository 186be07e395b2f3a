import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import wabt from "wabt";
import { XTS_WASM } from "./xts-wasm.ts";

describe("the embedded WebAssembly", () => {
  it("is what xts.wat compiles to", async () => {
    const text = readFileSync(new URL("xts.wat", import.meta.url), "utf8");
    const module = (await wabt()).parseWat("xts.wat", text, { simd: true });
    module.validate();
    expect(Buffer.from(module.toBinary({}).buffer).toString("base64")).toBe(XTS_WASM);
  });
});

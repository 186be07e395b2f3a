import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openFileDevice } from "../../src/core/file-device.ts";
import { memoryDevice } from "../../src/core/memory-device.ts";
import { slice } from "../../src/core/slice.ts";
import { deviceConformance } from "./suite.ts";

const content = Uint8Array.from({ length: 300_001 }, (_, i) => (i % 4096 < 1000 ? 0 : (i * 31) & 0xff));

deviceConformance("memory", async () => ({ device: memoryDevice(Uint8Array.from(content)), content }));

deviceConformance("memory with an alignment of 512", async () => {
  const whole = content.subarray(0, 512 * 500);
  return { device: memoryDevice(Uint8Array.from(whole), { alignment: 512 }), content: whole };
});

deviceConformance("slice", async () => ({
  device: slice(memoryDevice(Uint8Array.from(content)), 1000, 200_000, "partition"),
  content: content.subarray(1000, 201_000),
}));

for (const writable of [true, false]) {
  deviceConformance(`file, ${writable ? "writable" : "read-only"}`, async () => {
    const folder = mkdtempSync(join(tmpdir(), "unterbau-test-"));
    const path = join(folder, "disk");
    writeFileSync(path, content);
    return {
      device: openFileDevice(path, { writable }),
      content,
      reopen: async () => openFileDevice(path),
      cleanup: async () => rmSync(folder, { recursive: true }),
    };
  });
}

import { randomBytes } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { SPILL_SLOT, SpillFile } from "./spill.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "unterbau-spill-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

/** The scratch file's bytes as they lie on the disk, through the process's own descriptor. */
function onDisk(): Buffer {
  for (const fd of readdirSync("/proc/self/fd")) {
    try {
      if (readlinkSync(`/proc/self/fd/${fd}`).startsWith(directory)) return readFileSync(`/proc/self/fd/${fd}`);
    } catch {
      // The descriptor of the listing itself is gone by now.
    }
  }
  throw new Error("no scratch file is open");
}

it("keeps slots, leaves no name and no plaintext behind", () => {
  const spill = new SpillFile(directory);
  try {
    const plain = Buffer.alloc(3 * SPILL_SLOT, "a secret of the guest ");
    const other = randomBytes(SPILL_SLOT);
    spill.write(1, plain);
    spill.write(2, other);
    const back = new Uint8Array(3 * SPILL_SLOT);
    spill.read(1, back);
    expect(Buffer.from(back.subarray(0, SPILL_SLOT)).equals(plain.subarray(0, SPILL_SLOT))).toBe(true);
    expect(Buffer.from(back.subarray(SPILL_SLOT, 2 * SPILL_SLOT)).equals(other)).toBe(true);
    expect(Buffer.from(back.subarray(2 * SPILL_SLOT)).equals(plain.subarray(2 * SPILL_SLOT))).toBe(true);
    expect(readdirSync(directory)).toEqual([]);
    const raw = onDisk();
    expect(raw.length).toBe(4 * SPILL_SLOT);
    expect(raw.includes("secret")).toBe(false);
    // The same plaintext in two slots must not look the same.
    expect(raw.subarray(SPILL_SLOT, 2 * SPILL_SLOT).equals(raw.subarray(3 * SPILL_SLOT))).toBe(false);
  } finally {
    spill.close();
  }
});

it("says what to do when its folder is not there", () => {
  expect(() => new SpillFile(join(directory, "missing"))).toThrowError(
    expect.objectContaining({ code: "io", hint: expect.stringContaining("TMPDIR") }),
  );
});

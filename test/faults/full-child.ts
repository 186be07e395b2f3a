import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { StorageError } from "../../src/core/errors.ts";
import { memoryDevice } from "../../src/core/memory-device.ts";
import { Overlay } from "../../src/core/overlay.ts";
import { openRun } from "../../src/host/run.ts";
import { undoRun } from "../../src/usecases/undo.ts";
import { bytes } from "./scenario.ts";

/** node full-child.mjs SMALL LARGE CASE: SMALL is a file system of 1 MiB, LARGE a folder with room. Prints what happened as JSON. */
const [small, large, what] = process.argv.slice(2) as [string, string, string];
const hash = (path: string) => createHash("sha256").update(readFileSync(path)).digest("hex");
const caught = async (work: Promise<unknown>) => {
  const error = (await work.then(
    () => null,
    (e: unknown) => e,
  )) as StorageError | null;
  return error && { code: error.code, message: error.message, hint: error.hint ?? null };
};
const tell = (value: object) => process.stdout.write(JSON.stringify(value));

if (what === "spill") {
  const overlay = new Overlay(memoryDevice(new Uint8Array(4 * 1024 * 1024)), { memoryLimit: 0, spillDir: small });
  const error = await caught(overlay.write(bytes(3 * 1024 * 1024, 1), 0));
  await overlay[Symbol.asyncDispose]();
  tell({ error, left: readdirSync(small) });
} else {
  const stateDir = join(what === "log" ? small : large, "state");
  const disk = join(what === "log" ? large : small, "disk");
  mkdirSync(stateDir);
  if (what === "log") writeFileSync(disk, bytes(3 * 1024 * 1024, 2));
  else {
    // Sparse: what is written needs room that is not there.
    writeFileSync(disk, bytes(100_000, 2));
    truncateSync(disk, 4 * 1024 * 1024);
  }
  const before = hash(disk);
  const run = await openRun({ verb: "test", stateDir, sources: [{ path: disk }] });
  if (what === "growth") await run.device(0).resize!(8 * 1024 * 1024);
  await run.device(0).write(bytes(2 * 1024 * 1024, 3), what === "growth" ? 5 * 1024 * 1024 : 50_000);
  const error = await caught(run.commit());
  const after = hash(disk);
  // Room appears: the same run goes on.
  await run.discard();
  await run.device(0).write(bytes(50_000, 4), 10_000);
  const second = await caught(run.commit());
  await run.finish();
  await undoRun(run.id, { stateDirs: [stateDir] });
  tell({ error, second, unchanged: before === after, undone: hash(disk) === before });
  rmSync(stateDir, { recursive: true });
}

/**
 * Not a test: the program that the tests start, kill, and run as another user. `IMAGE PROGRAM ARG…` runs the program on the image in
 * the checker's cage and prints the result as JSON. HANG_AT=offset: reads that reach it are never answered, and the
 * first of them is announced on standard error.
 */
import { describeError, StorageError } from "../../src/core/errors.ts";
import { openFileDevice } from "../../src/core/file-device.ts";
import { runOnFile } from "../../src/usecases/run-on-file.ts";
import { altered } from "../helpers/altered.ts";

const [image, ...argv] = process.argv.slice(2);
const hangAt = process.env.HANG_AT === undefined ? Number.POSITIVE_INFINITY : Number(process.env.HANG_AT);
const file = openFileDevice(image!, { writable: process.env.WRITABLE === "1" });
const device = altered(file, {
  read: (into, offset) => {
    if (offset + into.length <= hangAt) return file.read(into, offset);
    process.stderr.write("hanging\n");
    return new Promise(() => undefined);
  },
});

let output = "";
try {
  const result = await runOnFile({
    device,
    writable: process.env.WRITABLE === "1",
    argv,
    cage: process.env.CAGE === "host" ? "host" : "checker",
    stdout: (chunk) => {
      const text = Buffer.from(chunk).toString("utf8");
      output += text;
      if (text.includes("alive")) process.stderr.write("alive\n");
    },
    stderr: "stdout",
  });
  process.stdout.write(JSON.stringify({ ...result, output }));
} catch (error) {
  const hint = error instanceof StorageError ? error.hint : undefined;
  process.stdout.write(JSON.stringify({ error: describeError(error), hint }));
}

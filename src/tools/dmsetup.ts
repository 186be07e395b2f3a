import { spawn } from "node:child_process";
import { basename } from "node:path";
import { findProgram } from "./find.ts";

const TIMEOUT_MS = 5_000;
const MAX_OUTPUT = 4 * 1024 * 1024;

/**
 * Those of the dm-crypt devices (`/dev/mapper/NAME`) whose table names no cipher that encrypts: `cipher_null`, as in the middle of a
 * re-encryption. Without dmsetup or the right to ask, none is known. Keys are not shown by `dmsetup table`.
 */
export async function looseEnds(devices: readonly string[]): Promise<string[]> {
  if (devices.length === 0) return [];
  const program = findProgram("dmsetup");
  if (program === null) return [];
  const text = await output(program, ["table", "--target", "crypt"]);
  return devices.filter((path) => isNull(text, basename(path)));
}

/** Each line: `NAME: START LENGTH crypt CIPHER KEY IV-OFFSET DEVICE OFFSET …` (Linux, Documentation/admin-guide/device-mapper/dm-crypt.rst). */
export function isNull(table: string, name: string): boolean {
  return table
    .split("\n")
    .some(
      (line) =>
        line.startsWith(`${name}: `) && /^\d+ \d+ crypt (capi:)?(ecb\()?cipher_null/.test(line.slice(name.length + 2)),
    );
}

function output(program: string, args: readonly string[]): Promise<string> {
  return new Promise((done) => {
    const child = spawn(program, args, { env: { ...process.env, LC_ALL: "C" }, stdio: ["ignore", "pipe", "ignore"] });
    const chunks: Buffer[] = [];
    let bytes = 0;
    const timer = setTimeout(() => child.kill("SIGKILL"), TIMEOUT_MS);
    child.stdout.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= MAX_OUTPUT) chunks.push(chunk);
    });
    child.on("error", () => done(""));
    child.on("close", () => {
      clearTimeout(timer);
      done(Buffer.concat(chunks).toString("utf8"));
    });
  });
}

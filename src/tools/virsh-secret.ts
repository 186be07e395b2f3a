import { spawn } from "node:child_process";
import { StorageError } from "../core/errors.ts";
import { findProgram } from "./find.ts";

/** virsh opens the file with the value by its path, and what Node makes for a child are sockets, which cannot be opened. */
const THROUGH_A_PIPE = 'cat | exec "$@"';

/** Gives a secret of libvirt's its value, in neither argv nor a file. Throws `io` with virsh's reason. */
export async function setSecretValue(uuid: string, value: Uint8Array, uri: string | null): Promise<void> {
  const program = findProgram("virsh") ?? "virsh";
  const connect = uri === null ? [] : [`--connect=${uri}`];
  const args = ["--quiet", ...connect, "secret-set-value", `--secret=${uuid}`, "--file=/dev/stdin", "--plain"];
  const child = spawn("/bin/sh", ["-c", THROUGH_A_PIPE, "sh", program, ...args], {
    env: { ...process.env, LC_ALL: "C", LANGUAGE: "C" },
    stdio: ["pipe", "ignore", "pipe"],
  });
  let said = "";
  child.stderr.on("data", (chunk: Buffer) => {
    if (said.length < 4096) said += chunk.toString("utf8");
  });
  child.stdin.on("error", () => {});
  const own = Buffer.from(value);
  child.stdin.end(own, () => own.fill(0));
  const code = await new Promise<number | null>((done, fail) => {
    child.on("error", fail);
    child.on("close", done);
  });
  if (code === 0) return;
  const reason = said
    .replace(/^error: /gm, "")
    .trim()
    .split("\n")
    .at(-1);
  throw new StorageError("io", `virsh secret-set-value failed: ${reason ?? "no reason"}`, { layer: "libvirt" });
}

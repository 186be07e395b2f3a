import { spawn } from "node:child_process";
import { printable } from "../bytes/text.ts";
import { StorageError } from "../core/errors.ts";
import { findProgram } from "./find.ts";

/** virsh opens the file with its input by its path, and what Node makes for a child are sockets, which cannot be opened. */
const THROUGH_A_PIPE = 'cat | exec "$@"';
const FROM_PIPE = "--file=/dev/stdin";

/** Gives a secret of libvirt's its value, in neither argv nor a file. Throws `io` with virsh's reason. */
export function setSecretValue(uuid: string, value: Uint8Array, uri: string | null): Promise<void> {
  return withInput(["secret-set-value", `--secret=${uuid}`, FROM_PIPE, "--plain"], value, uri);
}

/** Defines a secret of libvirt's, or describes one anew, which keeps its value. Throws `io` with virsh's reason. */
export function defineSecret(xml: string, uri: string | null): Promise<void> {
  return withInput(["secret-define", FROM_PIPE], Buffer.from(xml), uri);
}

async function withInput(command: readonly string[], input: Uint8Array, uri: string | null): Promise<void> {
  const program = findProgram("virsh") ?? "virsh";
  const connect = uri === null ? [] : [`--connect=${uri}`];
  const child = spawn("/bin/sh", ["-c", THROUGH_A_PIPE, "sh", program, "--quiet", ...connect, ...command], {
    env: { ...process.env, LC_ALL: "C", LANGUAGE: "C" },
    stdio: ["pipe", "ignore", "pipe"],
  });
  let said = "";
  child.stderr.on("data", (chunk: Buffer) => {
    if (said.length < 4096) said += chunk.toString("utf8");
  });
  child.stdin.on("error", () => {});
  const own = Buffer.from(input);
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
  throw new StorageError("io", `virsh ${command[0]} failed: ${printable(reason || "it gave no reason")}`, {
    layer: "libvirt",
  });
}

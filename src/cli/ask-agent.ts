import { spawn } from "node:child_process";
import { StorageError } from "../core/errors.ts";

/** systemd's own limit is larger; a key file may have more. */
const LONGEST = 64 * 1024;

/**
 * Asks through systemd-ask-password(1): on the host's console, and by `systemd-tty-ask-password-agent` over SSH, for as long as it takes.
 * Null: nobody answers any more (it was taken back, by `signal` too). Throws `unsupported` where systemd is not there.
 */
export async function askAgent(question: string, id: string, signal?: AbortSignal): Promise<Uint8Array | null> {
  const args = ["--no-tty", "--timeout=0", "--icon=drive-harddisk", `--id=unterbau:${id}`, question];
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    const code = await new Promise<number | null>((resolve, reject) => {
      const child = spawn("systemd-ask-password", args, { stdio: ["ignore", "pipe", "ignore"] });
      child.stdout.on("data", (chunk: Buffer) => {
        size += chunk.length;
        if (size <= LONGEST) chunks.push(chunk);
        else chunk.fill(0);
      });
      // The question is taken back with the command that asks it.
      const end = (): void => void child.kill();
      if (signal?.aborted) end();
      signal?.addEventListener("abort", end, { once: true });
      child.once("error", reject);
      child.once("close", resolve);
    });
    if (code !== 0 || size > LONGEST) return null;
    const all = Buffer.concat(chunks);
    try {
      // One line end is systemd's.
      return Uint8Array.from(all.at(-1) === 0x0a ? all.subarray(0, -1) : all);
    } finally {
      all.fill(0);
    }
  } catch (cause) {
    throw new StorageError("unsupported", "systemd-ask-password could not be started, so nobody can be asked", {
      feature: "systemd-ask-password",
      hint: "install the package systemd, or give the passphrase by --key-file or on the terminal",
      cause,
    });
  } finally {
    for (const chunk of chunks) chunk.fill(0);
  }
}

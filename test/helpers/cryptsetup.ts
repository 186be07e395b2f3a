import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "./programs.ts";

/** Key derivations that a test can wait for, and that the built-in policy allows. */
export const CHEAP_LUKS2 = ["--pbkdf-force-iterations", "4", "--pbkdf-memory", "65536", "--pbkdf-parallel", "1"];
export const CHEAP_LUKS1 = ["--luks1", "--pbkdf-force-iterations", "210000"];

/** Bash's name of the event at which the watched cryptsetup ends the program that called it. */
export interface KillAt {
  /** `luksFormat`, `luksAddKey`, … */
  readonly action: string;
  readonly when: "before" | "after";
}

/** A cryptsetup that notes how it is called (argv, environment), and can kill the program whose id is in `pidFile`. */
export function watchedCryptsetup(folder: string, kill: KillAt | null = null) {
  const bin = join(folder, `bin${kill === null ? "" : `-${kill.action}-${kill.when}`}`);
  const log = join(bin, "log");
  const pidFile = join(bin, "pid");
  mkdirSync(bin, { recursive: true });
  const real = run("sh", "-c", "command -v cryptsetup").trim();
  const end = (when: string) =>
    kill?.when === when ? `[ "$1" != ${kill.action} ] || { kill -9 "$(cat ${pidFile})"; exit 1; }` : "";
  writeFileSync(
    join(bin, "cryptsetup"),
    `#!/bin/sh\n{ printf '%s\\n' "$@"; env; } >> ${log}\n${end("before")}\n${real} "$@"\nrc=$?\n${end("after")}\nexit $rc\n`,
  );
  chmodSync(join(bin, "cryptsetup"), 0o755);
  return {
    env: { PATH: `${bin}:${process.env.PATH}:/usr/sbin:/sbin` },
    pidFile,
    log: () => (existsSync(log) ? readFileSync(log, "latin1") : ""),
  };
}

/** Whether cryptsetup opens a keyslot with this key file. */
export function opens(container: string, keyFile: string): boolean {
  try {
    run("cryptsetup", "open", "--test-passphrase", "--key-file", keyFile, container);
    return true;
  } catch {
    return false;
  }
}

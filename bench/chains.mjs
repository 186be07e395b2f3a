// The ways in which people give e2fsck a volume inside a qcow2 image without root's device nodes: set up, check, tear down.
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { once } from "./measure.mjs";

const there = (program) => spawnSync("sh", ["-c", `command -v ${program}`]).status === 0;

/** @returns candidates for `compare`, by name; those whose programs are missing are left out */
export function chains({ qcow2, offset }) {
  const all = { "qemu-nbd, nbdfuse": nbdfuse, "qemu-storage-daemon, FUSE": storageDaemon };
  const needs = { "qemu-nbd, nbdfuse": ["qemu-nbd", "nbdfuse"], "qemu-storage-daemon, FUSE": ["qemu-storage-daemon"] };
  return Object.fromEntries(
    Object.entries(all)
      .filter(([name]) => needs[name].every(there))
      .map(([name, chain]) => [name, () => timed(chain, qcow2, offset)]),
  );
}

async function timed(chain, qcow2, offset) {
  const folder = mkdtempSync(join(tmpdir(), "unterbau-bench-"));
  const file = join(folder, "disk");
  writeFileSync(file, "");
  const started = process.hrtime.bigint();
  const end = await chain(qcow2, folder, file);
  const { mib } = once(["e2fsck", "-fn", `${file}?offset=${offset}`]);
  await end();
  const seconds = Number(process.hrtime.bigint() - started) / 1e9;
  rmSync(folder, { recursive: true });
  return { seconds, mib };
}

async function appears(file) {
  while (spawnSync("stat", ["-c", "%s", file], { encoding: "utf8" }).stdout.trim() === "0") await sleep(2);
}

const gone = (child) => new Promise((resolve) => (child.exitCode === null ? child.on("exit", resolve) : resolve()));

async function nbdfuse(qcow2, folder, file) {
  const socket = join(folder, "s");
  const nbd = spawn("qemu-nbd", ["-r", "-t", "-k", socket, "-f", "qcow2", qcow2], { stdio: "ignore" });
  while (!existsSync(socket)) await sleep(2);
  const fuse = spawn("nbdfuse", ["-r", file, "--unix", socket], { stdio: "ignore" });
  await appears(file);
  return async () => {
    spawnSync("umount", [file]);
    await gone(fuse);
    nbd.kill();
    await gone(nbd);
  };
}

async function storageDaemon(qcow2, _folder, file) {
  const args = [
    "--blockdev",
    `driver=qcow2,node-name=d,read-only=on,file.driver=file,file.filename=${qcow2},file.read-only=on`,
  ];
  const daemon = spawn(
    "qemu-storage-daemon",
    [...args, "--export", `type=fuse,id=e,node-name=d,mountpoint=${file},writable=off`],
    {
      stdio: "ignore",
    },
  );
  await appears(file);
  return async () => {
    daemon.kill();
    await gone(daemon);
  };
}

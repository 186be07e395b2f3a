import { existsSync, lstatSync } from "node:fs";
import { join } from "node:path";
import { findProgram } from "./find.ts";
import { mustRun, type ProgramResult, runProgram } from "./run-program.ts";

const PACKAGE = { packageName: "systemd" };

/** Whether systemd runs this host, so that units can be started and asked for. */
export function systemdRuns(): boolean {
  return existsSync("/run/systemd/system") && findProgram("systemctl") !== null;
}

/** Makes or removes the links by which a unit is started at boot; in another tree without a manager. Throws `io`. */
export async function enableUnit(unit: string, on: boolean, root: string): Promise<void> {
  await mustRun("systemctl", [...tree(root), "--no-reload", on ? "enable" : "disable", unit], PACKAGE);
}

/** Whether the link for the boot is there; in another tree it leads nowhere from here. */
export function isLinked(root: string, unit: string): boolean {
  const link = join(root, "etc/systemd/system/multi-user.target.wants", unit);
  return lstatSync(link, { throwIfNoEntry: false }) !== undefined;
}

/** Lets systemd read its units and run its generators anew. */
export async function reloadUnits(): Promise<void> {
  await mustRun("systemctl", ["daemon-reload"], PACKAGE);
}

/** systemctl(1), is-enabled: `enabled`, `static`, `not-found` …, one for each unit. */
export async function unitStates(units: readonly string[], root: string): Promise<string[]> {
  const states: string[] = [];
  for (const unit of units) {
    const { stdout }: ProgramResult = await runProgram("systemctl", [...tree(root), "is-enabled", unit], PACKAGE);
    states.push(stdout.trim() || "not-found");
  }
  return states;
}

function tree(root: string): string[] {
  return root === "/" ? [] : [`--root=${root}`];
}

import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { printable } from "../bytes/text.ts";
import { lastCheck } from "../host/check-store.ts";
import type { Migration, MigrationDisk } from "../host/migration-store.ts";
import type { CloneProof } from "../host/retirement-store.ts";
import { sourceIdentity } from "../host/source-identity.ts";
import type { Guest } from "./guests.ts";

/** What is read of a log, from its end. */
const MAX_LOG = 4 * 1024 * 1024;

/** What shows that the copy has been started since it was whole, and was found clean after that. `missing`: what is not shown, or null. */
export function proofOfClone(
  { plan, steps }: Migration,
  clone: Guest | null,
  environment: NodeJS.ProcessEnv = process.env,
): { readonly proof: Omit<CloneProof, "overridden">; readonly missing: string | null } {
  const finished = steps.get("finish")?.facts.at ?? null;
  const nothing = { finished, booted: null, checked: null };
  if (finished === null)
    return { proof: nothing, missing: "when the migration ended was not written down (an older version did it)" };
  if (clone === null)
    return { proof: nothing, missing: `the guest ${printable(plan.clone.name)} is not defined any more` };
  // Of each disk the last one, and of these the first: what came before that came before all.
  const checks = plan.disks.map((disk) => lastOf(disk, clone));
  const [check] = checks.flatMap((c) => c ?? []).sort((a, b) => (a.checked < b.checked ? -1 : 1));
  const name = printable(clone.name);
  const checked = check ? { at: check.checked, mode: check.mode, verdict: check.verdict } : null;
  const starts = startsOf(clone.name, environment).filter((at) => at > finished);
  const live = check?.mode === "live" && check.checked > finished;
  // A check of a running guest needs one that was started.
  const before = starts.filter((at) => check === undefined || at < check.checked).at(-1);
  const booted = live
    ? ({ at: check.checked, by: "live-check" } as const)
    : before === undefined
      ? null
      : ({ at: before, by: "qemu-log" } as const);
  const proof = { finished, booted, checked };
  if (check === undefined || checks.includes(null) || check.checked <= finished)
    return { proof, missing: `${name} was not checked since the migration ended` };
  const bad = checks.find((c) => c?.verdict !== "clean" || !c.complete);
  if (bad)
    return {
      proof,
      missing: bad.complete
        ? `the last check of ${name} came to ${bad.verdict}`
        : `the last check of ${name} was of some volumes only`,
    };
  if (booted !== null) return { proof, missing: null };
  return {
    proof,
    missing:
      starts.length > 0
        ? `${name} was started after its last check`
        : `that ${name} was started since the migration ended is not shown, neither by a check of it as it runs nor by QEMU's log`,
  };
}

/** The last check of a disk of the copy, by the container or by what the guest has of it. */
function lastOf({ disk, target }: MigrationDisk, clone: Guest) {
  const place = clone.domain.disks.find((d) => d.target === disk)?.place;
  const paths = [target.path, ...(place && "path" in place ? [place.path] : [])];
  const found = paths.flatMap((path) => checkOf(path) ?? []);
  return found.sort((a, b) => (a.checked < b.checked ? 1 : -1))[0] ?? null;
}

function checkOf(path: string) {
  try {
    return lastCheck(sourceIdentity(path));
  } catch {
    return null;
  }
}

/** When libvirt started a guest of this name, as its log of QEMU says (RFC 3339, UTC), oldest first. */
function startsOf(name: string, environment: NodeJS.ProcessEnv): string[] {
  if (name === "" || name.includes("/")) return [];
  const cache = environment.XDG_CACHE_HOME || join(homedir(), ".cache");
  const folders = ["/var/log/libvirt/qemu", join(cache, "libvirt/qemu/log")];
  const logs = folders.flatMap((folder) => ["", ".0", ".1", ".2"].map((n) => join(folder, `${name}.log${n}`)));
  return logs.flatMap((path) => startsIn(endOf(path))).sort();
}

/** libvirt, src/qemu/qemu_domain.c, qemuDomainLogContext: `2026-11-24 19:00:00.123+0000: starting up libvirt version: …`. */
export function startsIn(log: string): string[] {
  const found = log.matchAll(/^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d\.\d{3})\+0000: starting up libvirt version/gm);
  return [...found].map(([, day, time]) => `${day}T${time}Z`);
}

function endOf(path: string): string {
  try {
    const fd = openSync(path, "r");
    try {
      const { size } = fstatSync(fd);
      const bytes = Buffer.alloc(Math.min(size, MAX_LOG));
      const n = readSync(fd, bytes, 0, bytes.length, size - bytes.length);
      return bytes.toString("latin1", 0, n);
    } finally {
      closeSync(fd);
    }
  } catch {
    return "";
  }
}

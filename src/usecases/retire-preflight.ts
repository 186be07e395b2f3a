import { existsSync, realpathSync } from "node:fs";
import { hostname, userInfo } from "node:os";
import { printable } from "../bytes/text.ts";
import { StorageError } from "../core/errors.ts";
import type { MigratedDisk, Migration, MigrationDisk } from "../host/migration-store.ts";
import { openSource } from "../host/open-source.ts";
import type { KernelFiles } from "../host/rests-on.ts";
import type { RetiredTarget, RetirementRecord } from "../host/retirement-store.ts";
import type { LuksHeader } from "../layers/luks/types.ts";
import type { Guest, GuestOptions } from "./guests.ts";
import { headerOf } from "./luks-format.ts";
import { isDone } from "./migrate.ts";
import { refuseOverlays } from "./overlays.ts";
import { adviceFor } from "./retire-advice.ts";
import { type Found, refuseBusy } from "./retire-find.ts";
import { proofOfClone } from "./retire-proof.ts";
import { type Content, type ContentOptions, contentOfDisk, oldDisk } from "./retire-source.ts";
import { headerBackups, namedFiles, targetOf, undoLogs } from "./retire-targets.ts";
import { meets, refuseUsed } from "./retire-users.ts";

export interface RetireOptions extends GuestOptions, ContentOptions {
  /** The old guest stays defined. */
  readonly keepDomain: boolean;
  /** Images below the disk that are destroyed as well. */
  readonly backing: readonly string[];
  /** The old disk is LUKS and never was anything else; nothing can measure that. */
  readonly luksFromFirstWrite: boolean;
  /** Without the proof that the copy was started and checked. */
  readonly iKnow: boolean;
  readonly version: string;
  readonly kernel?: KernelFiles | undefined;
  readonly segmentBytes?: number | undefined;
  /** Told when something is done but not written down yet. */
  readonly onStep?: ((name: string) => void) | undefined;
}

export interface RetirePreflight extends Found {
  readonly record: RetirementRecord;
  /** `writeMark` of each old disk before it was read; they are the first targets. */
  readonly marks: readonly (string | null)[];
}

/** Looks at everything, reads the old disks as a whole, and changes nothing. Throws by name what stands in the way. */
export async function retirePreflight(found: Found, options: RetireOptions): Promise<RetirePreflight> {
  const { migration, old, clone } = found;
  const { plan } = migration;
  const name = printable(plan.guest.name);
  if (!isDone(migration)) {
    throw new StorageError(
      "usage",
      `the old disk of ${name} is not destroyed: the migration ${plan.id} is not finished`,
      { hint: `unterbau migrate --resume ${plan.id}` },
    );
  }
  if (old !== null) await refuseBusy(old, options);
  const { proof, missing } = proofOfClone(migration, clone);
  if (missing !== null && !options.iKnow) throw notProven(name, missing, migration);
  const seen: SeenDisk[] = [];
  for (const disk of plan.disks) seen.push(await seeDisk(disk, found, options));
  const { targets, left } = await allTargets(seen, old, options);
  const identities = targets.map((t) => t.identity);
  await refuseUsed(identities, old, options);
  await refuseBelow(targets, options);
  refuseTarget(targets, migration);
  const record: RetirementRecord = {
    schema: "unterbau/retire/1",
    run: plan.id,
    state: "planned",
    begun: null,
    ended: null,
    program: { name: "unterbau", version: options.version },
    operator: operator(),
    guest: { name: old?.name ?? plan.guest.name, uuid: plan.guest.uuid },
    clone: { name: clone?.name ?? plan.clone.name, uuid: plan.clone.uuid },
    proof: { ...proof, overridden: missing !== null },
    targets,
    left: [...left, ...plan.stays.map(({ disk, why }) => `disk ${disk} was not moved (${why}); both guests have it`)],
    advice: adviceFor(targets),
    keepDomain: options.keepDomain,
    undefined: false,
    tools: [],
    verdict: null,
    residual: [],
  };
  return { ...found, record, marks: seen.map(({ content }) => content.mark) };
}

function notProven(name: string, missing: string, { plan }: Migration): StorageError {
  const clone = printable(plan.clone.name);
  const containers = plan.disks.map(({ target }) => printable(target.path)).join(" ");
  return new StorageError("usage", `the old disk of ${name} is not destroyed: ${missing}`, {
    layer: "libvirt",
    hint: `start ${clone} (virsh start ${plan.clone.uuid}), let it boot, and look at it: unterbau check vm:${clone} --live; or shut it down again and check it with its key: unterbau check ${containers} --key-file FILE. Then repeat. --i-know goes on without`,
  });
}

/** An old disk that is certainly the one that was migrated. */
interface SeenDisk {
  readonly name: string;
  readonly source: MigratedDisk;
  readonly content: Content;
  readonly luks: LuksHeader | null;
}

async function seeDisk(disk: MigrationDisk, { migration, old }: Found, options: RetireOptions): Promise<SeenDisk> {
  const what = `the old disk ${disk.disk} of ${printable(migration.plan.guest.name)}`;
  const expected = migration.steps.get(`verify ${disk.disk}`)?.facts.sha256;
  if (expected === undefined)
    throw new StorageError("usage", `the journal has no hash of ${what}`, { hint: "overwrite it by hand" });
  const source = await oldDisk(migration, disk, old, options);
  await (await openSource(source.identity, "write")).file[Symbol.asyncDispose]();
  const content = await contentOfDisk(disk, source, old, options);
  if (content.sha256 !== expected) {
    throw new StorageError(
      "usage",
      `${what} is not destroyed: it was written to since it was migrated, which would be lost`,
      {
        layer: "libvirt",
        hint: `SHA-256 then ${expected}, now ${content.sha256}; migrate it again, or overwrite it by hand`,
      },
    );
  }
  const luks = source.format === "raw" ? await headerOf(source.path).catch(() => null) : null;
  if (options.luksFromFirstWrite && luks === null) {
    throw new StorageError("usage", `${printable(source.path)} is no LUKS container`, {
      hint: "leave --luks-from-first-write out",
    });
  }
  return { name: disk.disk, source, content, luks };
}

async function allTargets(
  seen: readonly SeenDisk[],
  old: Guest | null,
  options: RetireOptions,
): Promise<{ targets: RetiredTarget[]; left: string[] }> {
  const named = seen.map(({ source, content }) => namedFiles(source.path, content.root, content.named));
  const backing = [...new Set(named.flatMap((n) => n.backing))];
  const wanted = [...new Set(options.backing.map(realPath))];
  const foreign = wanted.find((path) => !backing.includes(path));
  if (foreign !== undefined) {
    const below = seen.map(({ source }) => printable(source.path)).join(", ");
    throw new StorageError("usage", `${printable(foreign)} is no image below ${below}`, {
      hint: backing.length === 0 ? "nothing lies below" : `there are: ${backing.map(printable).join(", ")}`,
    });
  }
  const own: RetiredTarget[] = [];
  for (const { name, source, content, luks } of seen)
    own.push(await targetOf("disk", source.path, { name, sha256: content.sha256, luks }, options));
  const nvram = old?.domain.nvram ?? null;
  const others: [RetiredTarget["role"], readonly string[]][] = [
    ["data-file", named.flatMap((n) => n.data)],
    ["backing-image", wanted],
    ["firmware-variables", nvram !== null && !options.keepDomain && existsSync(nvram) ? [nvram] : []],
    ["undo-log", own.flatMap(undoLogs)],
    ["header-backup", seen.flatMap(({ luks }) => (luks === null ? [] : headerBackups(luks.uuid)))],
  ];
  const more: RetiredTarget[] = [];
  for (const [role, paths] of others)
    for (const path of new Set(paths)) more.push(await targetOf(role, path, null, options));
  const left = backing.filter((path) => !wanted.includes(path)).map((path) => `the image below: ${path}`);
  return { targets: [...own, ...more], left };
}

/** Images that no guest names may lie on what is destroyed. */
export async function refuseBelow(targets: readonly RetiredTarget[], options: RetireOptions): Promise<void> {
  const images = targets.filter(({ role }) => role === "disk" || role === "data-file" || role === "backing-image");
  const hint =
    "nothing was destroyed; what it shows would be lost: make it whole first (qemu-img rebase -b '' IMAGE), or remove it if it may be lost. A copy holds what the old disk held";
  await refuseOverlays(
    images.map((t) => t.identity),
    ", and no guest names it",
    hint,
    options,
  );
}

/** What was migrated to must not be among what is destroyed. */
function refuseTarget(targets: readonly RetiredTarget[], { plan }: Migration): void {
  for (const { target } of plan.disks) {
    const met = targets.find((t) => meets(target.path, t.identity));
    if (met === undefined) continue;
    throw new StorageError("usage", `${printable(met.path)} holds the new disk ${printable(target.path)}`, {
      hint: "nothing was destroyed; the new disk needs a place of its own first",
    });
  }
}

function operator(): RetirementRecord["operator"] {
  const uid = process.getuid?.() ?? -1;
  let user = process.env.SUDO_USER ?? "";
  if (user === "")
    try {
      user = userInfo().username;
    } catch {
      // Its number has no name.
      user = String(uid);
    }
  return { user, uid, host: hostname() };
}

function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    throw new StorageError("usage", `${printable(path)} is not there`);
  }
}

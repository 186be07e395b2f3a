import { createHash } from "node:crypto";
import { realpathSync } from "node:fs";
import { Cleanup } from "../core/cleanup.ts";
import { StorageError } from "../core/errors.ts";
import { DEFAULT_LIMITS } from "../core/limits.ts";
import { findPath } from "../extfs/path.ts";
import type { ExtVolume } from "../extfs/volume.ts";
import { mappedNames, mappedUuids } from "../host/kernel-state.ts";
import { makePlan } from "../plan/make.ts";
import type { Plan, PlanGuest } from "../plan/model.ts";
import { isVolumeOf } from "../plan/names.ts";
import type { FilePlace, Place, SourcePlace, Target } from "../plan/places.ts";
import { findVolume } from "../stack/selectors.ts";
import type { TreeNode, Volume } from "../stack/tree.ts";
import { withDisks } from "./guest-disks.ts";
import { openFiles } from "./inside.ts";
import { openForInspection } from "./open-for-reading.ts";
import { hostSource, Places } from "./plan-places.ts";
import { isNbd } from "./source-names.ts";
import type { SourceOptions } from "./source-options.ts";

export interface PlanRequest extends SourceOptions {
  /** Selectors; none: every file system. */
  readonly volumes: readonly string[];
  readonly repair: boolean;
  /** Opens groups under another name even where theirs is free on this host. */
  readonly rename: boolean;
  /** Key files as the user named them: `FILE` or `UUID=FILE`. */
  readonly keyFiles: readonly string[];
  /** Names everything that is made; null: made from the sources, so that the same plan is the same text. */
  readonly tag: string | null;
  /** Where plans have their folders. */
  readonly runDir: string;
}

/** What can be checked in the end; the rest is opened when it is asked for by name. */
const FILE_SYSTEMS = ["ext2", "ext3", "ext4", "xfs", "vfat", "btrfs"];

/**
 * Opens the sources in user space, for reading, and works out how a kernel is led to the same volumes. Nothing is changed, and nothing
 * of the kernel's is needed. The sources are closed again when it returns.
 */
export async function plan(given: PlanRequest): Promise<Plan> {
  const guests = await guestsOf(given);
  const request = await withDisks(given, given.repair ? "write" : "read");
  refuse(request);
  const inside = request.inside ?? [];
  let sources: (SourcePlace | FilePlace)[] | null = null;
  for (let level = 0; level < inside.length; level++) {
    sources = [await imageInside(request, inside.slice(0, level + 1), sources)];
  }
  await using opened = await openForInspection(request);
  const { tree } = opened.stack;
  sources ??= tree.roots.map(sourceOf);
  const bottom = sources.flatMap(hostPaths);
  const header = request.header === undefined || inside.length > 0 ? null : realpathSync(request.header);
  const places = new Places(tree, sources, header);
  const volumes = wanted(tree.volumes, request, (selector) => findVolume(tree, selector));
  const targets = volumes.map(({ selector, type, node }): Target => ({ selector, type, place: places.of(node) }));
  const tag = request.tag ?? `unterbau-${shortHash([...given.sources, ...inside, ...request.volumes])}`;
  const mapped = mappedNames();
  return makePlan(targets, {
    tag,
    work: `${request.runDir}/${tag}`,
    sources: bottom,
    guests,
    inside,
    repair: request.repair,
    keyFile: (origin) => keyFileNamed(origin, request.keyFiles),
    nameInUse: (group) => request.rename || mapped.some((name) => isVolumeOf(name, group)),
    groupActive: (uuid) => mappedUuids().some((known) => known.startsWith(`LVM-${uuid.replaceAll("-", "")}`)),
    hidden: places.hidden(),
  });
}

async function guestsOf(request: PlanRequest): Promise<PlanGuest[]> {
  const names = request.sources.filter((s) => s.startsWith("vm:"));
  if (names.length === 0) return [];
  // Loaded only here: most sources are files.
  const { findGuest, guestOf } = await import("./guests.ts");
  const found: PlanGuest[] = [];
  for (const source of names) {
    const { name, uuid, uri } = await findGuest(guestOf(source)!, request);
    found.push({ name, uuid, uri });
  }
  return found;
}

function refuse({ sources, snapshot }: PlanRequest): void {
  const nbd = sources.find(isNbd);
  if (nbd !== undefined) {
    throw new StorageError("unsupported", `${nbd}: the kernel engine opens files and block devices`, {
      layer: "plan",
      feature: "an NBD source for the kernel",
      hint: "name the image itself",
    });
  }
  if (snapshot !== undefined) {
    throw new StorageError("unsupported", "the kernel engine opens an image as it is now, not its snapshots", {
      layer: "plan",
      feature: "internal snapshots for the kernel",
      hint: "copy it out first: qemu-img convert -l SNAPSHOT -O qcow2 IMAGE NEW",
    });
  }
}

function sourceOf(root: TreeNode): SourcePlace {
  return hostSource(String(root.details.name), root.kind === "blockdev" ? "blockdev" : "file");
}

/** The files and devices of the host on which a source rests. */
function hostPaths(source: Place): string[] {
  switch (source.kind) {
    case "source":
      return [source.path];
    case "array":
      return source.members.flatMap(hostPaths);
    case "volume":
      return source.group.members.flatMap((pv) => hostPaths(pv.place));
    case "file":
      return hostPaths(source.on);
    default:
      return hostPaths(source.of);
  }
}

/** The file that the last of `inside` names, in the places of the stack around it. */
async function imageInside(
  request: PlanRequest,
  inside: readonly string[],
  outer: (SourcePlace | FilePlace)[] | null,
): Promise<FilePlace> {
  const around = { ...request, inside: inside.slice(0, -1), insideFormat: undefined, note: undefined };
  // What the last one names is found by opening it; in which volume, its root says.
  await using whole = await openForInspection({ ...request, inside, note: undefined });
  const { name, inside: selector } = whole.stack.tree.roots[0]!.details;
  await using opened = await openForInspection(around);
  const { tree } = opened.stack;
  const volume = findVolume(tree, String(selector));
  await using cleanup = new Cleanup();
  const files = cleanup.use(
    await openFiles(volume, { limits: request.limits ?? DEFAULT_LIMITS, signal: request.signal }),
  );
  await refuseLinks(files, String(name));
  const header = request.header === undefined || outer !== null ? null : realpathSync(request.header);
  const places = new Places(tree, outer ?? tree.roots.map(sourceOf), header);
  return { kind: "file", on: places.of(volume.node), type: volume.type ?? "ext4", path: clean(String(name)) };
}

/** In the mounted file system a link would lead to a file of the host. */
async function refuseLinks(files: ExtVolume, path: string): Promise<void> {
  const parts = path.split("/").filter((p) => p !== "" && p !== ".");
  for (let i = 1; i <= parts.length; i++) {
    const part = `/${parts.slice(0, i).join("/")}`;
    const inode = parts[i - 1] === ".." ? null : await findPath(files, part, { followLast: false });
    if (inode !== null && inode.type !== "symlink") continue;
    throw new StorageError("unsupported", `${part} is a symbolic link or leads upwards`, {
      layer: "plan",
      feature: "links in the path of an image inside",
      hint: "name the file itself: unterbau ls shows where the link leads",
    });
  }
}

function clean(path: string): string {
  return `/${path
    .split("/")
    .filter((p) => p !== "" && p !== ".")
    .join("/")}`;
}

function wanted(all: readonly Volume[], { volumes }: PlanRequest, find: (selector: string) => Volume): Volume[] {
  const chosen =
    volumes.length > 0 ? volumes.map(find) : all.filter((v) => v.type !== null && FILE_SYSTEMS.includes(v.type));
  for (const { selector, kind, reason, readable } of chosen) {
    if (readable && kind !== "locked") continue;
    throw new StorageError(
      kind === "locked" ? "key" : "unsupported",
      `${selector} cannot be opened: ${reason ?? "no content"}`,
      {
        layer: "plan",
        hint:
          kind === "locked" ? "give a key with --key-file: what is inside must be seen to be planned for" : undefined,
      },
    );
  }
  if (chosen.length > 0) return chosen;
  const locked = all.find((v) => v.kind === "locked");
  throw new StorageError(
    locked ? "key" : "usage",
    locked ? `${locked.selector} is locked: ${locked.reason}` : "there is no file system to plan for",
    {
      layer: "plan",
      hint: locked ? "give a key with --key-file" : "unterbau inspect shows what there is; --volume names any volume",
    },
  );
}

/** The file of `--key-file FILE` or `--key-file UUID=FILE` from which a key came. */
function keyFileNamed(origin: string, files: readonly string[]): string | null {
  const file = files.map((f) => f.replace(/^[0-9a-f-]{36}=/i, "")).find((f) => f === origin && f !== "-");
  return file === undefined ? null : realpathSync(file);
}

function shortHash(parts: readonly string[]): string {
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 6);
}

import { existsSync, realpathSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { printable } from "../bytes/text.ts";
import { StorageError } from "../core/errors.ts";
import { headerRecords } from "../host/header-store.ts";
import { type Medium, mediumOf } from "../host/medium.ts";
import type { KernelFiles } from "../host/rests-on.ts";
import type { RetiredTarget } from "../host/retirement-store.ts";
import { listRuns, stateDirs } from "../host/run-store.ts";
import { maySameSource, sourceIdentity } from "../host/source-identity.ts";
import type { LuksHeader } from "../layers/luks/types.ts";
import type { TreeNode } from "../stack/tree.ts";
import { volumesUnder } from "./retire-volumes.ts";

export interface TargetOptions {
  readonly kernel?: KernelFiles | undefined;
  /** The disk is LUKS, and never was anything else: the operator says so. */
  readonly luksFromFirstWrite: boolean;
  readonly signal?: AbortSignal | undefined;
}

/** Something that is to be destroyed. Throws `locked` when snapshots, shared blocks or a cache would keep what it holds. */
export async function targetOf(
  role: RetiredTarget["role"],
  path: string,
  disk: (NonNullable<RetiredTarget["disk"]> & { readonly luks: LuksHeader | null }) | null,
  options: TargetOptions,
): Promise<RetiredTarget> {
  const luks = disk?.luks ?? null;
  const identity = sourceIdentity(path);
  const { realpath, size } = identity;
  const found = mediumOf(realpath, options.kernel);
  const { uuid, doubts } = await volumesUnder(realpath, options);
  const medium: Medium = { ...found, doubts: [...found.doubts, ...doubts] };
  const erases = luks !== null && options.luksFromFirstWrite;
  const header = luks !== null && "offset" in luks.payload ? luks.payload.offset : size;
  return {
    role,
    path,
    disk: disk && { name: disk.name, sha256: disk.sha256 },
    identity,
    lvUuid: uuid,
    wasPlaintext: !erases && role !== "header-backup",
    medium,
    method: erases ? "luks-erase" : medium.type === "hdd" ? "random-overwrite" : "random-overwrite+discard",
    length: erases ? Math.min(header, size) : size,
    overwrittenBytes: null,
    verified: null,
    discard: null,
    removed: false,
    verdict: null,
    residual: [],
  };
}

/** Files that an image names: what holds its own data, and images below it. */
export function namedFiles(
  image: string,
  root: TreeNode,
  named: readonly string[],
): { readonly data: readonly string[]; readonly backing: readonly string[] } {
  const paths = [...new Set(named.map((path) => realpathSync(path)))];
  const [node] = root.children;
  if (node?.kind === "vmdk" && paths.length > 0) {
    throw new StorageError("unsupported", `${printable(image)} lies in several files`, {
      layer: "vmdk",
      feature: "destroying VMDK of several files",
      hint: `overwrite them by hand: shred ${paths.map(printable).join(" ")}`,
    });
  }
  const dataFile = node?.kind === "qcow2" ? node.details.dataFile : null;
  const own = typeof dataFile === "string" ? resolve(dirname(realpathSync(image)), dataFile) : null;
  const isOwn = (path: string): boolean => own !== null && existsSync(own) && path === realpathSync(own);
  return { data: paths.filter(isOwn), backing: paths.filter((path) => !isOwn(path)) };
}

/** Backups of a LUKS header: with one and an old passphrase what is left in an SSD's cells could be read. */
export function headerBackups(uuid: string): string[] {
  return headerRecords().flatMap((r) => (r.uuid === uuid && existsSync(r.file) ? [r.file] : []));
}

/** Undo logs with old bytes of this disk. */
export function undoLogs(disk: RetiredTarget): string[] {
  return listRuns(stateDirs()).runs.flatMap(({ folder, record }) =>
    record.sources.flatMap((source) => {
      const path = join(folder, basename(source.log));
      return maySameSource(source, disk.identity) && existsSync(path) ? [path] : [];
    }),
  );
}

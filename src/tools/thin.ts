import { StorageError } from "../core/errors.ts";
import { findProgram } from "./find.ts";
import { runLimited } from "./limited.ts";

/** Blocks of a thin volume that lie one behind the other, in it and in its pool; counted in the pool's blocks. */
export interface ThinMapping {
  readonly origin: number;
  readonly data: number;
  readonly length: number;
  /** A snapshot was made since it was written, removed or not: the kernel writes to a new block then (dm-thin-metadata.c, __snapshotted_since). */
  readonly moves: boolean;
}

/** Where the bytes of a thin volume lie, in one instant. */
export interface ThinStanding {
  readonly blockBytes: number;
  /** What it has of the pool, in its own order. */
  readonly mappings: readonly ThinMapping[];
  /** What it has not of its pool is read from a volume outside of it. */
  readonly external: boolean;
  /** Blocks that another volume of the pool has as well. */
  readonly shared: number;
  /** Bytes of the pool that no volume has. */
  readonly freeBytes: number;
}

const SECTOR = 512;
/** thin_dump reads all of a pool's metadata: 16 GiB at most. */
const LIMIT_MS = 10 * 60_000;

/**
 * How a thin volume lies in its pool, by the kernel's own metadata: those of the instant in which it is asked (device-mapper's
 * reserve_metadata_snap; Documentation/admin-guide/device-mapper/thin-provisioning.rst). Null: the device is no thin volume. Throws `unsupported`
 * without the programs, `locked` when somebody else looks at the metadata, `io` with what they say.
 */
export async function thinStanding(device: string, signal?: AbortSignal): Promise<ThinStanding | null> {
  const thin = parseThin(await ask("dmsetup", ["table", device], signal));
  if (thin === null) return null;
  const pool = ["-j", thin.major, "-m", thin.minor];
  const { metadata, blockSectors } = parsePool(await ask("dmsetup", ["table", ...pool], signal));
  // Before the snapshot, so that a missing program leaves none.
  for (const name of ["thin_ls", "thin_dump"]) program(name);
  if (parseStatus(await ask("dmsetup", ["status", ...pool], signal)).held) {
    const name = (await ask("dmsetup", ["info", "-c", "--noheadings", "-o", "name", ...pool], signal)).trim();
    throw new StorageError("locked", `somebody else looks at the metadata of the thin pool ${name}`, {
      layer: "lvm",
      hint: `wait for it; when nobody does any more: dmsetup message ${name} 0 release_metadata_snap`,
    });
  }
  // Nothing listens to Ctrl-C until the pool is as it was.
  await ask("dmsetup", ["message", ...pool, "0", "reserve_metadata_snap"]);
  try {
    const source = await pathOf(metadata);
    const list = await ask("thin_ls", ["-m", "--no-headers", "-o", "DEV,SHARED_BLOCKS", source]);
    const dump = await ask("thin_dump", ["-m", "--dev-id", thin.id, source]);
    const { used, total } = parseStatus(await ask("dmsetup", ["status", ...pool]));
    const blockBytes = blockSectors * SECTOR;
    return {
      blockBytes,
      external: thin.external,
      mappings: parseMappings(dump, thin.id),
      shared: parseShared(list, thin.id),
      freeBytes: (total - used) * blockBytes,
    };
  } finally {
    await ask("dmsetup", ["message", ...pool, "0", "release_metadata_snap"]);
  }
}

/** `0 131072 thin 253:4 7`: pool and number, then perhaps an external origin. */
export function parseThin(
  table: string,
): { readonly major: string; readonly minor: string; readonly id: string; readonly external: boolean } | null {
  const match = /^\d+ \d+ thin (\d+):(\d+) (\d+)( \S+)?/.exec(table);
  return match && { major: match[1]!, minor: match[2]!, id: match[3]!, external: match[4] !== undefined };
}

/** `0 81920 thin-pool 253:2 253:3 128 0 …`: metadata, data, sectors of a block. */
export function parsePool(table: string): { readonly metadata: string; readonly blockSectors: number } {
  const match = /^\d+ \d+ thin-pool (\d+:\d+) \d+:\d+ (\d+) /.exec(table);
  if (match === null) throw notUnderstood("dmsetup", table);
  return { metadata: match[1]!, blockSectors: Number(match[2]) };
}

/** `0 81920 thin-pool 4 20/1024 65/640 - rw …`: transaction, blocks of metadata and of data, the block of a metadata snapshot. */
export function parseStatus(status: string): { readonly used: number; readonly total: number; readonly held: boolean } {
  const match = /^\d+ \d+ thin-pool \d+ \d+\/\d+ (\d+)\/(\d+) (\d+|-) /.exec(status);
  if (match === null) throw notUnderstood("dmsetup", status);
  return { used: Number(match[1]), total: Number(match[2]), held: match[3] !== "-" };
}

/** thin_ls: a row for each volume, its number and how many of its blocks others have, too. */
export function parseShared(list: string, id: string): number {
  for (const row of list.split("\n")) {
    const [device, shared] = row.trim().split(/\s+/);
    if (device === id && /^\d+$/.test(shared ?? "")) return Number(shared);
  }
  throw notUnderstood("thin_ls", list);
}

/** thin_dump's XML; throws unless it has the volume, so that nothing is ever taken for empty. */
export function parseMappings(xml: string, id: string): ThinMapping[] {
  const head = [...xml.matchAll(/<device ([^>]*)>/g)].find(([, text]) => attribute(text!, "dev_id") === Number(id));
  if (head === undefined) throw notUnderstood("thin_dump", xml);
  // An empty volume has no element of its own to end.
  const start = head.index + head[0].length;
  const body = head[0].endsWith("/>") ? "" : xml.slice(start, xml.indexOf("</device>", start));
  const snapTime = attribute(head[1]!, "snap_time");
  const found = [...body.matchAll(/<(single|range)_mapping ([^>]*)\/>/g)].map(([, kind, text]) => {
    const single = kind === "single";
    return {
      origin: attribute(text!, single ? "origin_block" : "origin_begin"),
      data: attribute(text!, single ? "data_block" : "data_begin"),
      length: single ? 1 : attribute(text!, "length"),
      moves: attribute(text!, "time") < snapTime,
    };
  });
  const mapped = found.reduce((sum, m) => sum + m.length, 0);
  if (mapped !== attribute(head[1]!, "mapped_blocks")) throw notUnderstood("thin_dump", xml);
  return found.sort((a, b) => a.origin - b.origin);
}

function attribute(text: string, name: string): number {
  const match = new RegExp(`\\b${name}="(\\d+)"`).exec(text);
  if (match === null) throw notUnderstood("thin_dump", text);
  return Number(match[1]);
}

function notUnderstood(name: string, text: string): StorageError {
  return new StorageError("io", `what ${name} says is not understood: ${text.trim().slice(0, 200)}`, { layer: "lvm" });
}

async function pathOf(number: string): Promise<string> {
  const [major, minor] = number.split(":");
  const args = ["info", "-c", "--noheadings", "-o", "name", "-j", major!, "-m", minor!];
  return `/dev/mapper/${(await ask("dmsetup", args)).trim()}`;
}

function program(name: string): string {
  const path = findProgram(name);
  if (path !== null) return path;
  throw new StorageError("unsupported", `${name} is not installed`, {
    layer: "lvm",
    feature: name,
    hint: `install the package ${name === "dmsetup" ? "dmsetup" : "thin-provisioning-tools"}`,
  });
}

async function ask(name: string, args: readonly string[], signal?: AbortSignal): Promise<string> {
  const env = { ...process.env, LC_ALL: "C" };
  const { code, output, errors } = await runLimited(program(name), args, env, { limitMs: LIMIT_MS, signal });
  signal?.throwIfAborted();
  if (code === 0) return output;
  throw new StorageError("io", `${name}: ${errors.trim() || `it ended with ${code ?? "a signal"}`}`, { layer: "lvm" });
}

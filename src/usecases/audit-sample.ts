import { createHash, randomInt } from "node:crypto";
import type { AuditGuest, AuditLayer, AuditSample, HostReader, State } from "../audit/model.ts";
import { judgeSample, type SampleFinding, type SamplePiece } from "../audit/sample.ts";
import { type CryptSegment, parseDmTable } from "../audit/storage/dm-table.ts";
import { type LuksPlace, luksPlaces } from "../audit/storage/luks-inside.ts";
import { type BlockDevice, readBytes } from "../core/device.ts";
import { StorageError } from "../core/errors.ts";
import { type FileDevice, openFileDevice } from "../core/file-device.ts";
import type { KeyProvider } from "../core/layer.ts";
import { blockDeviceSectorSize, blockDeviceSize } from "../host/block-device.ts";
import type { TreeNode } from "../stack/tree.ts";
import { isLuks, lookInto } from "./look-for-luks.ts";
import { luksFacts } from "./luks-facts.ts";

const SECTOR = 512;
/** Bytes of one piece, and how many of them: 4 MiB. */
const PIECE = 64 * 1024;
const PIECES = 64;

/** Reads at an offset; throws what the device throws. */
type Read = (into: Uint8Array, offset: number) => Promise<void>;

const STATES: Readonly<Record<SampleFinding, State>> = {
  random: "pass",
  structured: "fail",
  same: "fail",
  unopened: "unknown",
  empty: "n-a",
  few: "unknown",
};

/**
 * Reads some MiB of each mapping that is said to encrypt, below it and above it, and judges what is stored. Nothing of it is kept but a hash of
 * what lies below.
 */
export async function sampleGuests(
  guests: readonly AuditGuest[],
  host: HostReader,
  { keys, signal }: { readonly keys: KeyProvider; readonly signal?: AbortSignal | undefined },
): Promise<AuditSample[]> {
  const table = await host.run(["dmsetup", "table"]);
  const tables = table.kind === "ran" && table.exit === 0 ? parseDmTable(table.stdout) : null;
  const names = new Set(guests.flatMap((g) => g.disks.flatMap((d) => (d.layers === null ? [] : cryptNames(d.layers)))));
  const samples: AuditSample[] = [];
  for (const name of [...names].sort()) {
    signal?.throwIfAborted();
    samples.push(await sampleMapping(name, tables?.get(name) ?? null));
  }
  // The same image may be given to several guests.
  const inside = new Map(guests.flatMap(luksPlaces).map((p) => [p.path, p]));
  for (const place of inside.values()) samples.push(...(await sampleInside(place, keys, signal)));
  return samples;
}

function cryptNames(layer: AuditLayer): string[] {
  return [...(layer.kind === "crypt" ? [layer.name] : []), ...layer.below.flatMap(cryptNames)];
}

async function sampleMapping(name: string, segments: readonly CryptSegment[] | null): Promise<AuditSample> {
  const [segment] = segments ?? [];
  if (segments?.length !== 1 || segment?.target !== "crypt" || segment.device === null || segment.offset === null)
    return unknownSample(name, "its table is not known (dmsetup table), or not of one piece");
  const { device, offset, length } = segment;
  try {
    const path = /^\d+:\d+$/.test(device) ? `/dev/block/${device}` : device;
    await using below = openBlock(path);
    await using above = openBlock(`/dev/mapper/${name}`);
    return await samplePair(
      name,
      (into, at) => below.read(into, offset * SECTOR + at),
      (into, at) => above.read(into, at),
      Math.min(length * SECTOR, above.size),
    );
  } catch (error) {
    if (!(error instanceof StorageError)) throw error;
    return unknownSample(name, error.message);
  }
}

/** LUKS inside a disk, read through our own stack: below it, and above it where a key opens it. */
async function sampleInside(
  { target, path, format }: LuksPlace,
  keys: KeyProvider,
  signal?: AbortSignal,
): Promise<AuditSample[]> {
  const read = async (device: BlockDevice, into: Uint8Array, at: number): Promise<void> => {
    into.set(await readBytes(device, at, into.length, { signal }));
  };
  const sampled = await lookInto({ format, backing: [] }, path, keys, async (tree) => {
    const found = tree.roots.flatMap((root) => containersUnder(root, null));
    const samples: AuditSample[] = [];
    for (const { node, below } of found) {
      const name = `${target}: ${String(node.details.uuid ?? "LUKS")}`;
      const [segment, ...more] = luksFacts(node).segments;
      const offset = segment?.offset ?? null;
      if (below === null || offset === null || more.length > 0)
        samples.push(
          unknownSample(name, "its ciphertext lies among what the image keeps of itself, or not in one piece"),
        );
      else {
        const { content } = node;
        const size = Math.min(below.size - offset, content?.size ?? Number.POSITIVE_INFINITY);
        samples.push(
          await samplePair(
            name,
            (into, at) => read(below, into, offset + at),
            content && ((into, at) => read(content, into, at)),
            size,
          ),
        );
      }
    }
    return samples;
  });
  if (typeof sampled === "string") return [unknownSample(`${target}: LUKS`, sampled)];
  return sampled.length > 0 ? sampled : [unknownSample(`${target}: LUKS`, "no LUKS header was found any more")];
}

/** Every LUKS container with the device that it lies on; none: it is part of an image format. */
function containersUnder(node: TreeNode, parent: TreeNode | null): { node: TreeNode; below: BlockDevice | null }[] {
  const below = node.details.encryption === "LUKS" ? null : (parent?.content ?? parent?.device ?? null);
  return [...(isLuks(node) ? [{ node, below }] : []), ...node.children.flatMap((c) => containersUnder(c, node))];
}

function openBlock(path: string): FileDevice {
  return openFileDevice(path, {
    writable: false,
    size: blockDeviceSize(path),
    sectorSize: blockDeviceSectorSize(path),
  });
}

function unknownSample(name: string, reason: string): AuditSample {
  return {
    mapping: name,
    state: "unknown",
    finding: null,
    reason,
    bytes: 0,
    pieces: 0,
    emptyPieces: 0,
    chiSquare: null,
    equalShare: null,
    sha256: null,
  };
}

/** The first piece and others at places that nobody can foresee, the same below and above; null: what lies above cannot be read. */
export async function samplePair(name: string, below: Read, above: Read | null, size: number): Promise<AuditSample> {
  const places = Math.floor(size / PIECE);
  if (places === 0) return unknownSample(name, "it is smaller than what is read at once");
  const chosen = new Set([0]);
  while (chosen.size < Math.min(PIECES, places)) chosen.add(randomInt(places));
  const hash = createHash("sha256");
  const pieces: SamplePiece[] = [];
  for (const place of [...chosen].sort((a, b) => a - b)) {
    const piece = { below: new Uint8Array(PIECE), above: above && new Uint8Array(PIECE) };
    await below(piece.below, place * PIECE);
    if (piece.above !== null) await above?.(piece.above, place * PIECE);
    hash.update(piece.below);
    pieces.push(piece);
  }
  const { finding, bytes, emptyPieces, chiSquare, equalShare } = judgeSample(pieces);
  return {
    mapping: name,
    state: STATES[finding],
    finding,
    reason: null,
    bytes,
    pieces: pieces.length,
    emptyPieces,
    chiSquare: chiSquare === null ? null : Math.round(chiSquare * 10) / 10,
    equalShare: equalShare === null ? null : Math.round(equalShare * 1e5) / 1e5,
    sha256: hash.digest("hex"),
  };
}

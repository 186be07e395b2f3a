import { createHash, randomInt } from "node:crypto";
import type { AuditGuest, AuditLayer, AuditSample, HostReader, State } from "../audit/model.ts";
import { judgeSample, type SampleFinding, type SamplePiece } from "../audit/sample.ts";
import { type CryptSegment, parseDmTable } from "../audit/storage/dm-table.ts";
import { StorageError } from "../core/errors.ts";
import { type FileDevice, openFileDevice } from "../core/file-device.ts";
import { blockDeviceSectorSize, blockDeviceSize } from "../host/block-device.ts";

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
  signal?: AbortSignal,
): Promise<AuditSample[]> {
  const table = await host.run(["dmsetup", "table"]);
  const tables = table.kind === "ran" && table.exit === 0 ? parseDmTable(table.stdout) : null;
  const names = new Set(guests.flatMap((g) => g.disks.flatMap((d) => (d.layers === null ? [] : cryptNames(d.layers)))));
  const samples: AuditSample[] = [];
  for (const name of [...names].sort()) {
    signal?.throwIfAborted();
    samples.push(await sampleMapping(name, tables?.get(name) ?? null));
  }
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

/** The first piece and others at places that nobody can foresee, the same below and above. */
export async function samplePair(name: string, below: Read, above: Read, size: number): Promise<AuditSample> {
  const places = Math.floor(size / PIECE);
  if (places === 0) return unknownSample(name, "it is smaller than what is read at once");
  const chosen = new Set([0]);
  while (chosen.size < Math.min(PIECES, places)) chosen.add(randomInt(places));
  const hash = createHash("sha256");
  const pieces: SamplePiece[] = [];
  for (const place of [...chosen].sort((a, b) => a - b)) {
    const piece = { below: new Uint8Array(PIECE), above: new Uint8Array(PIECE) };
    await below(piece.below, place * PIECE);
    await above(piece.above, place * PIECE);
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
    equalShare: Math.round(equalShare * 1e5) / 1e5,
    sha256: hash.digest("hex"),
  };
}

import type { Finding, Json } from "../../core/finding.ts";
import * as feature from "./features.ts";
import type { Head } from "./head.ts";
import type { Header } from "./header.ts";
import type { Snapshot } from "./snapshots.ts";

const COMPRESSION = ["deflate", "zstd"];
const ENCRYPTION = ["none", "AES", "LUKS"];

interface Shown {
  readonly snapshots: readonly Snapshot[];
  /** The one that is shown in place of the disk. */
  readonly snapshot: Snapshot | null;
  /** Of the LUKS header in the image. */
  readonly luks: { readonly [key: string]: Json | undefined } | null;
}

/** What `inspect` shows of the container. */
export function details(
  { header: h, extensions: ext, backingName }: Head,
  { snapshots, snapshot, luks }: Shown,
): { readonly [key: string]: Json | undefined } {
  return {
    version: h.version,
    virtualSize: h.size,
    clusterSize: h.clusterSize,
    refcountBits: h.refcountBits,
    backingFile: backingName,
    backingFormat: ext.backingFormat,
    dataFile: ext.dataFile,
    incompatibleFeatures: feature.featureNames(h.incompatible, 0, ext.featureNames),
    compatibleFeatures: feature.featureNames(h.compatible, 1, ext.featureNames),
    autoclearFeatures: feature.featureNames(h.autoclear, 2, ext.featureNames),
    compressionType: COMPRESSION[h.compressionType] ?? `type ${h.compressionType}`,
    encryption: ENCRYPTION[h.cryptMethod] ?? `method ${h.cryptMethod}`,
    ...(luks ? { luks } : {}),
    ...(snapshot ? { snapshot: { id: snapshot.id, name: snapshot.name } } : {}),
    snapshots: snapshots.map(({ id, name, date, vmStateSize, diskSize }) => ({
      id,
      name,
      date,
      vmStateSize,
      diskSize,
    })),
    dirty: (h.incompatible & feature.DIRTY) !== 0n,
    corrupt: (h.incompatible & feature.CORRUPT) !== 0n,
    lazyRefcounts: (h.compatible & feature.LAZY_REFCOUNTS) !== 0n,
  };
}

/** Findings that follow from the header alone. */
export function headerFindings(h: Header, ext: feature.Extensions): Finding[] {
  const out: Finding[] = [];
  if ((h.incompatible & feature.CORRUPT) !== 0n) {
    out.push({
      severity: "error",
      code: "qcow2-corrupt",
      message: "the image is marked corrupt: QEMU met contradicting tables; it is opened for reading only",
      layer: "qcow2",
      offset: 72,
    });
  }
  if ((h.incompatible & feature.DIRTY) !== 0n) {
    out.push({
      severity: "warning",
      code: "qcow2-dirty",
      message:
        "the image is marked dirty: it was not closed and its refcounts may be wrong; they are counted anew before the first write",
      layer: "qcow2",
      offset: 72,
    });
  }
  if (ext.hasBitmaps) {
    const consistent = (h.autoclear & feature.BITMAPS) !== 0n;
    out.push({
      severity: "info",
      code: consistent ? "qcow2-bitmaps" : "qcow2-bitmaps-inconsistent",
      message: consistent
        ? "the image holds persistent bitmaps; writing to it makes them inconsistent (the next backup is a full one)"
        : "the image's persistent bitmaps are inconsistent",
      layer: "qcow2",
    });
  }
  return out;
}

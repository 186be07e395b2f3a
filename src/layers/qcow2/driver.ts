import { checked } from "../../core/checked.ts";
import { type BlockDevice, readBytes } from "../../core/device.ts";
import { describeError, StorageError } from "../../core/errors.ts";
import type { Finding } from "../../core/finding.ts";
import type { Layer, LayerDriver, OpenContext, ProbeHit, ProbeWindow } from "../../core/layer.ts";
import { backingReference } from "./backing.ts";
import { details, headerFindings } from "./describe.ts";
import { Qcow2Device } from "./device.ts";
import { knowsCompression } from "./expand.ts";
import { CORRUPT, DIRTY, type Extensions, parseExtensions, refusedFeatures } from "./features.ts";
import { type Header, parseHeader, QCOW_MAGIC } from "./header.ts";
import { Qcow2Image } from "./image.ts";
import { readSnapshots, type SnapshotTable } from "./snapshots.ts";

/** Bytes of the first cluster that are read at first; header and extensions of most images fit. */
const FIRST_READ = 4096;
const REPAIR_HINT = "repair it with `qemu-img check -r all` (make a copy first)";

/** A hit when the magic and a version that is opened here (2 or 3) stand at the start. */
export async function probeQcow2(window: ProbeWindow): Promise<ProbeHit | null> {
  const start = await window.read(0, 8);
  if (start.length < 8) return null;
  const dv = new DataView(start.buffer, start.byteOffset, start.byteLength);
  const version = dv.getUint32(4);
  if (dv.getUint32(0) !== QCOW_MAGIC || (version !== 2 && version !== 3)) return null;
  return { setId: null, role: null, member: null };
}

export const qcow2Driver: LayerDriver = {
  name: "qcow2",
  probe: probeQcow2,
  async open(members, context) {
    const file = members[0];
    if (!file) throw new StorageError("usage", "no file to open", { layer: "qcow2" });
    const { header, extensions, backingName } = await readHead(file, context);
    const findings: Finding[] = headerFindings(header, extensions);
    const refused = refusal(header, extensions);
    if (refused !== null) {
      return {
        info: { kind: "qcow2", details: details(header, extensions, backingName, []), findings },
        locked: { code: "unsupported", reason: refused },
        children: [],
        async [Symbol.asyncDispose]() {},
      };
    }
    const snapshots = await tryRead(findings, "qcow2-snapshot-table", () =>
      readSnapshots(file, header, context.limits),
    );
    const backing = backingName === null ? null : await openBacking(backingName, extensions, context, findings);
    const problem =
      backing instanceof StorageError ? backing : context.writable ? writeRefusal(header, snapshots) : null;
    return layer({
      file,
      header,
      snapshots: snapshots ?? { snapshots: [], length: 0 },
      backing: backing instanceof StorageError ? null : backing,
      problem,
      context,
      info: { kind: "qcow2", details: details(header, extensions, backingName, snapshots?.snapshots ?? []), findings },
    });
  },
};

const images = new WeakMap<Layer, () => Promise<Qcow2Image>>();

/** Guest clusters with data of their own in an opened qcow2 layer. Reads all its L2 tables. */
export async function allocatedClusters(layer: Layer): Promise<number> {
  const image = images.get(layer);
  if (!image) throw new StorageError("usage", "not an opened qcow2 layer", { layer: "qcow2" });
  return (await image()).allocatedClusters();
}

interface Opened {
  readonly file: BlockDevice;
  readonly header: Header;
  readonly snapshots: SnapshotTable;
  readonly backing: BlockDevice | null;
  /** Why the disk cannot be opened, or not for writing as asked. */
  readonly problem: StorageError | null;
  readonly context: OpenContext;
  readonly info: Layer["info"];
}

function layer(o: Opened): Layer {
  let image: Promise<Qcow2Image> | null = null;
  const open = (): Promise<Qcow2Image> => {
    if (o.problem) return Promise.reject(o.problem);
    image ??= Qcow2Image.open({ ...o, limits: o.context.limits });
    return image;
  };
  const result: Layer = {
    info: o.info,
    locked: null,
    children: [
      {
        name: "qcow2",
        info: null,
        offset: null,
        size: o.header.size,
        unavailable: o.problem ? describeError(o.problem) : null,
        hasContent: true,
        async open() {
          const writable = o.context.writable && o.file.caps.writable;
          return checked(new Qcow2Device(await open(), writable), "qcow2");
        },
      },
    ],
    async [Symbol.asyncDispose]() {
      try {
        // A failed opening has been reported where it was asked for.
        const opened = await image?.catch(() => null);
        await opened?.settle();
      } finally {
        await o.backing?.[Symbol.asyncDispose]();
      }
    },
  };
  images.set(result, open);
  return result;
}

async function readHead(
  file: BlockDevice,
  context: OpenContext,
): Promise<{ header: Header; extensions: Extensions; backingName: string | null }> {
  let bytes = await readBytes(file, 0, Math.min(FIRST_READ, file.size));
  const header = parseHeader(bytes, context.limits);
  for (const [offset, length, what] of [
    [header.l1TableOffset, header.l1Size * 8, "the L1 table"],
    [header.refcountTableOffset, header.refcountTableClusters * header.clusterSize, "the refcount table"],
  ] as const) {
    if (offset + length > file.size) {
      throw new StorageError("corrupt", `${what} reaches beyond the end of the file (${file.size} bytes)`, {
        layer: "qcow2",
        offset,
        hint: "the image is truncated: compare its size with that of a backup",
      });
    }
  }
  const upTo = async (end: number): Promise<void> => {
    if (end > file.size)
      throw new StorageError("corrupt", "the file ends inside the header", { layer: "qcow2", offset: file.size });
    if (end > bytes.length) bytes = await readBytes(file, 0, end);
  };
  // The extension area ends where the backing file's name starts, or with the first cluster.
  const end = header.backingName ? header.backingName.offset : header.clusterSize;
  let result = parseExtensions(bytes, header.headerLength, end);
  while ("need" in result) {
    await upTo(Math.min(header.clusterSize, Math.max(result.need, bytes.length * 2), Math.max(file.size, result.need)));
    result = parseExtensions(bytes, header.headerLength, end);
  }
  if (!header.backingName) return { header, extensions: result, backingName: null };
  const { offset, length } = header.backingName;
  await upTo(offset + length);
  return {
    header,
    extensions: result,
    backingName: Buffer.from(bytes.subarray(offset, offset + length)).toString("utf8"),
  };
}

/** Why the disk's contents cannot be read at all, or null. */
function refusal(header: Header, extensions: Extensions): string | null {
  const features = refusedFeatures(header.incompatible, extensions.featureNames);
  if (!knowsCompression(header.compressionType)) features.push(`compression type ${header.compressionType}`);
  if (header.cryptMethod !== 0) features.unshift(`qcow2 encryption method ${header.cryptMethod}`);
  return features.length === 0 ? null : `not supported: ${features.join(", ")}`;
}

function writeRefusal(header: Header, snapshots: SnapshotTable | null): StorageError | null {
  const refuse = (feature: string, message: string) =>
    new StorageError("unsupported", message, { layer: "qcow2", offset: 72, feature, hint: REPAIR_HINT });
  if ((header.incompatible & CORRUPT) !== 0n)
    return refuse("corrupt bit", "the image is marked corrupt: it is not written to");
  if ((header.incompatible & DIRTY) !== 0n)
    return refuse("dirty bit", "the image is marked dirty: it is not written to");
  if (snapshots === null)
    return new StorageError("corrupt", "the snapshot table is damaged: the image is not written to", {
      layer: "qcow2",
      offset: header.snapshotsOffset,
      hint: REPAIR_HINT,
    });
  return null;
}

async function tryRead<T>(findings: Finding[], code: string, work: () => Promise<T>): Promise<T | null> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof StorageError) || error.code !== "corrupt") throw error;
    findings.push({ severity: "error", code, message: error.message, layer: "qcow2", offset: error.offset });
    return null;
  }
}

/** The backing image, or why it cannot be had; a header is shown also without it. */
async function openBacking(
  name: string,
  extensions: Extensions,
  context: OpenContext,
  findings: Finding[],
): Promise<BlockDevice | StorageError> {
  try {
    const reference = backingReference(name, extensions.backingFormat);
    return await context.openImage(reference.path, reference.format);
  } catch (error) {
    if (!(error instanceof StorageError) || error.code === "cancelled") throw error;
    findings.push({
      severity: "error",
      code: "qcow2-backing-file",
      message: `the backing file cannot be opened: ${describeError(error)}${error.hint ? `; ${error.hint}` : ""}`,
      layer: "qcow2",
    });
    return error;
  }
}

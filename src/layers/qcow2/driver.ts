import { checked } from "../../core/checked.ts";
import type { BlockDevice } from "../../core/device.ts";
import { describeWithHint, StorageError } from "../../core/errors.ts";
import type { Finding } from "../../core/finding.ts";
import type {
  Layer,
  LayerDriver,
  OpenContext,
  ProbeHit,
  ProbeWindow,
  SectorCodec,
  UnlockedHeader,
} from "../../core/layer.ts";
import { type Companions, openCompanions, unlockEncryption } from "./companions.ts";
import { details, headerFindings } from "./describe.ts";
import { Qcow2Device } from "./device.ts";
import { type Head, readHead } from "./head.ts";
import { QCOW_MAGIC } from "./header.ts";
import { Qcow2Image } from "./image.ts";
import { refusal, writeRefusal } from "./refusals.ts";
import { findSnapshot, readSnapshots, type Snapshot, type SnapshotTable } from "./snapshots.ts";

/** crypt_method of LUKS ("Header", bytes 32-35). */
const LUKS = 2;

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
  hasSnapshots: true,
  probe: probeQcow2,
  async open(members, context) {
    const file = members[0];
    if (!file) throw new StorageError("usage", "no file to open", { layer: "qcow2" });
    const head = await readHead(file, context.limits);
    const { header } = head;
    const findings: Finding[] = headerFindings(header, head.extensions);
    const refused = refusal(header, head.extensions);
    if (refused !== null) return closed(head, [], findings, { code: "unsupported", reason: refused });

    const read = await tryRead(findings, "qcow2-snapshot-table", () => readSnapshots(file, header, context.limits));
    const table = read instanceof StorageError ? null : read;
    const snapshot = context.snapshot === undefined ? null : chosen(context.snapshot, read, head, context);
    const luks = header.cryptMethod === LUKS ? await unlockEncryption(file, head, context) : null;
    if (luks) findings.push(...luks.findings);
    if (luks && "locked" in luks.result) {
      return closed(head, table?.snapshots ?? [], findings, luks.result.locked, luks);
    }
    const companions = await openCompanions(head, context, findings);
    return opened({
      file,
      head,
      table: table ?? { snapshots: [], length: 0 },
      snapshot,
      companions,
      codec: luks && "codec" in luks.result ? luks.result.codec : null,
      problem: companions.problem ?? (context.writable ? writeRefusal(header, table) : null),
      context,
      info: {
        kind: "qcow2",
        details: details(head, { snapshots: table?.snapshots ?? [], snapshot, luks: luks?.details ?? null }),
        findings,
      },
    });
  },
};

/** A layer that shows its header and has no content. */
function closed(
  head: Head,
  snapshots: readonly Snapshot[],
  findings: readonly Finding[],
  locked: NonNullable<Layer["locked"]>,
  luks: UnlockedHeader | null = null,
): Layer {
  return {
    info: {
      kind: "qcow2",
      details: details(head, { snapshots, snapshot: null, luks: luks?.details ?? null }),
      findings,
    },
    locked,
    children: [],
    async [Symbol.asyncDispose]() {},
  };
}

/** The snapshot that the user wants to see. Throws `usage` when there is none of that name, `corrupt` when it cannot be. */
function chosen(wanted: string, table: SnapshotTable | StorageError, head: Head, context: OpenContext): Snapshot {
  if (table instanceof StorageError) throw table;
  if (context.writable) {
    throw new StorageError("read-only", "an internal snapshot is never written to", {
      layer: "qcow2",
      hint: "copy it out first: qemu-img convert -l SNAPSHOT -O qcow2 IMAGE NEW",
    });
  }
  return findSnapshot(table, wanted, head.header);
}

const images = new WeakMap<Layer, () => Promise<Qcow2Image>>();

/** Guest clusters with data of their own in an opened qcow2 layer. Reads all its L2 tables. */
export async function allocatedClusters(layer: Layer): Promise<number> {
  const image = images.get(layer);
  if (!image) throw new StorageError("usage", "not an opened qcow2 layer", { layer: "qcow2" });
  return (await image()).allocatedClusters();
}

interface Opened {
  readonly file: BlockDevice;
  readonly head: Head;
  readonly table: SnapshotTable;
  readonly snapshot: Snapshot | null;
  readonly companions: Companions;
  readonly codec: SectorCodec | null;
  /** Why the disk cannot be opened, or not for writing as asked. */
  readonly problem: StorageError | null;
  readonly context: OpenContext;
  readonly info: Layer["info"];
}

function opened(o: Opened): Layer {
  const { file, head, companions, context, codec } = o;
  let image: Promise<Qcow2Image> | null = null;
  const open = (): Promise<Qcow2Image> => {
    if (o.problem) return Promise.reject(o.problem);
    image ??= Qcow2Image.open({
      file,
      header: head.header,
      snapshots: o.table,
      snapshot: o.snapshot,
      encryption: head.extensions.encryption,
      backing: companions.backing,
      dataFile: companions.dataFile,
      codec,
      limits: context.limits,
    });
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
        size: o.snapshot?.diskSize ?? head.header.size,
        unavailable: o.problem ? describeWithHint(o.problem) : null,
        hasContent: true,
        async open() {
          const writable = context.writable && file.caps.writable && (companions.dataFile?.caps.writable ?? true);
          return checked(new Qcow2Device(await open(), writable), "qcow2");
        },
      },
    ],
    async [Symbol.asyncDispose]() {
      try {
        // A failed opening has been reported where it was asked for.
        const made = await image?.catch(() => null);
        await made?.settle();
      } finally {
        try {
          await companions.dataFile?.[Symbol.asyncDispose]();
        } finally {
          await companions.backing?.[Symbol.asyncDispose]();
        }
      }
    },
  };
  images.set(result, open);
  return result;
}

async function tryRead<T>(findings: Finding[], code: string, work: () => Promise<T>): Promise<T | StorageError> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof StorageError) || error.code !== "corrupt") throw error;
    findings.push({ severity: "error", code, message: error.message, layer: "qcow2", offset: error.offset });
    return error;
  }
}

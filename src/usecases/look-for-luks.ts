import { Cleanup } from "../core/cleanup.ts";
import { describeError, StorageError } from "../core/errors.ts";
import { openFileDevice } from "../core/file-device.ts";
import { IMAGE_FORMATS, type ImageFormat, type KeyProvider } from "../core/layer.ts";
import { DEFAULT_LIMITS } from "../core/limits.ts";
import { blockDeviceSectorSize, blockDeviceSize } from "../host/block-device.ts";
import { sourceIdentity } from "../host/source-identity.ts";
import type { DomainDisk } from "../libvirt/domain.ts";
import { PathGate } from "../stack/gate.ts";
import { openStack } from "../stack/resolver.ts";
import type { Tree, TreeNode } from "../stack/tree.ts";
import { type LuksFacts, luksFacts } from "./luks-facts.ts";

export interface EncryptionInside {
  /** full: every volume lies in LUKS. partial: some do. unknown: it cannot be opened, or a running guest is changing it. */
  readonly state: "full" | "partial" | "none" | "unknown";
  /** Real paths of the images below it. */
  readonly named: readonly string[];
  /** Of the LUKS containers that were found: `aes-xts-plain64`. */
  readonly ciphers: readonly string[];
  /** Of them, in the order of the disk. */
  readonly containers: readonly LuksFound[];
}

export interface LuksFound {
  readonly version: 1 | 2;
  readonly uuid: string | null;
  readonly cipher: string;
  /** Of the volume key; null: no keyslot tells. */
  readonly keyBits: number | null;
  /** What else the header says, without salts and digests. */
  readonly header: LuksFacts;
}

type Looked = Pick<DomainDisk, "format" | "backing">;

/**
 * Looks for LUKS in a guest's disk, without a key. Takes no lock, so that no guest is kept from starting: what a running guest writes
 * meanwhile can make the answer `unknown`.
 */
export async function encryptionInside(disk: Looked, path: string): Promise<EncryptionInside> {
  const named: string[] = [];
  const found = await lookInto(
    disk,
    path,
    NO_KEYS,
    async (tree) => {
      const containers = tree.roots.flatMap(containersOf);
      return { state: stateOf(tree), ciphers: [...new Set(containers.map((c) => c.cipher))].sort(), containers };
    },
    named,
  );
  if (typeof found === "string") return { state: "unknown", named, ciphers: [], containers: [] };
  return { ...found, named };
}

const NO_KEYS: KeyProvider = { secretsFor: async () => [] };

/** Opens a guest's disk without any lock, for reading; returns why not where it cannot be opened. `named`: is told the images below. */
export async function lookInto<T>(
  disk: Looked,
  path: string,
  keys: KeyProvider,
  look: (tree: Tree) => Promise<T>,
  named: string[] = [],
): Promise<T | string> {
  const format = disk.format === "vpc" ? "vhd" : disk.format;
  if (format !== "raw" && !IMAGE_FORMATS.some((f) => f === format)) return `the format ${format} is not read`;
  try {
    await using cleanup = new Cleanup();
    const open = async (file: string) => {
      const { kind } = sourceIdentity(file);
      const block = kind === "blockdev" ? { size: blockDeviceSize(file), sectorSize: blockDeviceSectorSize(file) } : {};
      return openFileDevice(file, { writable: false, ...block });
    };
    const device = cleanup.use(await open(path));
    const allowed = disk.backing.flatMap((b) => ("path" in b.place ? [b.place.path] : []));
    const source = {
      name: path,
      kind: "file",
      path,
      device,
      format: format as "raw" | ImageFormat,
      details: {},
    } as const;
    const stack = cleanup.use(
      await openStack([source], {
        writable: false,
        keys,
        limits: DEFAULT_LIMITS,
        gate: new PathGate(allowed),
        openFile: (file) => {
          named.push(file);
          return open(file);
        },
      }),
    );
    return await look(stack.tree);
  } catch (error) {
    if (!(error instanceof StorageError)) throw error;
    return describeError(error);
  }
}

function stateOf(tree: Tree): EncryptionInside["state"] {
  if (tree.findings.some((f) => f.severity === "error") || tree.roots.some(isClosed)) return "unknown";
  const encrypted = tree.volumes.filter((v) => isLuks(v.node)).length;
  if (tree.volumes.length === 0 || encrypted === 0) return "none";
  return encrypted === tree.volumes.length ? "full" : "partial";
}

/** A layer that cannot be opened for another reason than its lock. */
function isClosed(node: TreeNode): boolean {
  return (node.details.unavailable !== undefined && !isLuks(node)) || node.children.some(isClosed);
}

function containersOf(node: TreeNode): LuksFound[] {
  const { cipher, keyBits, uuid } = node.details;
  const own: LuksFound[] =
    isLuks(node) && typeof cipher === "string"
      ? [
          {
            // What a qcow2 image has of its own is LUKS1 (QEMU, docs/interop/qcow2.txt).
            version: node.kind === "luks2" ? 2 : 1,
            uuid: typeof uuid === "string" ? uuid : null,
            cipher,
            keyBits: typeof keyBits === "number" ? keyBits : null,
            header: luksFacts(node),
          },
        ]
      : [];
  return [...own, ...node.children.flatMap(containersOf)];
}

/** What hides all that it holds: no null cipher, no part that an encryption has not got to yet. */
export function isLuks(node: TreeNode): boolean {
  const { kind, details } = node;
  const luks = kind === "luks1" || kind === "luks2" || details.encryption === "LUKS";
  return (
    luks &&
    !String(details.cipher ?? "").startsWith("cipher_null") &&
    luksFacts(node).segments.every((s) => s.type === "crypt")
  );
}

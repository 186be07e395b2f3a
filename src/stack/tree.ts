import type { BlockDevice } from "../core/device.ts";
import type { Finding, Json } from "../core/finding.ts";
import type { NodeKind } from "../core/layer.ts";

/** One node of the tree, as `inspect` shows it, with the device that holds its content while the stack is open. */
export interface TreeNode {
  /** Unique in this tree; groups name their members by it. */
  readonly id: string;
  readonly kind: NodeKind;
  /** The shortest selector that names this node, or null when none does. */
  selector: string | null;
  /** Bytes from the start of the parent's content when the node is one contiguous run there, else null. */
  readonly offset: number | null;
  /** Bytes. */
  readonly size: number;
  details: { readonly [key: string]: Json | undefined };
  readonly findings: Finding[];
  readonly children: TreeNode[];
  /** Elements of the path from the source: `["qcow2", "p2", "lvm:lvg1", "lvroot"]`. */
  readonly path: readonly string[];
  /** The node's content; null where there is none to read (a locked layer, a missing leg, an extended partition). */
  readonly device: BlockDevice | null;
  /** What an image or an opened encryption holds, as one run of bytes; its parts are the children. Null for other nodes. */
  content: BlockDevice | null;
  /** Index of the source it (first) stems from, from 0. */
  readonly source: number;
}

export type VolumeKind = "filesystem" | "swap" | "unknown" | "locked";

/** A leaf: what holds a file system, swap, data unknown to us, or a lock without a key. */
export interface Volume {
  readonly selector: string;
  readonly path: readonly string[];
  readonly kind: VolumeKind;
  /** As blkid's TYPE. */
  readonly type: string | null;
  readonly size: number;
  readonly uuid: string | null;
  readonly label: string | null;
  readonly state: string | null;
  readonly readable: boolean;
  /** Why it cannot be read. */
  readonly reason: string | null;
  /** The node that carries it: the file system's own, or the container's when nothing was recognised. */
  readonly node: TreeNode;
  /** Every other name that selects it, for look-ups and for messages. */
  readonly aliases: readonly string[];
  readonly device: BlockDevice | null;
}

export interface Tree {
  /** One per source, in their order. */
  readonly roots: readonly TreeNode[];
  /** What spans sources: volume groups, arrays. `details.members` are ids in `roots`. */
  readonly groups: readonly TreeNode[];
  readonly volumes: readonly Volume[];
  /** All findings of all nodes, and those of the stack itself. */
  readonly findings: readonly Finding[];
}

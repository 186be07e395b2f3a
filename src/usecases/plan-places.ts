import { realpathSync } from "node:fs";
import { StorageError } from "../core/errors.ts";
import type { Json } from "../core/finding.ts";
import { IMAGE_FORMATS, type ImageFormat } from "../core/layer.ts";
import type { ArrayPlace, FilePlace, PhysicalVolume, Place, SourcePlace, VolumeGroup } from "../plan/places.ts";
import type { Tree, TreeNode } from "../stack/tree.ts";

/** Segments whose activation writes nothing. */
const STATELESS = ["linear", "striped", "error", "zero"];

/** A physical volume or array member that udev would see. */
export interface HiddenMember {
  readonly type: "LVM2_member" | "linux_raid_member";
  readonly uuid: string;
}

function refused(message: string, feature: string, hint?: string): StorageError {
  return new StorageError("unsupported", message, { layer: "plan", feature, hint });
}

/** Where the nodes of an opened tree lie, as a plan has to open them. Each node has one place. */
export class Places {
  readonly #tree: Tree;
  readonly #sources: readonly (SourcePlace | FilePlace)[];
  readonly #header: string | null;
  readonly #parents = new Map<TreeNode, TreeNode>();
  readonly #byId = new Map<string, TreeNode>();
  readonly #places = new Map<TreeNode, Place>();
  readonly #groups = new Map<TreeNode, VolumeGroup>();

  /** `sources`: what the tree's roots are, in their order. `header`: the detached LUKS header of the first. */
  constructor(tree: Tree, sources: readonly (SourcePlace | FilePlace)[], header: string | null) {
    this.#tree = tree;
    this.#sources = sources;
    this.#header = header;
    const visit = (node: TreeNode): void => {
      this.#byId.set(node.id, node);
      for (const child of node.children) {
        this.#parents.set(child, node);
        visit(child);
      }
    };
    for (const node of [...tree.roots, ...tree.groups]) visit(node);
  }

  hidden(): HiddenMember[] {
    return [...this.#byId.values()].flatMap(({ kind, details }): HiddenMember[] => {
      if (kind === "lvm-pv" && typeof details.pvUuid === "string")
        return [{ type: "LVM2_member", uuid: details.pvUuid }];
      const uuid = kind === "md-member" ? (details.arrayUuid ?? details.uuid) : null;
      return typeof uuid === "string" ? [{ type: "linux_raid_member", uuid }] : [];
    });
  }

  /** The place of what a node holds. */
  of(node: TreeNode): Place {
    const known = this.#places.get(node);
    if (known) return known;
    const made = this.#make(node);
    this.#places.set(node, made);
    return made;
  }

  #make(node: TreeNode): Place {
    const root = this.#tree.roots.indexOf(node);
    if (root >= 0) return this.#sources[root]!;
    const { kind, details } = node;
    if (kind === "md") return this.#array(node);
    const parent = this.#parents.get(node);
    if (!parent) throw refused(`${node.selector ?? kind} cannot be planned for`, kind);
    if (kind === "lvm-lv") {
      if (details.unavailable !== undefined)
        throw refused(`${node.selector} cannot be opened: ${text(details.unavailable)}`, "an incomplete volume");
      return { kind: "volume", group: this.#group(parent), name: node.path[node.path.length - 1]! };
    }
    const below = this.of(parent);
    if (kind === "partition") {
      if (node.offset === null) throw refused(`${node.selector} has no usable place on its disk`, "an odd partition");
      return { kind: "slice", of: below, name: node.path[node.path.length - 1]!, offset: node.offset, size: node.size };
    }
    if (kind === "luks1" || kind === "luks2") {
      const detached = this.#header !== null && node.source === 0 && ["raw", ...IMAGE_FORMATS].includes(parent.kind);
      return {
        kind: "luks",
        of: below,
        uuid: text(details.uuid),
        header: detached ? this.#header : null,
        opened: text((details.unlockedBy as { origin?: string } | undefined)?.origin),
      };
    }
    if ((IMAGE_FORMATS as readonly string[]).includes(kind)) return this.#image(node, below);
    return below;
  }

  #image(node: TreeNode, below: Place): Place {
    const format = node.kind as ImageFormat;
    if (below.kind !== "source" && below.kind !== "file") {
      throw refused(`the ${format} image lies in another layer directly`, "an image that is no file");
    }
    if (node.details.encryption !== undefined && node.details.encryption !== "none") {
      throw refused(
        `the ${format} image is encrypted by QEMU itself`,
        "encryption inside qcow2",
        "check, exec and export open it",
      );
    }
    return { kind: "image", of: below, format };
  }

  #array(node: TreeNode): ArrayPlace {
    const { name, uuid, mdadmUuid } = node.details;
    const members = this.#members(node).map((m) => this.of(m));
    return { kind: "array", name: text(name), uuid: text(mdadmUuid ?? uuid), members };
  }

  #members(group: TreeNode): TreeNode[] {
    return (group.details.members as string[]).map((id) => this.#byId.get(id)!);
  }

  #group(node: TreeNode): VolumeGroup {
    const known = this.#groups.get(node);
    if (known) return known;
    const { name, uuid, pvs, extentSize, status, systemId, lockType } = node.details;
    const called = text(name);
    const listed = pvs as unknown as {
      uuid: string;
      missing: boolean;
      devSize: number;
      peStart: number;
      peCount: number;
    }[];
    if (listed.some((pv) => pv.missing))
      throw refused(`${called} lacks a physical volume`, "a partial group", "name all disks of the guest");
    if ((status as string[]).includes("EXPORTED"))
      throw refused(`${called} is exported`, "an exported group", "vgimport ends that, in the guest");
    if (systemId) throw refused(`${called} belongs to the system ${text(systemId)}`, "a group with a system id");
    if (lockType) throw refused(`${called} is shared by hosts`, "a shared group");
    const nodes = this.#members(node);
    const members = listed.map((pv): PhysicalVolume => {
      const member = nodes.find((m) => m.details.pvUuid === pv.uuid)!;
      const dataEnd = pv.peStart + pv.peCount * (extentSize as number);
      return { place: this.of(member), uuid: pv.uuid, size: member.size, dataStart: pv.peStart, dataEnd };
    });
    const types = node.children.flatMap((lv) =>
      ((lv.details.segments ?? []) as unknown as { type: string }[]).map((s) => s.type),
    );
    const stateful = [...new Set(types)].filter((type) => !STATELESS.includes(type));
    const group = { name: called, uuid: text(uuid), members, stateful };
    this.#groups.set(node, group);
    return group;
  }
}

/** A source of the host, by its real path: what a link names could change. */
export function hostSource(name: string, kind: "file" | "blockdev"): SourcePlace {
  return { kind: "source", path: realpathSync(name), block: kind === "blockdev" };
}

function text(value: Json | undefined): string {
  return typeof value === "string" ? value : "";
}

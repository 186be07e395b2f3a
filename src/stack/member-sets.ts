import type { BlockDevice } from "../core/device.ts";
import { StorageError } from "../core/errors.ts";
import type { LayerDriver } from "../core/layer.ts";
import { missingRoles } from "../layers/lvm/driver.ts";
import { type ContextOptions, layerContext } from "./images.ts";
import type { TreeNode } from "./tree.ts";

/** Set ids that the LVM driver gives to physical volumes without a group of their own knowledge. */
const ORPHAN = "lvm-orphan:";

/** A physical volume, or a part of an array. */
export interface Member {
  readonly device: BlockDevice;
  readonly node: TreeNode;
  /** What it is in its set, as its driver tells members apart. */
  readonly role: string;
}

/** A volume group or an array, with those of its members that were found. */
export interface MemberSet {
  readonly driver: LayerDriver;
  readonly members: Member[];
}

/** Members seen so far that wait for their set to be opened. */
export class MemberSets {
  readonly #options: ContextOptions;
  readonly #sets = new Map<string, MemberSet>();

  constructor(options: ContextOptions) {
    this.#options = options;
  }

  /** `id` is the set's own (a UUID, never a name). */
  add(id: string, driver: LayerDriver, member: Member): void {
    const set = this.#sets.get(id) ?? { driver, members: [] };
    set.members.push(member);
    this.#sets.set(id, set);
  }

  /**
   * Sets whose members are all known so far. A physical volume that does not know its own group (no metadata area, or an ignored one)
   * waits until a group asks for it; when nothing else is left to open, it is opened alone, and the driver says what is wrong with it.
   */
  async take(): Promise<MemberSet[]> {
    const out: MemberSet[] = [];
    const orphans = [...this.#sets].filter(([id]) => id.startsWith(ORPHAN));
    // What is in an array may belong to a volume group that other disks already began.
    const arraysFirst = [...this.#sets.values()].some((set) => set.driver.name === "md");
    const taken = new Set<string>();
    for (const [id, set] of this.#sets) {
      if (id.startsWith(ORPHAN) || (arraysFirst && set.driver.name !== "md")) continue;
      for (const group of splitClones(set.members)) {
        const missing = orphans.length === 0 || set.driver.name !== "lvm" ? [] : await this.#missing(group);
        for (const [orphanId, orphan] of orphans) {
          const wanted = orphan.members.filter((m) => missing.includes(m.role));
          if (wanted.length > 0) taken.add(orphanId);
          group.push(...wanted);
        }
        out.push({ driver: set.driver, members: group });
      }
    }
    if (out.length === 0) {
      this.#sets.clear();
      return orphans.map(([, set]) => ({ driver: set.driver, members: set.members.slice(0, 1) }));
    }
    for (const [id, set] of [...this.#sets]) {
      if (id.startsWith(ORPHAN) ? taken.has(id) : !arraysFirst || set.driver.name === "md") this.#sets.delete(id);
    }
    return out;
  }

  /** A group whose metadata cannot be read wants nobody: opening it will say why. */
  async #missing(members: readonly Member[]): Promise<readonly string[]> {
    try {
      return await missingRoles(
        members.map((m) => m.device),
        layerContext(this.#options, "lvm"),
      );
    } catch (error) {
      if (error instanceof StorageError && error.code !== "cancelled") return [];
      throw error;
    }
  }
}

/**
 * Two disks that were cloned carry the same set and the same roles. Which belong together cannot be known across sources, so each
 * source's members are then a set of their own.
 */
function splitClones(members: Member[]): Member[][] {
  const roles = new Set(members.map((m) => m.role));
  if (roles.size === members.length) return [[...members]];
  const bySource = new Map<number, Member[]>();
  for (const m of members) bySource.set(m.node.source, [...(bySource.get(m.node.source) ?? []), m]);
  return [...bySource.values()];
}

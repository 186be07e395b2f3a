import type { BlockDevice } from "../core/device.ts";
import { describeWithHint, StorageError } from "../core/errors.ts";
import type { NodeInfo } from "../core/layer.ts";
import type { Limits } from "../core/limits.ts";
import { nameNodes } from "./selectors.ts";
import type { Tree, TreeNode } from "./tree.ts";

/** A node to be: what it is, where it lies, and what it shows. */
interface Place {
  readonly info: NodeInfo;
  /** Bytes from the start of its parent; null: it is not a piece of it. */
  readonly offset: number | null;
  readonly size: number;
  /** Null: it cannot be read by itself. */
  readonly device: BlockDevice | null;
}

/** What a stack finds, as it grows into a tree: sources and groups on top, below each what was found in it. */
export class TreeBuilder {
  readonly #limits: Limits;
  readonly #roots: TreeNode[] = [];
  readonly #groups: TreeNode[] = [];
  #nodes = 0;

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  /** The next source, the first of which is number 0. */
  root(place: Place): TreeNode {
    const source = this.#roots.length;
    const root = this.#node(`disk${source + 1}`, place, [], source);
    this.#roots.push(root);
    return root;
  }

  /** A set over several places, which is found beside the source of its first `member`. */
  group(driver: string, name: string, member: TreeNode, place: Place): TreeNode {
    const path = [...member.path.slice(0, -1), `${driver}:${name}`];
    const group = this.#node(`${driver}${this.#groups.length + 1}`, place, path, member.source);
    this.#groups.push(group);
    return group;
  }

  /** `element` is its part of the path; null: it has none, what is in it goes by the name of `parent`. */
  child(parent: TreeNode, element: string | null, place: Place): TreeNode {
    const path = element === null || element === "raw" ? parent.path : [...parent.path, element];
    const node = this.#node(`${parent.id}/${element ?? place.info.kind}`, place, path, parent.source);
    parent.children.push(node);
    return node;
  }

  /** A layer above that failed: the tree keeps what is below, says why, and stays usable for all the rest. */
  fail(node: TreeNode, error: StorageError): void {
    const message = describeWithHint(error);
    const layer = error.layer ?? "stack";
    node.findings.push({ severity: "error", code: `${layer}-${error.code}`, layer, message, offset: error.offset });
    node.details = { ...node.details, unavailable: message };
  }

  /** Names all that was found, once nothing more is. */
  finish(sourceNames: readonly string[]): Tree {
    return nameNodes(this.#roots, this.#groups, sourceNames);
  }

  #node(id: string, { info, offset, size, device }: Place, path: readonly string[], source: number): TreeNode {
    this.#nodes++;
    const { nodes } = this.#limits;
    if (this.#nodes > nodes) {
      throw new StorageError("limit", `more than ${nodes} nodes`, {
        layer: "stack",
        hint: "raise it with --limit nodes=N",
      });
    }
    return {
      id,
      kind: info.kind,
      selector: null,
      offset,
      size,
      details: info.details,
      findings: [...info.findings],
      children: [],
      path,
      device,
      content: null,
      source,
    };
  }
}

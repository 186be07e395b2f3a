import { Cleanup } from "../core/cleanup.ts";
import type { BlockDevice } from "../core/device.ts";
import { describeWithHint, StorageError } from "../core/errors.ts";
import type { Finding, Json } from "../core/finding.ts";
import type { ImageFormat, Layer, LayerChild, LayerDriver, NodeInfo } from "../core/layer.ts";
import { findExtBackup } from "../filesystems/ext-backup.ts";
import { recognise } from "../filesystems/registry.ts";
import { missingRoles } from "../layers/lvm/driver.ts";
import {
  type ContextOptions,
  detectImage,
  type ImagePlace,
  imageContext,
  imageDriver,
  layerContext,
  namedAsImage,
} from "./images.ts";
import { leafInfo, withDetail } from "./node-info.ts";
import { NESTED_DRIVERS } from "./registry.ts";
import { nameNodes } from "./selectors.ts";
import type { Tree, TreeNode } from "./tree.ts";
import { probeWindow } from "./window.ts";

/** Where a stack starts: an opened bottom device and what is known about it. */
export interface StackSource {
  /** As the user named it; shown. */
  readonly name: string;
  readonly kind: "file" | "blockdev" | "nbd";
  /** The image's path, from which relative references inside it are resolved. Null for NBD. */
  readonly path: string | null;
  readonly device: BlockDevice;
  /** Null: detect, which is done for plain files only. */
  readonly format: "raw" | ImageFormat | null;
  readonly details: { readonly [key: string]: Json | undefined };
}

export interface StackOptions extends ContextOptions {
  /** A detached LUKS header, tried for the first source's content. */
  readonly detachedHeader?: BlockDevice | undefined;
  /** Shows this internal snapshot of every source, for reading. */
  readonly snapshot?: string | undefined;
}

/** An opened stack: the tree, and the devices in it until disposal. Sources stay the caller's. */
export interface Stack extends AsyncDisposable {
  readonly tree: Tree;
}

/** Set ids that the LVM driver gives to physical volumes without a group of their own knowledge. */
const ORPHAN = "lvm-orphan:";

interface Member {
  readonly device: BlockDevice;
  readonly node: TreeNode;
  readonly role: string;
}

/** Opens all layers over the sources. A source that cannot be opened at all throws; damage further up becomes a finding. */
export async function openStack(sources: readonly StackSource[], options: StackOptions): Promise<Stack> {
  const resolver = new Resolver(sources, options);
  try {
    await resolver.run();
  } catch (error) {
    await resolver[Symbol.asyncDispose]();
    throw error;
  }
  return resolver;
}

class Resolver implements Stack {
  readonly #sources: readonly StackSource[];
  readonly #options: StackOptions;
  readonly #roots: TreeNode[] = [];
  readonly #groups: TreeNode[] = [];
  readonly #opened = new Cleanup();
  /** Members seen so far that wait for their set to be opened. */
  readonly #sets = new Map<string, { driver: LayerDriver; members: Member[] }>();
  #nodes = 0;
  #tree: Tree | null = null;

  constructor(sources: readonly StackSource[], options: StackOptions) {
    this.#sources = sources;
    this.#options = options;
  }

  get tree(): Tree {
    return this.#tree!;
  }

  async run(): Promise<void> {
    for (const [index, source] of this.#sources.entries()) await this.#openSource(source, index);
    for (;;) {
      const ready = await this.#takeSets();
      if (ready.length === 0) break;
      for (const set of ready) await this.#openSet(set.driver, set.members);
    }
    this.#tree = nameNodes(
      this.#roots,
      this.#groups,
      this.#sources.map((s) => s.name),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#opened[Symbol.asyncDispose]();
  }

  async #openSource(source: StackSource, index: number): Promise<void> {
    const root = this.#node({
      id: `disk${index + 1}`,
      info: { kind: source.kind, details: { name: source.name, ...source.details }, findings: [] },
      offset: null,
      size: source.device.size,
      path: [],
      device: source.device,
      source: index,
    });
    this.#roots.push(root);
    const driver = await this.#imageFormat(source, root);
    if (this.#options.snapshot !== undefined && !driver?.hasSnapshots) {
      throw new StorageError("usage", `${source.name} is no image that has internal snapshots`, {
        hint: "--snapshot applies to every source: leave the others out",
      });
    }
    if (driver === null) {
      const raw = this.#child(
        root,
        "raw",
        { kind: "raw", details: {}, findings: [] },
        0,
        source.device.size,
        source.device,
        false,
      );
      await this.#content(source.device, raw, 0);
      return;
    }
    const luks = NESTED_DRIVERS.find((d) => d.name === "luks")!;
    const window = probeWindow(source.device);
    if (source.format !== null && !(await driver.probe(window)) && (await luks.probe(window))) {
      await this.#imageInLuks(luks, driver, source, root);
    } else {
      const guessed = source.format === null && !namedAsImage(source.name, driver);
      await this.#image(driver, source.device, { path: source.path, guessed }, root);
    }
  }

  async #image(
    driver: LayerDriver,
    device: BlockDevice,
    place: Pick<ImagePlace, "path" | "guessed">,
    parent: TreeNode,
  ): Promise<void> {
    const { snapshot } = this.#options;
    const context = { ...imageContext(this.#options, { ...place, layer: driver.name, depth: 0 }), snapshot };
    const layer = await this.#track(driver.open([device], context));
    const size = layer.children[0]?.size ?? device.size;
    const node = this.#child(parent, driver.name, layer.info, null, size, null, true);
    await this.#intoLayer(layer, node, 0);
  }

  /** Only on the user's word (`--format qcow2` on a source that begins with LUKS): what lies inside is never guessed to be an image. */
  async #imageInLuks(luks: LayerDriver, image: LayerDriver, source: StackSource, root: TreeNode): Promise<void> {
    const layer = await this.#track(luks.open([source.device], layerContext(this.#options, "luks")));
    const node = this.#child(root, "luks", layer.info, 0, source.device.size, null, false);
    const child = layer.children[0];
    if (layer.locked || !child) return this.#intoLayer(layer, node, 0);
    await this.#image(image, await this.#track(child.open()), { path: null }, node);
  }

  /**
   * Null: raw. Without the user's word only a plain file is looked at: what a guest wrote onto a block device or an NBD export must
   * never choose the format.
   */
  async #imageFormat(source: StackSource, root: TreeNode): Promise<LayerDriver | null> {
    if (source.format !== null) return source.format === "raw" ? null : imageDriver(source.format);
    if (source.kind !== "file") return null;
    const driver = await detectImage(source.device);
    if (driver && /\.raw$/i.test(source.name)) {
      root.findings.push({
        severity: "warning",
        code: "format-guessed",
        layer: "file",
        message: `its content looks like a ${driver.name} image although its name says raw; if a guest owns this file as a raw disk, use --format raw`,
      });
    }
    return driver;
  }

  /** Looks into a device and hangs what it finds below `parent`. */
  async #content(device: BlockDevice, parent: TreeNode, depth: number): Promise<void> {
    this.#options.signal?.throwIfAborted();
    if (depth > this.#options.limits.nestingDepth) {
      this.#fail(
        parent,
        new StorageError("limit", "layers are nested too deep; raise it with --limit nestingDepth=N", {
          layer: parent.kind,
        }),
      );
      return;
    }
    try {
      if (!(await this.#layer(device, parent, depth))) await this.#leaf(device, parent);
    } catch (error) {
      if (!(error instanceof StorageError) || error.code === "cancelled") throw error;
      this.#fail(parent, error);
    }
  }

  async #layer(device: BlockDevice, parent: TreeNode, depth: number): Promise<boolean> {
    const window = probeWindow(device);
    // A detached header belongs to the first source's own content, never to a LUKS that a guest has inside.
    if (depth === 0 && this.#options.detachedHeader && parent.source === 0) {
      return this.#single(
        NESTED_DRIVERS.find((d) => d.name === "luks")!,
        device,
        parent,
        depth,
        this.#options.detachedHeader,
      );
    }
    for (const driver of NESTED_DRIVERS) {
      const hit = await driver.probe(window);
      if (!hit) continue;
      if (hit.member && hit.role !== null) {
        const node = this.#child(parent, driver.name, hit.member, 0, device.size, device, false);
        const key = hit.setId ?? node.id;
        const set = this.#sets.get(key) ?? { driver, members: [] };
        set.members.push({ device, node, role: hit.role });
        this.#sets.set(key, set);
        return true;
      }
      // Boot code of a file system may end in the signature of a partition table; inside a partition the file system is what counts.
      if (driver.name === "mbr" && parent.kind === "partition" && (await recognise(window))) return false;
      return this.#single(driver, device, parent, depth);
    }
    return false;
  }

  async #single(
    driver: LayerDriver,
    device: BlockDevice,
    parent: TreeNode,
    depth: number,
    header?: BlockDevice,
  ): Promise<boolean> {
    const layer = await this.#track(driver.open([device], layerContext(this.#options, driver.name, header)));
    const transparent = driver.name === "luks";
    const node = this.#child(parent, transparent ? driver.name : null, layer.info, 0, device.size, null, false);
    await this.#intoLayer(layer, node, depth + 1);
    return true;
  }

  async #intoLayer(layer: Layer, node: TreeNode, depth: number): Promise<void> {
    if (layer.locked) {
      node.details = { ...node.details, locked: layer.locked.reason, lockCode: layer.locked.code };
      return;
    }
    for (const child of layer.children) await this.#layerChild(child, node, depth);
  }

  async #layerChild(child: LayerChild, parent: TreeNode, depth: number): Promise<void> {
    if (child.unavailable !== null || !child.hasContent) {
      if (child.info) {
        const info = child.unavailable === null ? child.info : withDetail(child.info, "unavailable", child.unavailable);
        this.#child(parent, child.name, info, child.offset, child.size, null, false);
      } else if (child.unavailable !== null) {
        parent.details = { ...parent.details, unavailable: child.unavailable };
      }
      return;
    }
    let device: BlockDevice;
    try {
      device = await this.#track(child.open());
    } catch (error) {
      if (!(error instanceof StorageError) || error.code === "cancelled") throw error;
      const target = child.info
        ? this.#child(parent, child.name, child.info, child.offset, child.size, null, false)
        : parent;
      this.#fail(target, error);
      return;
    }
    if (!child.info) parent.content = device;
    const target = child.info
      ? this.#child(parent, child.name, child.info, child.offset, child.size, device, false)
      : parent;
    await this.#content(device, target, depth + 1);
  }

  async #leaf(device: BlockDevice, parent: TreeNode): Promise<void> {
    const window = probeWindow(device);
    const found = await recognise(window);
    if (found) {
      this.#child(parent, null, leafInfo(found), 0, device.size, device, false);
      return;
    }
    const lost = await findExtBackup(window);
    const info: NodeInfo = { kind: "unknown", details: {}, findings: lost ? [lost] : [] };
    this.#child(parent, null, info, 0, device.size, device, false);
  }

  /**
   * Sets whose members are all known so far. A physical volume that does not know its own group (no metadata area, or an ignored one)
   * waits until a group asks for it; when nothing else is left to open, it is opened alone, and the driver says what is wrong with it.
   */
  async #takeSets(): Promise<{ driver: LayerDriver; members: Member[] }[]> {
    const out: { driver: LayerDriver; members: Member[] }[] = [];
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

  async #openSet(driver: LayerDriver, members: readonly Member[]): Promise<void> {
    const first = members[0]!.node;
    let layer: Layer;
    try {
      layer = await this.#track(
        driver.open(
          members.map((m) => m.device),
          layerContext(this.#options, driver.name),
        ),
      );
    } catch (error) {
      if (!(error instanceof StorageError) || error.code === "cancelled") throw error;
      for (const m of members) this.#fail(m.node, error);
      return;
    }
    if (layer.locked) {
      for (const m of members) m.node.details = { ...m.node.details, unavailable: layer.locked.reason };
      return;
    }
    const name = String(layer.info.details.name ?? "");
    const array = layer.info.kind === "md" ? layer.children[0] : undefined;
    const size = array?.size ?? members.reduce((sum, m) => sum + m.node.size, 0);
    const group = this.#node({
      id: `${driver.name}${this.#groups.length + 1}`,
      info: withDetail(
        layer.info,
        "members",
        members.map((m) => m.node.id),
      ),
      offset: null,
      size,
      path: [...first.path.slice(0, -1), `${driver.name}:${name}`],
      device: null,
      source: first.source,
    });
    this.#groups.push(group);
    await this.#intoLayer(layer, group, group.path.length);
  }

  /** A layer above that failed: the tree keeps what is below, says why, and stays usable for all the rest. */
  #fail(node: TreeNode, error: StorageError): void {
    const message = describeWithHint(error);
    const finding: Finding = {
      severity: "error",
      code: `${error.layer ?? "stack"}-${error.code}`,
      layer: error.layer ?? "stack",
      message,
      offset: error.offset,
    };
    node.findings.push(finding);
    node.details = { ...node.details, unavailable: message };
  }

  #child(
    parent: TreeNode,
    element: string | null,
    info: NodeInfo,
    offset: number | null,
    size: number,
    device: BlockDevice | null,
    named: boolean,
  ): TreeNode {
    const inPath = named || (element !== null && element !== "raw");
    const node = this.#node({
      id: `${parent.id}/${element ?? info.kind}`,
      info,
      offset,
      size,
      path: inPath ? [...parent.path, element!] : parent.path,
      device,
      source: parent.source,
    });
    parent.children.push(node);
    return node;
  }

  #node(n: {
    id: string;
    info: NodeInfo;
    offset: number | null;
    size: number;
    path: readonly string[];
    device: BlockDevice | null;
    source: number;
  }): TreeNode {
    this.#nodes++;
    const { limits } = this.#options;
    if (this.#nodes > limits.nodes) {
      throw new StorageError("limit", `more than ${limits.nodes} nodes`, {
        layer: "stack",
        hint: "raise it with --limit nodes=N",
      });
    }
    return {
      id: n.id,
      kind: n.info.kind,
      selector: null,
      offset: n.offset,
      size: n.size,
      details: n.info.details,
      findings: [...n.info.findings],
      children: [],
      path: n.path,
      device: n.device,
      content: null,
      source: n.source,
    };
  }

  async #track<T extends AsyncDisposable>(opening: Promise<T>): Promise<T> {
    return this.#opened.use(await opening);
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

import { Cleanup } from "../core/cleanup.ts";
import type { BlockDevice } from "../core/device.ts";
import { StorageError } from "../core/errors.ts";
import type { Layer, LayerChild, LayerDriver, NodeInfo } from "../core/layer.ts";
import { findExtBackup } from "../filesystems/ext-backup.ts";
import { recognise } from "../filesystems/registry.ts";
import {
  type ContextOptions,
  detectImage,
  type ImagePlace,
  imageContext,
  imageDriver,
  layerContext,
  namedAsImage,
} from "./images.ts";
import { type MemberSet, MemberSets } from "./member-sets.ts";
import { leafInfo, withDetail } from "./node-info.ts";
import { NESTED_DRIVERS } from "./registry.ts";
import type { StackSource } from "./source.ts";
import type { Tree, TreeNode } from "./tree.ts";
import { TreeBuilder } from "./tree-builder.ts";
import { probeWindow } from "./window.ts";

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
  readonly #opened = new Cleanup();
  readonly #sets: MemberSets;
  readonly #builder: TreeBuilder;
  #tree: Tree | null = null;

  constructor(sources: readonly StackSource[], options: StackOptions) {
    this.#sources = sources;
    this.#options = options;
    this.#sets = new MemberSets(options);
    this.#builder = new TreeBuilder(options.limits);
  }

  get tree(): Tree {
    return this.#tree!;
  }

  async run(): Promise<void> {
    for (const source of this.#sources) await this.#openSource(source);
    for (;;) {
      const ready = await this.#sets.take();
      if (ready.length === 0) break;
      for (const set of ready) await this.#openSet(set);
    }
    this.#tree = this.#builder.finish(this.#sources.map((s) => s.name));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#opened[Symbol.asyncDispose]();
  }

  async #openSource(source: StackSource): Promise<void> {
    const { size } = source.device;
    const root = this.#builder.root({
      info: { kind: source.kind, details: { name: source.name, ...source.details }, findings: [] },
      offset: null,
      size,
      device: source.device,
    });
    const driver = await this.#imageFormat(source, root);
    if (this.#options.snapshot !== undefined && !driver?.hasSnapshots) {
      throw new StorageError("usage", `${source.name} is no image that has internal snapshots`, {
        hint: "--snapshot applies to every source: leave the others out",
      });
    }
    if (driver === null) {
      const info: NodeInfo = { kind: "raw", details: {}, findings: [] };
      const raw = this.#builder.child(root, "raw", { info, offset: 0, size, device: source.device });
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
    const node = this.#builder.child(parent, driver.name, { info: layer.info, offset: null, size, device: null });
    await this.#intoLayer(layer, node, 0);
  }

  /** Only on the user's word (`--format qcow2` on a source that begins with LUKS): what lies inside is never guessed to be an image. */
  async #imageInLuks(luks: LayerDriver, image: LayerDriver, source: StackSource, root: TreeNode): Promise<void> {
    const layer = await this.#track(luks.open([source.device], layerContext(this.#options, "luks")));
    const { size } = source.device;
    const node = this.#builder.child(root, "luks", { info: layer.info, offset: 0, size, device: null });
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
      this.#builder.fail(
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
      this.#builder.fail(parent, error);
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
        const place = { info: hit.member, offset: 0, size: device.size, device };
        const node = this.#builder.child(parent, driver.name, place);
        this.#sets.add(hit.setId ?? node.id, driver, { device, node, role: hit.role });
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
    const place = { info: layer.info, offset: 0, size: device.size, device: null };
    const node = this.#builder.child(parent, transparent ? driver.name : null, place);
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
    const { name, offset, size, unavailable } = child;
    /** What is named by itself gets a node; anything else is the content of `parent`. */
    const target = (info: NodeInfo | null, device: BlockDevice | null): TreeNode =>
      info ? this.#builder.child(parent, name, { info, offset, size, device }) : parent;
    if (unavailable !== null) {
      if (child.info) target(withDetail(child.info, "unavailable", unavailable), null);
      else parent.details = { ...parent.details, unavailable };
      return;
    }
    if (!child.hasContent) {
      target(child.info, null);
      return;
    }
    let device: BlockDevice;
    try {
      device = await this.#track(child.open());
    } catch (error) {
      if (!(error instanceof StorageError) || error.code === "cancelled") throw error;
      this.#builder.fail(target(child.info, null), error);
      return;
    }
    if (!child.info) parent.content = device;
    await this.#content(device, target(child.info, device), depth + 1);
  }

  async #leaf(device: BlockDevice, parent: TreeNode): Promise<void> {
    const window = probeWindow(device);
    const found = await recognise(window);
    const lost = found ? null : await findExtBackup(window);
    const unknown: NodeInfo = { kind: "unknown", details: {}, findings: lost ? [lost] : [] };
    const info = found ? leafInfo(found) : unknown;
    this.#builder.child(parent, null, { info, offset: 0, size: device.size, device });
  }

  async #openSet({ driver, members }: MemberSet): Promise<void> {
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
      for (const m of members) this.#builder.fail(m.node, error);
      return;
    }
    if (layer.locked) {
      for (const m of members) m.node.details = { ...m.node.details, unavailable: layer.locked.reason };
      return;
    }
    const name = String(layer.info.details.name ?? "");
    const array = layer.info.kind === "md" ? layer.children[0] : undefined;
    const size = array?.size ?? members.reduce((sum, m) => sum + m.node.size, 0);
    const ids = members.map((m) => m.node.id);
    const info = withDetail(layer.info, "members", ids);
    const group = this.#builder.group(driver.name, name, first, { info, offset: null, size, device: null });
    await this.#intoLayer(layer, group, group.path.length);
  }

  async #track<T extends AsyncDisposable>(opening: Promise<T>): Promise<T> {
    return this.#opened.use(await opening);
  }
}

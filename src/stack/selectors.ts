import { StorageError } from "../core/errors.ts";
import type { Finding } from "../core/finding.ts";
import { IMAGE_FORMATS } from "../core/layer.ts";
import type { Tree, TreeNode, Volume, VolumeKind } from "./tree.ts";

/**
 * Names for nodes and volumes. A name belongs to a *place* (a disk, a partition, a logical volume); whatever transparent layers stand
 * in it (qcow2, LUKS), the leaf at its end goes by the place's name.
 */
export function nameNodes(
  roots: readonly TreeNode[],
  groups: readonly TreeNode[],
  sourceNames: readonly string[],
): Tree {
  const volumes: Volume[] = [];
  const only = roots.length === 1;
  const groupNames = new Map(groups.map((g) => [g, groupName(g, groups)]));

  const visit = (node: TreeNode, place: Place): void => {
    const here = placeOf(node, place, only, groupNames);
    if (here !== place || node.kind !== "lvm-vg") node.selector = here.names[0] ?? null;
    const leaf = volumeKind(node);
    if (leaf) volumes.push(volume(node, leaf, here, sourceNames[node.source] ?? ""));
    for (const child of node.children) visit(child, here);
  };

  for (const root of roots)
    visit(root, { names: diskNames(root.source, only, sourceNames[root.source] ?? ""), nested: false });
  for (const group of groups) {
    const { shortest, all } = groupNames.get(group)!;
    group.selector = shortest;
    const place: Place = { names: group.kind === "md" ? all : [], nested: true, group };
    const leaf = volumeKind(group);
    if (leaf) volumes.push(volume(group, leaf, place, sourceNames[group.source] ?? ""));
    for (const child of group.children) visit(child, place);
  }
  const findings: Finding[] = [];
  const collect = (node: TreeNode): void => {
    findings.push(...node.findings);
    node.children.forEach(collect);
  };
  roots.forEach(collect);
  groups.forEach(collect);
  return { roots, groups, volumes: unambiguous(volumes), findings };
}

interface Place {
  /** The preferred name first. */
  readonly names: readonly string[];
  /** Inside a partition or logical volume already: a partition there is written `<place>:pN`. */
  readonly nested: boolean;
  readonly group?: TreeNode;
}

/** 0 → `a`, 25 → `z`, 26 → `aa`, as the kernel names sd devices. */
function driveLetters(index: number): string {
  const rest = index % 26;
  const letter = String.fromCharCode(97 + rest);
  return index < 26 ? letter : driveLetters(Math.floor(index / 26) - 1) + letter;
}

function diskNames(index: number, only: boolean, source: string): string[] {
  const letters = driveLetters(index);
  const base = source.split("/").pop() ?? source;
  const names = [`disk${index + 1}`, `sd${letters}`, `vd${letters}`, `/dev/sd${letters}`, `/dev/vd${letters}`];
  return only ? [...names, base, source] : [...names, base];
}

function placeOf(node: TreeNode, place: Place, only: boolean, groupNames: ReadonlyMap<TreeNode, GroupName>): Place {
  if (node.kind === "partition") {
    const n = Number(node.details.number);
    if (place.nested) return { names: place.names.map((name) => `${name}:p${n}`), nested: true };
    const letters = driveLetters(node.source);
    const device = [`sd${letters}${n}`, `vd${letters}${n}`];
    const names = [`disk${node.source + 1}:p${n}`, ...device, ...device.map((d) => `/dev/${d}`)];
    return { names: only ? [`p${n}`, ...names] : names, nested: true };
  }
  if (node.kind === "lvm-lv" && place.group) {
    const lv = String(node.details.name ?? node.path.at(-1) ?? "");
    const { all, plain } = groupNames.get(place.group)!;
    const mapper = `/dev/mapper/${plain.replaceAll("-", "--")}-${lv.replaceAll("-", "--")}`;
    return { names: [...all.map((vg) => `${vg}/${lv}`), `/dev/${plain}/${lv}`, mapper], nested: true };
  }
  return place;
}

interface GroupName {
  readonly plain: string;
  readonly shortest: string;
  readonly all: readonly string[];
}

/**
 * `lvg1`; `lvg1@hXMstx` when another group has the same name; `disk2:lvg1@hXMstx` when even the UUID is the same (a clone). Arrays are
 * called `md/NAME` in the same way, and as Linux names their devices.
 */
function groupName(group: TreeNode, groups: readonly TreeNode[]): GroupName {
  const isArray = group.kind === "md";
  const name = String(group.details.name ?? "");
  const plain = isArray ? `md/${name}` : name;
  const uuid = String(group.details.uuid ?? "");
  const tagged = `${plain}@${uuid.slice(0, 6)}`;
  const onDisk = `disk${group.source + 1}:${tagged}`;
  const others = groups.filter((g) => g !== group && g.kind === group.kind);
  const sameTag = others.some(
    (g) => g.details.name === name && String(g.details.uuid ?? "").slice(0, 6) === uuid.slice(0, 6),
  );
  const sameName = others.some((g) => g.details.name === name);
  const shortest = sameTag ? onDisk : sameName ? tagged : plain;
  const devices = !isArray
    ? []
    : /^\d+$/.test(name)
      ? [`/dev/${plain}`, `md${name}`, `/dev/md${name}`]
      : [`/dev/${plain}`];
  return { plain, shortest, all: [...new Set([shortest, plain, tagged, onDisk, ...devices])] };
}

function isImage(kind: string | undefined): boolean {
  return IMAGE_FORMATS.some((format) => format === kind);
}

/** A layer whose one content stands directly below it, unless it could not be opened. */
function transparentKind(node: TreeNode): VolumeKind | null {
  if (node.children.length > 0) return null;
  return node.details.locked === undefined ? "unknown" : "locked";
}

function volumeKind(node: TreeNode): VolumeKind | null {
  if (isImage(node.kind)) return transparentKind(node);
  switch (node.kind) {
    case "filesystem":
      return "filesystem";
    case "swap":
      return "swap";
    case "unknown":
      return "unknown";
    case "luks1":
    case "luks2":
      return transparentKind(node);
    case "lvm-lv":
      // A part of another volume, or a pool of others: what cannot be read of it is told there.
      if (node.details.role === "internal" || node.details.role === "pool") return null;
      return node.children.length === 0 && node.details.unavailable !== undefined ? "unknown" : null;
    case "lvm-pv":
    case "md-member":
    case "md":
    case "partition":
    case "raw":
      return node.children.length === 0 && node.details.unavailable !== undefined ? "unknown" : null;
    default:
      return null;
  }
}

function text(value: unknown): string | null {
  return typeof value === "string" && value !== "" ? value : null;
}

function volume(node: TreeNode, kind: VolumeKind, place: Place, source: string): Volume {
  const d = node.details;
  const type = kind === "locked" && node.kind.startsWith("luks") ? "crypto_LUKS" : text(d.type);
  const isContent =
    node.kind === "filesystem" || node.kind === "swap" || node.kind === "md-member" || node.kind.startsWith("luks");
  const uuid = isContent ? text(d.uuid) : null;
  const label = isContent ? text(d.label) : null;
  const reason = text(d.locked) ?? text(d.unavailable);
  const base = source.split("/").pop() ?? source;
  const printed = node.path.map((p) => p.replace(/^(lvm|md):/, "$1/"));
  const full = [base, ...printed].join("/");
  const aliases = [...place.names, full];
  if (!isImage(printed[0])) aliases.push([base, "raw", ...printed].join("/"));
  if (uuid) aliases.push(`UUID=${uuid}`);
  if (label) aliases.push(`LABEL=${label}`);
  return {
    selector: place.names[0] ?? full,
    path: node.path,
    kind,
    type: kind === "unknown" && node.kind !== "md-member" ? null : type,
    size: node.size,
    uuid,
    label,
    state: kind === "locked" ? "locked" : text(d.state),
    readable: reason === null && node.device !== null,
    reason,
    node,
    aliases,
    device: node.device,
  };
}

/** Two leaves of one place would share a name (a whole-disk file system on two sources cannot; a guest's own tricks might). */
function unambiguous(volumes: Volume[]): Volume[] {
  const seen = new Map<string, number>();
  return volumes.map((v) => {
    const n = (seen.get(v.selector) ?? 0) + 1;
    seen.set(v.selector, n);
    if (n === 1) return v;
    const selector = `${v.selector}#${n}`;
    v.node.selector = selector;
    return { ...v, selector, aliases: [selector, ...v.aliases] };
  });
}

function sameName(alias: string, wanted: string): boolean {
  // UUIDs are compared without regard to case, as mount(8) does.
  if (wanted.startsWith("UUID=")) return alias.toLowerCase() === wanted.toLowerCase();
  return alias === wanted;
}

/** The one volume that `selector` names. Throws `usage` with the candidates when none or several do. */
export function findVolume(tree: Tree, selector: string): Volume {
  const exact = tree.volumes.filter((v) => v.selector === selector);
  const hits = exact.length === 1 ? exact : tree.volumes.filter((v) => v.aliases.some((a) => sameName(a, selector)));
  if (hits.length === 1) return hits[0]!;
  const list = (vs: readonly Volume[]) => vs.map((v) => `${v.selector} (${v.type ?? v.kind})`).join(", ");
  if (hits.length > 1) {
    throw new StorageError("usage", `${selector} names more than one volume`, {
      hint: `say which: ${hits.map((v) => bestName(v, hits)).join(", ")}`,
    });
  }
  // What cannot be opened may hold it: that is no slip of the user's.
  const closed = tree.volumes.find((v) => v.reason !== null && v.node.kind !== "lvm-lv");
  if (closed) {
    const key = closed.type === "crypto_LUKS";
    throw new StorageError(
      key ? "key" : "unsupported",
      `no volume is called ${selector}; ${closed.selector} might hold it, but cannot be opened: ${closed.reason}`,
      {
        layer: closed.node.kind,
        hint: key
          ? "give a key with --key-file, or type the passphrase on a terminal"
          : `these are there: ${list(tree.volumes)}`,
      },
    );
  }
  const node = nodeCalled([...tree.roots, ...tree.groups], selector);
  const what = node === null ? "" : ` (${selector} is a place, of kind ${node.kind}, and not a volume)`;
  throw new StorageError("usage", `no volume is called ${selector}${what}`, {
    hint: tree.volumes.length === 0 ? "this source has no volumes" : `these are there: ${list(tree.volumes)}`,
  });
}

/** The deepest node that is shown under this name. */
function nodeCalled(nodes: readonly TreeNode[], selector: string): TreeNode | null {
  for (const node of nodes) {
    const below = nodeCalled(node.children, selector);
    if (below) return below;
    if (node.selector === selector) return node;
  }
  return null;
}

/** The shortest alias that only this one of the candidates has. */
function bestName(v: Volume, among: readonly Volume[]): string {
  const own = [v.selector, ...v.aliases].filter(
    (a) => !among.some((o) => o !== v && (o.selector === a || o.aliases.includes(a))),
  );
  return own[0] ?? v.path.join("/");
}

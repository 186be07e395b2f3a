import type { Tree, TreeNode, Volume } from "../stack/tree.ts";
import type { InspectDocument, NodeDocument, VolumeDocument } from "./documents.ts";
import { openForInspection } from "./open-for-reading.ts";
import type { SourceOptions } from "./source-options.ts";

/** The tree over the sources as a plain document. Nothing is written; without a key a LUKS layer is shown as locked. */
export async function inspect(options: SourceOptions): Promise<InspectDocument> {
  await using opened = await openForInspection({ ...options, look: true });
  const document = inspectDocument(opened.stack.tree);
  opened.confirm();
  return document;
}

export function inspectDocument(tree: Tree): InspectDocument {
  return {
    schema: "unterbau/inspect/1",
    tree: tree.roots.map(nodeDocument),
    groups: tree.groups.map(nodeDocument),
    volumes: tree.volumes.map(volumeDocument),
    findings: tree.findings,
  };
}

function nodeDocument(node: TreeNode): NodeDocument {
  const { id, kind, selector, offset, size, details, findings, children } = node;
  return { id, kind, selector, offset, size, details, findings, children: children.map(nodeDocument) };
}

function volumeDocument(v: Volume): VolumeDocument {
  const { selector, path, kind, type, size, uuid, label, state, readable, reason } = v;
  return { selector, path, kind, type, size, uuid, label, state, readable, reason };
}

/** True when a part of the disk could not be opened although it is there: a wrong key, damage, a refused feature. */
export function isIncomplete(doc: InspectDocument): boolean {
  const refused = (node: NodeDocument): boolean =>
    node.details.lockCode === "wrong-key" || node.details.lockCode === "unsupported" || node.children.some(refused);
  return doc.findings.some((f) => f.severity === "error") || [...doc.tree, ...doc.groups].some(refused);
}

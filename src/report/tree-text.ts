import type { FindingDocument, InspectDocument, NodeDocument } from "../usecases/documents.ts";
import { facts, isContainer, longFacts, typeWord } from "./facts.ts";
import { humanSize, printable } from "./units.ts";

/** How parts of the text are coloured; identity functions give plain text. */
export interface Palette {
  readonly bold: (s: string) => string;
  readonly dim: (s: string) => string;
  readonly red: (s: string) => string;
  readonly yellow: (s: string) => string;
  readonly green: (s: string) => string;
}

export const PLAIN: Palette = { bold: (s) => s, dim: (s) => s, red: (s) => s, yellow: (s) => s, green: (s) => s };

interface Row {
  readonly lead: string;
  readonly name: string;
  readonly offset: string;
  readonly size: string;
  readonly type: string;
  readonly facts: string;
  readonly below: readonly { readonly text: string; readonly severity: FindingDocument["severity"] | "long" }[];
  /** Lead for lines below the row. */
  readonly indent: string;
}

/** The tree as a person reads it. Guest-controlled text is made printable. */
export function treeText(doc: InspectDocument, options: { long?: boolean; palette?: Palette } = {}): string {
  const palette = options.palette ?? PLAIN;
  const rows = new RowBuilder(doc, options.long ?? false).build();
  const width = (pick: (r: Row) => string) => Math.max(0, ...rows.map((r) => pick(r).length));
  const w = {
    name: width((r) => r.lead + r.name),
    offset: width((r) => r.offset),
    size: width((r) => r.size),
    type: width((r) => r.type),
  };
  const lines: string[] = [];
  for (const row of rows) {
    const gap = " ".repeat(w.name - row.lead.length - row.name.length);
    const line = [
      palette.dim(row.lead) + palette.bold(row.name) + gap,
      palette.dim(row.offset.padStart(w.offset)),
      row.size.padStart(w.size),
      row.type.padEnd(w.type),
      row.facts,
    ];
    lines.push(line.join("  ").trimEnd());
    for (const { text, severity } of row.below) {
      const paint = severity === "error" ? palette.red : severity === "warning" ? palette.yellow : palette.dim;
      const mark = severity === "long" ? "  " : severity === "info" ? "i " : "! ";
      lines.push(`${palette.dim(row.indent)}  ${paint(mark + text)}`);
    }
  }
  return `${lines.join("\n")}\n`;
}

class RowBuilder {
  readonly #doc: InspectDocument;
  readonly #long: boolean;
  readonly #rows: Row[] = [];
  /** Groups with one member are shown below it, the others after the trees. */
  readonly #inline = new Map<string, NodeDocument>();

  constructor(doc: InspectDocument, long: boolean) {
    this.#doc = doc;
    this.#long = long;
    for (const group of doc.groups) {
      const members = group.details.members;
      if (Array.isArray(members) && members.length === 1) this.#inline.set(String(members[0]), group);
    }
  }

  build(): Row[] {
    for (const root of this.#doc.tree) {
      // The container (qcow2, raw …) is a fact about the source, not a step of its own.
      const container = root.children[0];
      if (container && isContainer(container)) {
        const stored = root.details.allocatedBytes;
        const virtual = `${typeof stored === "number" ? `${humanSize(stored)} allocated` : ""}`;
        const name = String(root.details.name ?? root.id);
        const label = container.kind === "raw" && root.kind !== "file" ? root.kind : typeWord(container);
        this.#row([root, container], name, "", "", label, null, [virtual, ...facts(container)], container.size);
        this.#children(container, "");
      } else {
        this.#row([root], String(root.details.name ?? root.id), "", "", root.kind, null, facts(root), root.size);
        this.#children(root, "");
      }
    }
    for (const group of this.#doc.groups) {
      if ([...this.#inline.values()].includes(group)) continue;
      const members = (group.details.members as string[]).map((id) => this.#selectorOf(id) ?? id);
      this.#row(
        [group],
        group.selector ?? group.id,
        "",
        "",
        typeWord(group),
        null,
        [`over ${members.join(", ")}`, ...facts(group)],
        group.size,
      );
      this.#children(group, "");
    }
    return this.#rows;
  }

  #selectorOf(id: string): string | null {
    const search = (nodes: readonly NodeDocument[]): string | null => {
      for (const n of nodes) {
        if (n.id === id) return n.selector;
        const below = search(n.children);
        if (below !== null) return below;
      }
      return null;
    };
    return search(this.#doc.tree);
  }

  #children(parent: NodeDocument, lead: string): void {
    const inline = this.#inline.get(parent.id);
    const children = [...parent.children, ...(inline?.children ?? [])];
    children.forEach((child, i) => {
      this.#node(child, lead, i === children.length - 1);
    });
  }

  #node(node: NodeDocument, lead: string, last: boolean): void {
    const branch = lead + (last ? "└─ " : "├─ ");
    const indent = lead + (last ? "   " : "│  ");
    const offset = node.offset !== null && (node.kind === "partition" || node.offset > 0) ? node.offset : null;
    // A place (partition, logical volume) and the one thing in it are one line.
    const only = node.kind === "partition" || node.kind === "lvm-lv" ? node.children[0] : undefined;
    const merged = only && node.children.length === 1 && !["mbr", "gpt"].includes(only.kind) ? only : null;
    const shown = merged ?? node;
    const name = nameOf(node);
    const group = merged ? this.#inline.get(merged.id) : this.#inline.get(node.id);
    const parts = merged && merged.kind !== "unknown" ? [merged, ...(group ? [group] : [])] : [node];
    const findingsOf = merged ? [node, merged, ...(group ? [group] : [])] : [node, ...(group ? [group] : [])];
    const type =
      shown.kind === "unknown" && merged ? (node.kind === "partition" ? typeWord(node) : "unknown") : typeWord(shown);
    this.#row(
      findingsOf,
      name,
      branch,
      indent,
      type,
      offset,
      facts(parts[0]!),
      shown.kind.startsWith("luks") && !merged ? shown.size : node.size,
    );
    this.#children(shown, indent);
  }

  #row(
    nodes: readonly NodeDocument[],
    name: string,
    lead: string,
    indent: string,
    type: string,
    offset: number | null,
    about: string[],
    size: number,
  ): void {
    const below: Row["below"][number][] = [];
    for (const node of nodes) {
      for (const f of node.findings) below.push({ text: printable(f.message), severity: f.severity });
      if (this.#long) for (const text of longFacts(node)) below.push({ text: printable(text), severity: "long" });
    }
    this.#rows.push({
      lead,
      name: printable(name),
      offset: offset === null ? "" : humanSize(offset),
      size: humanSize(size),
      type: printable(type),
      facts: printable(about.filter((f) => f !== "").join(" · ")),
      below,
      indent,
    });
  }
}

function nameOf(node: NodeDocument): string {
  switch (node.kind) {
    case "mbr":
    case "gpt":
      return "partitions";
    case "partition":
    case "lvm-lv":
      return node.selector ?? node.id.split("/").pop() ?? node.id;
    case "luks1":
    case "luks2":
      return "encrypted";
    default:
      return isContainer(node) ? "image" : "content";
  }
}

import type { CopyDocument, FileDocument, ListingDocument } from "../usecases/documents.ts";
import { grouped, humanSize, printable } from "./units.ts";

const LETTERS: Record<FileDocument["type"], string> = {
  file: "-",
  directory: "d",
  symlink: "l",
  char: "c",
  block: "b",
  fifo: "p",
  socket: "s",
};

/** One name per line, or lines as `ls -l` has them; all times in UTC. Guest-controlled text is made printable. */
export function listingText(
  { path, entries }: ListingDocument,
  options: { readonly long: boolean; readonly headed: boolean },
): string {
  const lines = options.long ? longLines(entries) : entries.map((e) => printable(e.name));
  const head = options.headed ? [`${printable(path)}:`] : [];
  return [...head, ...lines].map((line) => `${line}\n`).join("");
}

function longLines(entries: readonly FileDocument[]): string[] {
  const rows = entries.map((e) => [
    LETTERS[e.type] + permissions(e.mode),
    String(e.links),
    String(e.uid),
    String(e.gid),
    e.device ? `${e.device.major}, ${e.device.minor}` : String(e.size),
    e.mtime.slice(0, 16).replace("T", " "),
    printable(e.name) + (e.target === undefined ? "" : ` -> ${printable(e.target)}`),
  ]);
  const widths = [0, 1, 2, 3, 4, 5].map((i) => rows.reduce((w, row) => Math.max(w, row[i]!.length), 0));
  return rows.map((row) =>
    row
      .map((cell, i) => (i === 6 ? cell : i === 0 || i === 5 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
      .join(" "),
  );
}

/** `rwxr-sr-t` from four octal digits. */
function permissions(octal: string): string {
  const mode = Number.parseInt(octal, 8);
  const extra = [
    [0o4000, "s"],
    [0o2000, "s"],
    [0o1000, "t"],
  ] as const;
  return extra
    .map(([bit, letter], i) => {
      const three = (mode >>> (6 - i * 3)) & 7;
      const execute = (three & 1) === 1;
      const last = mode & bit ? (execute ? letter : letter.toUpperCase()) : execute ? "x" : "-";
      return (three & 4 ? "r" : "-") + (three & 2 ? "w" : "-") + last;
    })
    .join("");
}

/** What was copied, in one line. */
export function copyText(doc: CopyDocument): string {
  const parts = [`${grouped(doc.files)} files`, `${grouped(doc.folders)} folders`, `${grouped(doc.links)} links`];
  if (doc.special > 0) parts.push(`${grouped(doc.special)} devices and fifos`);
  const left =
    doc.problems.length > 0 ? `; ${grouped(doc.problems.length)} things were left out or are incomplete` : "";
  return `${parts.join(", ")} (${humanSize(doc.bytes)} of data) are in ${printable(doc.destination)}${left}\n`;
}

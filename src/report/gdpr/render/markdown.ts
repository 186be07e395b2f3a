import type { Block, Box, Cell, Drawing, Paper, Run, Sentence } from "../model.ts";
import { markText } from "../text.ts";
import { word } from "../words.ts";

/** CommonMark with tables as GitHub writes them; nothing in a value is markup. Ends with a line feed. */
export function markdown(paper: Paper): string {
  const head = [`# ${escaped(paper.title)}`, opening(escaped(paper.subtitle))];
  return `${[...head, ...paper.blocks.map((block) => blockText(block, paper))].join("\n\n")}\n`;
}

/** All ASCII punctuation may be escaped in CommonMark (2.4); this is what can be markup within a line. */
function escaped(text: string): string {
  return (
    text
      .replace(/[\\`*_{}[\]<>#|~&$@]/g, "\\$&")
      // Bare addresses become links in GitHub's dialect.
      .replace(/(https?|ftp|mailto)(:)/gi, "$1\\$2")
      .replace(/\b(www)\./gi, "$1\\.")
  );
}

/** What would make a list, a heading or a table's rule of a line's beginning. */
function opening(line: string): string {
  return line.replace(/^([-+=:])/, "\\$1").replace(/^(\d+)([.)])/, "$1\\$2");
}

function runText(run: Run): string {
  const text = escaped(run.text);
  if (run.strong && text.trim() !== "") return `**${text.trim()}**${/\s$/.test(text) ? " " : ""}`;
  // Code in Markdown takes no escapes: only what needs none is written so.
  return run.mono && /^[\w ./:=,-]+$/.test(run.text) ? `\`${run.text}\`` : text;
}

function sentenceText({ runs, origin }: Sentence, paper: Paper): string {
  const said = runs.map(runText).join("").trim();
  return origin ? `${said} ${escaped(markText(origin, paper.lang))}` : said;
}

function cellText(cell: Cell, paper: Paper): string {
  return opening(cell.map((sentence) => sentenceText(sentence, paper)).join(" "));
}

function blockText(block: Block, paper: Paper): string {
  switch (block.kind) {
    case "heading":
      return `${"#".repeat(block.level + 1)} ${block.runs.map(runText).join("")}`;
    case "paragraph":
      return cellText(block.sentences, paper);
    case "note":
      return `> **${escaped(block.title)}.** ${cellText(block.sentences, paper)}`;
    case "list":
      return block.items.map((item) => `- ${cellText(item, paper)}`).join("\n");
    case "table":
      return [
        `| ${block.columns.map(({ title }) => escaped(title)).join(" | ")} |`,
        `|${block.columns.map(() => " --- |").join("")}`,
        ...block.rows.map(
          (row) => `| ${row.map((cell) => cell.map((s) => sentenceText(s, paper)).join("<br>")).join(" | ")} |`,
        ),
      ].join("\n");
    case "figure":
      return `**${escaped(block.caption)} ${block.drawing.guest.map(({ text }) => escaped(text)).join("")}**\n\n${drawingText(block.drawing, paper)}`;
    case "signature":
      return block.places.map(({ role, name }) => signature(role, name, paper)).join("\n\n");
  }
}

/** A list in a list for every layer that lies on another. */
function drawingText(drawing: Drawing, { lang }: Paper): string {
  const lines: string[] = [];
  const walk = (box: Box, depth: number): void => {
    const lock = box.encrypts ? ` **[${word("encrypted", lang)}]**` : "";
    const detail = box.detail.map(runText).join(", ");
    lines.push(
      `${"  ".repeat(depth)}- ${opening(box.title.map(runText).join(" "))}${detail === "" ? "" : ` (${detail})`}${lock}`,
    );
    for (const below of box.below) walk(below, depth + 1);
  };
  for (const { title, encrypted, box } of drawing.disks) {
    const state = { yes: "encrypted", no: "notEncrypted", unknown: "unclear" } as const;
    lines.push(`- ${title.map(runText).join("")}: **${word(state[encrypted], lang)}**`);
    if (box) walk(box, 1);
  }
  return lines.join("\n");
}

const PLACE = { de: "Ort, Datum, Unterschrift", en: "Place, date, signature" };

function signature(role: string, name: string | null, { lang }: Paper): string {
  return `${escaped(role)}${name === null ? "" : `: ${escaped(name)}`}\n\n\\_\\_\\_\\_\\_\\_\\_\\_\\_\\_\\_\\_\\_\\_\\_\\_\\_\\_\\_\\_\\_\\_\\_\\_  \n${PLACE[lang]}`;
}

// Draws the text of a terminal as an SVG: node docs/make-picture.mjs "COMMAND AS SHOWN" < text > picture.svg
// The picture in the README is made from what `make demo` leaves behind; see docs/HACKING.md.
import { readFileSync } from "node:fs";

const CHAR = 8.43;
const LINE = 20;
const PAD = 18;
const xml = (s) => s.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

const command = process.argv[2] ?? "";
const lines = [`$ ${command}`, ...readFileSync(0, "utf8").trimEnd().split("\n")];
const width = Math.ceil(Math.max(...lines.map((l) => [...l].length)) * CHAR) + 2 * PAD;
const height = lines.length * LINE + 2 * PAD + 18;

/** Branches are drawn faint, names strong, verdicts in their colour. */
function paint(line, i) {
  if (i === 0) return `<tspan fill="#7ee787">$</tspan>${xml(line.slice(1))}`;
  const [, lead, name, rest] = /^([│├└─ ]*)(\S*)(.*)$/u.exec(line);
  const marked = xml(rest)
    .replace(/\b(clean|repaired)\b/, '<tspan fill="#7ee787">$1</tspan>')
    .replace(/\b(locked|has errors|NOT CHECKED|missing)\b/, '<tspan fill="#ffa657">$1</tspan>');
  return `<tspan fill="#6e7681">${lead}</tspan><tspan font-weight="bold">${xml(name)}</tspan>${marked}`;
}

const text = lines
  .map((l, i) => `<text x="${PAD}" y="${PAD + 32 + i * LINE}" xml:space="preserve">${paint(l, i)}</text>`)
  .join("\n");
process.stdout.write(`<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" aria-label="${xml(command)}">
<rect width="100%" height="100%" rx="8" fill="#0d1117"/>
<circle cx="20" cy="18" r="5" fill="#f85149"/><circle cx="38" cy="18" r="5" fill="#d29922"/><circle cx="56" cy="18" r="5" fill="#3fb950"/>
<g font-family="ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace" font-size="14" fill="#e6edf3">
${text}
</g>
</svg>
`);

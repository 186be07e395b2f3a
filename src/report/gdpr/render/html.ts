import type { Block, Cell, Paper, Run, Sentence } from "../model.ts";
import { markText } from "../text.ts";
import { drawingSvg, xml } from "./svg.ts";

/** Nothing is loaded from anywhere, no script runs. */
const POLICY = "default-src 'none'; style-src 'unsafe-inline'";

const STYLE = `:root{color-scheme:light}
body{font:16px/1.5 "Source Serif 4",Georgia,"DejaVu Serif",serif;color:#111;background:#fff;max-width:50rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.7rem;line-height:1.2}h2{font-size:1.25rem;margin-top:2.2rem;border-bottom:1px solid #999}h3{font-size:1.05rem;margin-top:1.4rem}
p.subtitle{color:#444}
table{border-collapse:collapse;width:100%;table-layout:fixed;font-size:.88rem;margin:1rem 0}
th,td{border:1px solid #888;padding:.3rem .5rem;vertical-align:top;text-align:left;overflow-wrap:anywhere;hyphens:auto}
th{background:#eee}
code{font:.85em "DejaVu Sans Mono",Consolas,monospace;overflow-wrap:anywhere}
aside{border-left:4px solid #555;background:#f3f3f3;padding:.4rem 1rem;margin:1.2rem 0}
.mark{color:#333;font-size:.78em;white-space:normal}.mark.open{font-weight:bold}
figure{margin:1.2rem 0;overflow-x:auto}figure svg{max-width:100%;height:auto}figcaption{font-size:.88rem}
.sign{display:flex;gap:3rem;margin-top:3rem;break-inside:avoid;break-before:avoid}.sign div{flex:1;border-top:1px solid #111;padding-top:.3rem;margin-top:3rem;font-size:.88rem}
nav ul{columns:2;font-size:.9rem}
@page{size:A4;margin:20mm 18mm}
@media print{:root{font-size:10pt}body{font-size:1rem;max-width:none;margin:0;padding:0}figure{overflow:visible}figure svg{max-height:23cm}nav{display:none}thead{display:table-header-group}tr,figure,aside{break-inside:avoid}h2,h3,p:has(+table){break-after:avoid}a{color:inherit;text-decoration:none}}`;

/** One file that needs no other, and prints well. */
export function html(paper: Paper): string {
  const headings = paper.blocks.flatMap((block, i) =>
    block.kind === "heading" && block.level === 1 ? [{ block, i }] : [],
  );
  const toc = headings.map(({ block, i }) => `<li><a href="#b${i}">${runs(block.runs)}</a></li>`).join("");
  const body = paper.blocks.map((block, i) => blockHtml(block, i, paper)).join("\n");
  return `<!DOCTYPE html>
<html lang="${paper.lang}">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="date" content="${xml(paper.date)}">
<title>${xml(`${paper.title} – ${paper.subtitle}`)}</title>
<style>
${STYLE}
</style>
</head>
<body>
<header><h1>${xml(paper.title)}</h1><p class="subtitle">${xml(paper.subtitle)}</p></header>
<nav aria-label="${{ de: "Inhalt", en: "Contents" }[paper.lang]}"><ul>${toc}</ul></nav>
<main>
${body}
</main>
</body>
</html>
`;
}

function runs(list: readonly Run[]): string {
  return list
    .map((run) => {
      const text = xml(run.text);
      return run.strong ? `<strong>${text}</strong>` : run.mono ? `<code>${text}</code>` : text;
    })
    .join("");
}

function sentence({ runs: list, origin }: Sentence, paper: Paper): string {
  if (!origin) return runs(list);
  return `${runs(list)} <span class="mark ${origin.mark}">${xml(markText(origin, paper.lang))}</span>`;
}

function cell(sentences: Cell, paper: Paper, between = " "): string {
  return sentences.map((s) => sentence(s, paper)).join(between);
}

const PLACE = { de: "Ort, Datum, Unterschrift", en: "Place, date, signature" };

function blockHtml(block: Block, index: number, paper: Paper): string {
  switch (block.kind) {
    case "heading": {
      const tag = `h${block.level + 1}`;
      return `<${tag} id="b${index}">${runs(block.runs)}</${tag}>`;
    }
    case "paragraph":
      return `<p>${cell(block.sentences, paper)}</p>`;
    case "note":
      return `<aside><strong>${xml(block.title)}.</strong> ${cell(block.sentences, paper)}</aside>`;
    case "list":
      return `<ul>${block.items.map((item) => `<li>${cell(item, paper)}</li>`).join("")}</ul>`;
    case "table": {
      const columns = block.columns.map(({ width }) => `<col style="width:${width}%">`).join("");
      const head = block.columns.map(({ title }) => `<th scope="col">${xml(title)}</th>`).join("");
      const rows = block.rows.map((row) => `<tr>${row.map((c) => `<td>${cell(c, paper, "<br>")}</td>`).join("")}</tr>`);
      return `<table><colgroup>${columns}</colgroup><thead><tr>${head}</tr></thead><tbody>${rows.join("\n")}</tbody></table>`;
    }
    case "figure": {
      const caption = `${xml(block.caption)} ${runs(block.drawing.guest)}`;
      return `<figure>${drawingSvg(block.drawing, paper.lang).svg}<figcaption>${caption}</figcaption></figure>`;
    }
    case "signature": {
      const places = block.places.map(
        ({ role, name }) => `<div>${PLACE[paper.lang]}<br>${xml(role)}${name === null ? "" : `: ${xml(name)}`}</div>`,
      );
      return `<section class="sign">${places.join("")}</section>`;
    }
  }
}

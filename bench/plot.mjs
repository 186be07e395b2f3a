// Draws panels of measured points, both axes logarithmic, ours and the peer's, as one SVG that reads well on light and dark pages.
const WIDTH = 300;
const HEIGHT = 220;
const LEFT = 46;
const TOP = 34;
const BOTTOM = 44;
const RIGHT = 14;

/** @param panels of `{ title, x, peer, points: [{ x, ours: { seconds }, peer: { seconds } }] }` */
export function plot(panels) {
  const width = panels.length * WIDTH;
  const drawn = panels.map((panel, i) => `<g transform="translate(${i * WIDTH} 0)">${draw(panel)}</g>`).join("\n");
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${HEIGHT + 26}" viewBox="0 0 ${width} ${HEIGHT + 26}" role="img" aria-label="Seconds against the size of the work">
<rect width="100%" height="100%" fill="#ffffff"/>
<g font-family="system-ui, 'DejaVu Sans', sans-serif" font-size="11" fill="#1f2328">
${drawn}
</g>
</svg>
`;
}

function draw({ title, x, peer, points }) {
  const seconds = points.flatMap((p) => [p.ours.seconds, p.peer.seconds]);
  const [low, high] = [
    10 ** Math.floor(Math.log10(Math.min(...seconds))),
    10 ** Math.ceil(Math.log10(Math.max(...seconds))),
  ];
  const [first, last] = [points[0].x, points.at(-1).x];
  const across = (v) => LEFT + (Math.log(v / first) / Math.log(last / first)) * (WIDTH - LEFT - RIGHT);
  const up = (v) => TOP + (1 - Math.log(v / low) / Math.log(high / low)) * (HEIGHT - TOP - BOTTOM);
  const marks = [];
  for (let v = low; v <= high * 1.0001; v *= 10) {
    const y = up(v).toFixed(1);
    marks.push(
      `<path d="M${LEFT} ${y}H${WIDTH - RIGHT}" stroke="#d0d7de"/><text x="${LEFT - 6}" y="${y}" dy="4" text-anchor="end">${Number(v.toPrecision(1))} s</text>`,
    );
  }
  for (const p of points)
    marks.push(
      `<text x="${across(p.x).toFixed(1)}" y="${HEIGHT - BOTTOM + 16}" text-anchor="middle">${short(p.x)}</text>`,
    );
  const line = (of, colour, dash) => {
    const at = points.map((p) => `${across(p.x).toFixed(1)} ${up(of(p).seconds).toFixed(1)}`);
    const dots = at
      .map((a) => `<circle cx="${a.split(" ")[0]}" cy="${a.split(" ")[1]}" r="3" fill="${colour}"/>`)
      .join("");
    return `<path d="M${at.join("L")}" fill="none" stroke="${colour}" stroke-width="2"${dash}/>${dots}`;
  };
  return `<text x="${LEFT}" y="18" font-size="13" font-weight="600">${title}</text>
${marks.join("")}
${line((p) => p.peer, "#8250df", ' stroke-dasharray="5 4"')}
${line((p) => p.ours, "#0969da", "")}
<text x="${(LEFT + WIDTH - RIGHT) / 2}" y="${HEIGHT - BOTTOM + 32}" text-anchor="middle" fill="#59636e">${x}</text>
<text x="${LEFT}" y="${HEIGHT + 14}"><tspan fill="#0969da">● Unterbau</tspan>  <tspan fill="#8250df" dx="8">● ${peer}</tspan></text>`;
}

function short(n) {
  if (n >= 1_000_000) return `${n / 1_000_000}M`;
  return n >= 10_000 ? `${Math.round(n / 1000)}k` : String(n);
}

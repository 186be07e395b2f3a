/** The layout of all PDFs, in Typst. It gets the paper as JSON, so that no value can be code. */
export const TEMPLATE = `
#let paper = json(bytes(sys.inputs.paper))
#set document(title: paper.title, date: auto)
#set text(lang: paper.lang, font: "Libertinus Serif", size: 10pt, hyphenate: true, fallback: true)
#set page(
  paper: "a4",
  margin: (x: 20mm, top: 24mm, bottom: 22mm),
  header: context if here().page() > 1 [#text(8pt, fill: luma(80))[#paper.title #h(1fr) #paper.subtitle]],
  footer: context text(8pt, fill: luma(80))[#paper.run #h(1fr) #paper.words.page #counter(page).display() #paper.words.of #counter(page).final().first()],
)
#set par(justify: false, leading: 0.6em)
#show heading: set block(above: 1.4em, below: 0.8em, sticky: true)
#show heading.where(level: 1): set text(15pt)
#show heading.where(level: 2): set text(12pt)
#show heading.where(level: 3): set text(10.5pt)
#show raw: set text(font: "DejaVu Sans Mono", size: 8pt)
#set table(stroke: 0.5pt + luma(140), inset: 4pt)

#let numbers = regex("([0-9][.:])\\u{200B}([0-9])")
#let whole(m) = m.captures.join()
// Long names and hashes may be cut after any of these, or every 16 characters.
#let soft(s) = {
  s.replace(regex("[/_.:=,@+]|-[a-z]"), m => m.text.replace(regex("[/_.:=,@+-]"), n => n.text + "\\u{200B}")).replace(regex("[0-9A-Za-z]{24,}"), m => m.text.clusters().chunks(16).map(c => c.join()).join("\\u{200B}"))
    // Neither times nor versions; twice, as one digit may stand between two.
    .replace(numbers, whole).replace(numbers, whole)
}
// An option of a command is not cut after its dashes, nor a guest after what marks it.
#let code(t) = t.split(" ").map(w => if (w.starts-with("-") or w.starts-with("vm:")) and w.len() < 30 { box(raw(w)) } else { raw(soft(w)) }).join([ ])
#let run(r) = {
  if r.m { code(r.t) } else if r.s { strong(text(soft(r.t))) } else { text(soft(r.t)) }
}
#let mark(m) = text(8pt, fill: luma(60), m.replace(regex("^(\\[[A-Z]) "), k => k.captures.first() + "\\u{00A0}"))
#let sentence(s) = {
  s.runs.map(run).join()
  if s.mark != none [ #mark(s.mark)]
}
#let sentences(list, between: [ ]) = if list.len() == 0 [] else { list.map(sentence).join(between) }

#let size(c) = c.map(s => s.runs.map(r => r.t.len()).sum(default: 0) + 40).sum(default: 0)

#let draw(b) = {
  if b.kind == "heading" {
    heading(level: b.level + 1, b.runs.map(run).join())
  } else if b.kind == "paragraph" {
    par(sentences(b.sentences))
  } else if b.kind == "note" {
    block(fill: luma(240), stroke: (left: 3pt + luma(90)), inset: 8pt, width: 100%, breakable: true)[#strong[#b.title.] #sentences(b.sentences)]
  } else if b.kind == "list" {
    list(..b.items.map(i => sentences(i)))
  } else if b.kind == "table" {
    set text(8.5pt)
    table(
      columns: b.columns.map(c => c.width * 1fr),
      table.header(..b.columns.map(c => table.cell(fill: luma(230), strong(c.title)))),
      // A row stays on one page, unless it could be too long for one.
      ..b.rows.map(r => {
        let long = r.map(size).sum() > 2400
        r.map(c => table.cell(breakable: long, sentences(c, between: linebreak())))
      }).flatten(),
    )
  } else if b.kind == "figure" {
    figure(
      kind: image,
      supplement: none,
      numbering: none,
      caption: text(9pt, b.caption),
      layout(size => image(bytes(b.svg), format: "svg", width: calc.min(size.width, b.width * 0.62pt, 620pt * b.width / b.height), alt: b.alt)),
    )
  } else if b.kind == "signature" {
    block(breakable: false, above: 3em, grid(
      columns: b.places.map(_ => 1fr),
      column-gutter: 14mm,
      ..b.places.map(p => [#v(16mm) #line(length: 100%, stroke: 0.6pt) #v(-2mm) #text(8.5pt)[#paper.words.place \\ #p.role#if p.name != none [: #p.name]]]),
    ))
  }
}

#block(below: 1.2em)[#heading(level: 1, outlined: false, paper.title) #text(11pt, fill: luma(60), paper.subtitle)]
// A signature never stands alone on a page, nor does what leads to a table at the end of one.
#for (i, b) in paper.blocks.enumerate() {
  let next = paper.blocks.at(i + 1, default: (kind: "")).kind
  if next == "signature" or (b.kind == "paragraph" and next == "table") { block(sticky: true, width: 100%, draw(b)) } else { draw(b) }
}
`;

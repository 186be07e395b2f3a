/** A section of rspamd's configuration: settings as text, lists as all of their words, sections in it. */
export interface Section {
  readonly values: Map<string, readonly string[]>;
  readonly sections: Map<string, Section>;
}

/** Deeper than any configuration. */
const MAX_DEPTH = 50;
const TOKEN =
  /(?<space>[ \t\r]+)|(?<comment>#[^\n]*|\/\*[\s\S]*?\*\/)|(?<end>[;,\n])|(?<mark>[{}[\]=:])|"(?<double>(?:[^"\\\n]|\\.)*)"|'(?<single>(?:[^'\\\n]|\\.)*)'|(?<bare>[^\s;,{}[\]=#"']+)|[\s\S]/g;

export function emptySection(): Section {
  return { values: new Map(), sections: new Map() };
}

/**
 * libucl's "nginx like" syntax, as far as rspamd's files use it: `key = value;`, `key "name" { … }`, `key [ … ]`, comments; `.include` and other
 * macros are left out. A setting that is said twice has its last value, sections are put together.
 */
export function parseUcl(text: string): Section {
  const tokens = [...text.matchAll(TOKEN)].flatMap(({ groups }) => {
    const { mark, end, double, single, bare } = groups!;
    if (mark !== undefined) return [{ kind: mark, text: "" }];
    if (end !== undefined) return [{ kind: end === "\n" ? "line" : "end", text: "" }];
    const word = double ?? single ?? bare;
    return word === undefined ? [] : [{ kind: "word", text: word }];
  });
  let at = 0;
  const list = (): string[] => {
    const words: string[] = [];
    let depth = 1;
    for (; at < tokens.length && depth > 0; at++) {
      const { kind, text } = tokens[at]!;
      if (kind === "[" || kind === "{") depth++;
      else if (kind === "]" || kind === "}") depth--;
      else if (kind === "word") words.push(text);
    }
    return words;
  };
  const section = (into: Section, depth: number): void => {
    while (at < tokens.length) {
      const { kind, text } = tokens[at++]!;
      if (kind === "}") return;
      if (kind !== "word") continue;
      if (text.startsWith(".")) {
        while (at < tokens.length && tokens[at]!.kind !== "line") at++;
        continue;
      }
      // What stands before a brace names it; before the value stand `=`, `:` or nothing.
      const names = [text];
      const value: string[] = [];
      let assigned = false;
      for (; at < tokens.length; at++) {
        const next = tokens[at]!;
        if (next.kind === "=" || next.kind === ":") assigned = true;
        else if (next.kind === "word") (assigned ? value : names).push(next.text);
        else break;
      }
      const next = tokens[at]?.kind;
      if (next === "{" && depth < MAX_DEPTH) {
        at++;
        let inner = into;
        for (const name of names) {
          const known = inner.sections.get(name) ?? emptySection();
          inner.sections.set(name, known);
          inner = known;
        }
        section(inner, depth + 1);
      } else if (next === "[" || next === "{") {
        at++;
        into.values.set(text, list());
      } else into.values.set(text, assigned ? value : names.slice(1));
    }
  };
  const whole = emptySection();
  section(whole, 0);
  return whole;
}

/** The second over the first, setting by setting. */
export function merged(below: Section, above: Section): Section {
  const sections = new Map(below.sections);
  for (const [name, section] of above.sections) {
    const known = sections.get(name);
    sections.set(name, known === undefined ? section : merged(known, section));
  }
  return { values: new Map([...below.values, ...above.values]), sections };
}

/** The second over the first; what it has of the outermost level counts alone. */
export function overridden(below: Section, above: Section): Section {
  return {
    values: new Map([...below.values, ...above.values]),
    sections: new Map([...below.sections, ...above.sections]),
  };
}

/** A switch; null: it is not said. */
export function flag(section: Section, key: string): boolean | null {
  const word = section.values.get(key)?.[0]?.toLowerCase();
  return word === undefined ? null : !["false", "no", "off", "0"].includes(word);
}

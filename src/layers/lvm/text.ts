/**
 * LVM2's configuration syntax (lvm.conf(5), libdm/libdm-config.c), as far as metadata uses it: sections, integers, floats, quoted
 * strings with `\"` and `\\`, arrays of those, `#` comments. Total: any input gives a section, a TextError or a TextTooLarge, in linear time.
 */

export type Scalar = string | number | bigint;
export type Value = Scalar | readonly Scalar[] | Section;
/** A Map, so that a name such as `__proto__` is only a name. */
export type Section = ReadonlyMap<string, Value>;

/** Sections in sections; metadata has four (VG, logical_volumes, LV, segment). */
const MAX_DEPTH = 16;

const BLANK: ReadonlySet<string> = new Set([" ", "\t", "\n", "\r", "\v", "\f"]);
const NUMBER = /[+-]?\d{1,40}(\.\d{1,40})?/y;
const NAME = /[^\s={}#[\],"]+/y;

export class TextError extends Error {
  /** Characters from the start of the text. */
  readonly at: number;
  constructor(message: string, at: number) {
    super(message);
    this.name = "TextError";
    this.at = at;
  }
}

/** There are more values than were allowed: each takes memory many times the few characters that it may have in the text. */
export class TextTooLarge extends Error {}

/** What a section costs besides its values, in values. */
const SECTION_COST = 8;

export function isSection(value: Value | undefined): value is Section {
  return value instanceof Map;
}

/** Parses a whole text; it ends at the first NUL. `most`: values, of which a section counts as several. */
export function parseText(text: string, most?: number): Section {
  const end = text.indexOf("\0");
  return new Parser(end < 0 ? text : text.slice(0, end), most).root();
}

/** What tells one version of one volume group from another. */
export interface Identity {
  readonly name: string;
  readonly id: string;
  readonly seqno: number;
}

/** From the beginning of a text that may be cut anywhere after `id` and `seqno`, which LVM writes first. */
export function parseIdentity(head: string): Identity | null {
  const parser = new Parser(head);
  try {
    return parser.identity();
  } catch (error) {
    if (error instanceof TextError) return null;
    throw error;
  }
}

class Parser {
  readonly #text: string;
  #at = 0;
  #left: number;

  constructor(text: string, most = Number.POSITIVE_INFINITY) {
    this.#text = text;
    this.#left = most;
  }

  root(): Section {
    const out = new Map<string, Value>();
    for (this.#skip(); this.#at < this.#text.length; this.#skip()) this.#statement(out, 0);
    return out;
  }

  identity(): Identity {
    this.#skip();
    const name = this.#name();
    this.#skip();
    this.#expect("{");
    let id: string | null = null;
    for (;;) {
      this.#skip();
      const key = this.#name();
      this.#skip();
      this.#expect("=");
      const value = this.#value();
      if (key === "id" && typeof value === "string") id = value;
      if (key === "seqno" && typeof value === "number" && id !== null) return { name, id, seqno: value };
    }
  }

  #statement(into: Map<string, Value>, depth: number): void {
    const start = this.#at;
    this.#spend(1);
    const name = this.#name();
    if (into.has(name)) throw new TextError(`${name} stands twice in one section`, start);
    this.#skip();
    if (this.#text[this.#at] === "{") {
      into.set(name, this.#section(depth + 1));
      return;
    }
    this.#expect("=");
    into.set(name, this.#value());
  }

  #section(depth: number): Section {
    if (depth > MAX_DEPTH) throw new TextError(`sections are nested more than ${MAX_DEPTH} deep`, this.#at);
    this.#spend(SECTION_COST);
    this.#at++;
    const out = new Map<string, Value>();
    for (;;) {
      this.#skip();
      if (this.#text[this.#at] === "}") break;
      this.#statement(out, depth);
    }
    this.#at++;
    return out;
  }

  #value(): Scalar | readonly Scalar[] {
    this.#skip();
    if (this.#text[this.#at] !== "[") return this.#scalar();
    this.#at++;
    const out: Scalar[] = [];
    this.#skip();
    while (this.#text[this.#at] !== "]") {
      this.#spend(1);
      out.push(this.#scalar());
      this.#skip();
      if (this.#text[this.#at] === ",") this.#at++;
      else if (this.#text[this.#at] !== "]") throw new TextError("a comma or ] is missing", this.#at);
      this.#skip();
    }
    this.#at++;
    return out;
  }

  #scalar(): Scalar {
    if (this.#text[this.#at] === '"') return this.#string();
    NUMBER.lastIndex = this.#at;
    const match = NUMBER.exec(this.#text);
    if (!match) throw new TextError("a value is missing", this.#at);
    this.#at = NUMBER.lastIndex;
    const n = Number(match[0]);
    return match[1] !== undefined || Number.isSafeInteger(n) ? n : BigInt(match[0]);
  }

  #string(): string {
    const start = ++this.#at;
    for (; this.#at < this.#text.length; this.#at++) {
      const c = this.#text[this.#at];
      if (c === "\\") this.#at++;
      else if (c === '"') return this.#text.slice(start, this.#at++).replace(/\\(["\\])/g, "$1");
    }
    throw new TextError("a string does not end", start - 1);
  }

  #name(): string {
    NAME.lastIndex = this.#at;
    const match = NAME.exec(this.#text);
    if (!match) throw new TextError("a name is missing", this.#at);
    this.#at = NAME.lastIndex;
    return match[0];
  }

  #spend(values: number): void {
    this.#left -= values;
    if (this.#left < 0) throw new TextTooLarge();
  }

  #expect(c: string): void {
    if (this.#text[this.#at] !== c) throw new TextError(`${c} is missing`, this.#at);
    this.#at++;
  }

  /** White space and comments; a loop, because a regular expression's stack would grow with a hostile text. */
  #skip(): void {
    for (; this.#at < this.#text.length; this.#at++) {
      const c = this.#text[this.#at]!;
      if (c === "#") {
        const end = this.#text.indexOf("\n", this.#at);
        this.#at = end < 0 ? this.#text.length - 1 : end;
      } else if (!BLANK.has(c)) return;
    }
  }
}

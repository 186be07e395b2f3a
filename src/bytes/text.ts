/** \p{Cc}: C0 and C1 controls; the rest are marks that change the direction in which a terminal writes. */
const UNPRINTABLE = /[\p{Cc}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;

function escaped(c: string): string {
  const code = c.charCodeAt(0);
  return code < 0x100 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16).padStart(4, "0")}`;
}

/** Makes guest-controlled text safe for a terminal: control characters and bidi overrides become visible escapes. */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, escaped);
}

/** The same for text of several lines: line breaks and tabs stay. */
export function printableLines(text: string): string {
  return text.replace(UNPRINTABLE, (c) => (c === "\n" || c === "\t" ? c : escaped(c)));
}

/** Longest name from an image that a message repeats. */
const SHORT = 80;

/** `printable`, cut: a hostile image may hold a name of megabytes. */
export function shortPrintable(text: string): string {
  const plain = printable(text.slice(0, SHORT));
  return text.length > SHORT ? `${plain}…` : plain;
}

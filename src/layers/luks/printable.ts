/** Longest name from a header that a message repeats. */
const LENGTH = 80;

/** Text from a header, fit for a message: hostile headers may carry terminal escapes or megabytes. */
export function printable(text: string): string {
  const plain = text.slice(0, LENGTH).replace(/[^\x20-\x7e]/g, "?");
  return text.length > LENGTH ? `${plain}…` : plain;
}

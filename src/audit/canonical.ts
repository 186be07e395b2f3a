/**
 * JSON with sorted keys and no white space (as RFC 8785, whose numbers and strings are ECMAScript's): the same value gives the same bytes. What has no JSON
 * (functions, undefined) is left out.
 */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_, item: unknown) => {
    if (item === null || typeof item !== "object" || Array.isArray(item)) return item;
    // By UTF-16 code units, as the RFC wants it: that is how sort() compares.
    return Object.fromEntries(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)));
  });
}

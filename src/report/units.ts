export { printable, printableLines } from "../bytes/text.ts";

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/** `1536` → `1.5 KiB`; below 1 KiB without a decimal. */
export function humanSize(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${UNITS[unit]}`;
}

/** `64 KiB` for what is a whole number of a unit, else as humanSize. */
export function exactSize(bytes: number): string {
  const text = humanSize(bytes);
  return text.replace(".0 ", " ");
}

/** `245825` → `245,825`. By hand: the first toLocaleString of a process loads ICU, which takes 20 ms. */
export function grouped(n: number): string {
  return String(n).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** An IP network: the first `length` bits of `bits` count. */
export interface Prefix {
  readonly family: 4 | 6;
  readonly bits: bigint;
  readonly length: number;
}

const WIDTH = { 4: 32, 6: 128 } as const;

/** Reads `192.0.2.1`, `192.0.2.0/24`, `192.0.2.0/255.255.255.0`, `2001:db8::/32`; null: no address (a name, for example). */
export function parsePrefix(text: string): Prefix | null {
  const [address = "", size, ...rest] = text.trim().split("/");
  if (rest.length > 0) return null;
  const four = parseIpv4(address);
  const bits = four ?? parseIpv6(address);
  if (bits === null) return null;
  const family = four === null ? 6 : 4;
  const width = WIDTH[family];
  const length = size === undefined ? width : family === 4 && size.includes(".") ? maskLength(size) : Number(size);
  if (length === null || !/^[\d.]+$/.test(size ?? "0") || !Number.isInteger(length) || length > width) return null;
  const rest0 = BigInt(width - length);
  return { family, bits: (bits >> rest0) << rest0, length };
}

/** Whether all of `inner` lies in `outer`. */
export function contains(outer: Prefix, inner: Prefix): boolean {
  if (outer.family !== inner.family || outer.length > inner.length) return false;
  const rest = BigInt(WIDTH[outer.family] - outer.length);
  return outer.bits >> rest === inner.bits >> rest;
}

/** Whether they have an address in common. */
export function overlap(a: Prefix, b: Prefix): boolean {
  return contains(a, b) || contains(b, a);
}

/** As it is written: without a length when it is one address. */
export function prefixText({ family, bits, length }: Prefix): string {
  const width = WIDTH[family];
  const address = family === 4 ? ipv4Text(bits) : ipv6Text(bits);
  return length === width ? address : `${address}/${length}`;
}

/** All networks that together are the addresses from `first` to `last` (RFC 4632); null: no range. */
export function rangePrefixes(first: string, last: string): Prefix[] | null {
  const [a, b] = [parsePrefix(first), parsePrefix(last)];
  if (a === null || b === null || a.family !== b.family || a.bits > b.bits) return null;
  const width = WIDTH[a.family];
  const found: Prefix[] = [];
  for (let at = a.bits; at <= b.bits; ) {
    let rest = 0;
    while (
      rest < width &&
      (at & ((1n << BigInt(rest + 1)) - 1n)) === 0n &&
      at + (1n << BigInt(rest + 1)) - 1n <= b.bits
    )
      rest++;
    found.push({ family: a.family, bits: at, length: width - rest });
    at += 1n << BigInt(rest);
  }
  return found;
}

function parseIpv4(text: string): bigint | null {
  const parts = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text)?.slice(1).map(Number);
  if (parts === undefined || parts.some((n) => n > 255)) return null;
  return parts.reduce((sum, n) => (sum << 8n) | BigInt(n), 0n);
}

/** RFC 4291, section 2.2; a zone (`%eth0`) is no part of the address. */
function parseIpv6(text: string): bigint | null {
  const plain = text.replace(/%.*$/, "");
  if (!/^[\da-fA-F:.]+$/.test(plain) || !plain.includes(":")) return null;
  const halves = plain.split("::");
  if (halves.length > 2) return null;
  const [head, tail] = halves.map((half) => (half === "" ? [] : groups(half)));
  if (head === null || tail === null || head === undefined) return null;
  const missing = 8 - head.length - (tail?.length ?? 0);
  if (tail === undefined ? missing !== 0 : missing < 1) return null;
  const all = [...head, ...Array.from({ length: Math.max(missing, 0) }, () => 0n), ...(tail ?? [])];
  return all.reduce((sum, n) => (sum << 16n) | n, 0n);
}

function groups(half: string): bigint[] | null {
  const found: bigint[] = [];
  for (const part of half.split(":")) {
    const four = part.includes(".") ? parseIpv4(part) : null;
    if (four !== null) found.push(four >> 16n, four & 0xffffn);
    else if (/^[\da-fA-F]{1,4}$/.test(part)) found.push(BigInt(`0x${part}`));
    else return null;
  }
  return found;
}

function maskLength(mask: string): number | null {
  const bits = parseIpv4(mask);
  if (bits === null) return null;
  const text = bits.toString(2).padStart(32, "0");
  return /^1*0*$/.test(text) ? text.replace(/0+$/, "").length : null;
}

function ipv4Text(bits: bigint): string {
  return [24n, 16n, 8n, 0n].map((shift) => (bits >> shift) & 0xffn).join(".");
}

/** RFC 5952: lower case, the longest run of zeros as `::`. */
function ipv6Text(bits: bigint): string {
  const parts = Array.from({ length: 8 }, (_, i) => ((bits >> BigInt(112 - 16 * i)) & 0xffffn).toString(16));
  let best = { at: 0, length: 0 };
  for (let i = 0; i < 8; i++) {
    let length = 0;
    while (i + length < 8 && parts[i + length] === "0") length++;
    if (length > best.length) best = { at: i, length };
  }
  if (best.length < 2) return parts.join(":");
  return `${parts.slice(0, best.at).join(":")}::${parts.slice(best.at + best.length).join(":")}`;
}

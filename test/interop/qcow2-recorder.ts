import { checked } from "../../src/core/checked.ts";
import type { BlockDevice, Extent } from "../../src/core/device.ts";

export type Event =
  | { readonly kind: "write"; readonly offset: number; readonly bytes: Uint8Array }
  | { readonly kind: "resize"; readonly size: number }
  | { readonly kind: "flush" };

/**
 * A growable file in memory that remembers every write, resize and flush. Number `failing` of them is not done and throws, once.
 * `together`: gets them, too, in one order with those of other files.
 */
export function recorder(
  start: Uint8Array,
  failing = -1,
  together: Event[] = [],
): { device: BlockDevice; events: Event[] } {
  let bytes = Uint8Array.from(start);
  const events: Event[] = [];
  const note = (event: Event): void => {
    events.push(event);
    together.push(event);
  };
  let count = 0;
  const fail = (): void => {
    if (count++ === failing) throw new Error("injected");
  };
  const device: BlockDevice = {
    get size() {
      return bytes.length;
    },
    caps: {
      writable: true,
      alignment: 1,
      sectorSize: 512,
      optimalIo: 4096,
      extents: false,
      zero: false,
      discard: false,
    },
    async read(into, offset) {
      into.set(bytes.subarray(offset, offset + into.length));
    },
    async write(from, offset) {
      fail();
      note({ kind: "write", offset, bytes: Uint8Array.from(from) });
      bytes.set(from, offset);
    },
    async zero(offset, length) {
      await device.write(new Uint8Array(length), offset);
    },
    async discard() {},
    async *extents(offset, length): AsyncIterable<Extent> {
      yield { offset, length, kind: "data" };
    },
    async flush() {
      fail();
      note({ kind: "flush" });
    },
    async resize(size) {
      fail();
      note({ kind: "resize", size });
      bytes = resized(bytes, size);
    },
    async [Symbol.asyncDispose]() {},
  };
  return { device: checked(device, "recorder"), events };
}

function resized(bytes: Uint8Array, size: number): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(size);
  out.set(bytes.subarray(0, size));
  return out;
}

/** Whether a 512-byte sector (or the new size) of event number `event`, written after the last flush, reached the disk. */
export type Survival = (event: number) => boolean;

/** What the disk may hold after a power cut behind event `until`: all before the last flush, and later what `survives`. */
export function afterCrash(start: Uint8Array, events: readonly Event[], until: number, survives: Survival): Uint8Array {
  const flushed = lastFlush(events, until);
  const length = events.slice(0, until).reduce((n, e) => Math.max(n, endOf(e)), start.length);
  const room = new Uint8Array(length);
  room.set(start);
  let size = start.length;
  for (let i = 0; i < until; i++) {
    const e = events[i]!;
    const sure = i < flushed;
    if (e.kind === "flush") continue;
    if (e.kind === "resize") {
      if (!sure && !survives(i)) continue;
      if (e.size < size) room.fill(0, e.size, size);
      size = e.size;
      continue;
    }
    for (let at = 0; at < e.bytes.length; ) {
      const part = Math.min(512 - ((e.offset + at) % 512), e.bytes.length - at);
      if (sure || survives(i)) {
        size = Math.max(size, e.offset + at + part);
        room.set(e.bytes.subarray(at, at + part), e.offset + at);
      }
      at += part;
    }
  }
  return room.subarray(0, size);
}

/** Index of the last flush before event `until`, or -1. */
export function lastFlush(events: readonly Event[], until: number): number {
  let at = until - 1;
  while (at >= 0 && events[at]?.kind !== "flush") at--;
  return at;
}

function endOf(e: Event): number {
  return e.kind === "write" ? e.offset + e.bytes.length : e.kind === "resize" ? e.size : 0;
}

/** Repeatable random numbers in [0, 1) (mulberry32). */
export function random(seed: number): () => number {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = a;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

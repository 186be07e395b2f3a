import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { readBytes } from "../../src/core/device.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import { parseHeader } from "../../src/layers/qcow2/header.ts";
import { Qcow2Image } from "../../src/layers/qcow2/image.ts";
import { readSnapshots } from "../../src/layers/qcow2/snapshots.ts";
import { afterCrash, random, recorder, type Survival } from "./qcow2-recorder.ts";
import { corruptions } from "./qcow2-references.ts";
import { check, noise, qemuBytes, qemuIo, run, temporaryFolder } from "./qcow2-tools.ts";

const folder = temporaryFolder();
/** States that QEMU looks at. */
const STATES = 10;

interface Case {
  readonly name: string;
  readonly options: string;
  /** Virtual bytes. */
  readonly size: number;
  /** KiB that QEMU writes at the start of the disk before. */
  readonly filled: number;
  readonly snapshot: boolean;
  /** Bytes of each metadata cache: small ones make commits happen in the middle of requests. */
  readonly cacheBytes?: number;
}

const cases: Case[] = [
  {
    name: "512-byte clusters, 64-bit refcounts (table growth)",
    options: "cluster_size=512,refcount_bits=64",
    size: 3072 * 1024,
    filled: 1900,
    snapshot: false,
  },
  {
    name: "512-byte clusters, tiny caches, snapshot",
    options: "cluster_size=512,refcount_bits=32",
    size: 512 * 1024,
    filled: 128,
    snapshot: true,
    cacheBytes: 1,
  },
  { name: "4 KiB clusters, snapshot", options: "cluster_size=4096", size: 512 * 1024, filled: 128, snapshot: true },
  {
    name: "extended L2 entries, 16 KiB clusters, snapshot",
    options: "extended_l2=on,cluster_size=16k",
    size: 512 * 1024,
    filled: 100,
    snapshot: true,
  },
  { name: "version 2, 64 KiB clusters", options: "compat=0.10", size: 512 * 1024, filled: 128, snapshot: true },
];

async function open(file: ReturnType<typeof recorder>["device"], cacheBytes: number | undefined): Promise<Qcow2Image> {
  const header = parseHeader(await readBytes(file, 0, 512), DEFAULT_LIMITS);
  const snapshots = await readSnapshots(file, header, DEFAULT_LIMITS);
  return Qcow2Image.open({ file, header, snapshots, backing: null, limits: DEFAULT_LIMITS, cacheBytes });
}

describe("a power cut at any write of a qcow2 image", () => {
  it.each(cases)(
    "leaves no corruption and old or new data: $name",
    async ({ name, options, size, filled, snapshot, cacheBytes }) => {
      const rand = random(name.length * 7919 + 1);
      const image = join(folder, "crash.qcow2");
      run("qemu-img", "create", "-q", "-f", "qcow2", "-o", options, image, String(size));
      qemuIo(image, `write -P 7 0 ${filled}k`, `write -P 9 ${filled + 100}k 64k`);
      if (snapshot) run("qemu-img", "snapshot", "-c", "before", image);
      const start = readFileSync(image);
      const { device, events } = recorder(start);
      const disk = await open(device, cacheBytes);

      // What a sector may hold after event number `event`: the model at the last flush that had returned, or any later one.
      const history: { readonly event: number; readonly model: Uint8Array; readonly durable: boolean }[] = [];
      const model = Uint8Array.from(qemuBytes(image));
      history.push({ event: 0, model: Uint8Array.from(model), durable: true });
      for (let n = 0; n < 24; n++) {
        const offset = Math.floor(rand() * size);
        const length = Math.min(size - offset, 1 + Math.floor(rand() * (n % 3 === 0 ? 60_000 : 3000)));
        const what = rand();
        const event = events.length;
        if (what < 0.5) {
          const bytes = noise(length, n + 1);
          await disk.write(bytes, offset);
          model.set(bytes, offset);
        } else if (what < 0.7) {
          await disk.zero(offset, length);
          model.fill(0, offset, offset + length);
        } else if (what < 0.8) {
          await disk.discard(offset, length);
          await disk.read(model.subarray(offset, offset + length), offset);
        } else {
          await disk.flush();
          history.push({ event: events.length, model: Uint8Array.from(model), durable: true });
          continue;
        }
        history.push({ event, model: Uint8Array.from(model), durable: false });
      }
      await disk.settle();
      // Offset 48 of the header names the refcount table: it moved where the old one was full.
      const moved = events.some((e) => e.kind === "write" && e.offset === 48);
      expect(moved).toBe(filled > 1024);

      // Every write of every stretch between flushes: cut right behind it, it alone lost, or only what came after it kept.
      for (let i = 0; i < events.length; i++) {
        if (events[i]?.kind === "flush") continue;
        let end = i;
        while (end < events.length && events[end]?.kind !== "flush") end++;
        const ways: [number, Survival][] = [
          [i + 1, () => true],
          [end, (e) => e !== i],
          [end, (e) => e > i],
          [end, () => rand() < 0.5],
        ];
        for (const [until, survives] of ways) {
          expect(corruptions(afterCrash(start, events, until, survives)), `event ${i} of ${events.length}`).toEqual([]);
        }
      }

      for (let n = 0; n < STATES; n++) {
        const until = n === 0 ? events.length : Math.floor(rand() * events.length);
        const keep = rand();
        const path = join(folder, "state.qcow2");
        writeFileSync(
          path,
          afterCrash(start, events, until, () => rand() < keep),
        );
        expect(corruptions(readFileSync(path))).toEqual([]);
        const result = check(path);
        expect([0, 3], `${until} of ${events.length}: ${result.text}`).toContain(result.status);
        const base = history.findLastIndex((h) => h.durable && h.event <= until);
        const possible = history.filter((h, i) => i >= base && (i === base || h.event < until)).map((h) => h.model);
        expect(firstForeign(qemuBytes(path), possible)).toBe(-1);
        if (snapshot) expect(Buffer.compare(qemuBytes(path, "before"), history[0]!.model)).toBe(0);
      }
      const complete = join(folder, "state.qcow2");
      writeFileSync(
        complete,
        afterCrash(start, events, events.length, () => true),
      );
      expect(check(complete).status).toBe(0);
      expect(Buffer.compare(qemuBytes(complete), model)).toBe(0);
    },
  );
});

describe("a failing write, flush or growth under a qcow2 image", () => {
  it("reaches the caller and leaves no corruption, wherever it is", async () => {
    const image = join(folder, "faults.qcow2");
    run("qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=512,refcount_bits=64", image, "3M");
    qemuIo(image, "write -P 7 0 1960k");
    run("qemu-img", "snapshot", "-c", "before", image);
    const start = readFileSync(image);
    let most = 1;
    for (let failing = 0; failing < most; failing++) {
      const { device, events } = recorder(start, failing);
      const disk = await open(device, 1);
      const failures: unknown[] = [];
      for (let n = 0; n < 10; n++) {
        const offset = n * 50_021;
        const request =
          n % 3 === 2 ? disk.zero(offset, 3000) : disk.write(noise(2500, n + 1), 2_000_000 + offset * (n % 2));
        await request.catch((error: unknown) => failures.push(error));
        if (n % 4 === 3) await disk.flush().catch((error: unknown) => failures.push(error));
      }
      await disk.settle().catch((error: unknown) => failures.push(error));
      if (failing === 0) most = events.length;
      expect(failures[0], `event ${failing}`).toMatchObject({ message: "injected" });
      const bytes = afterCrash(start, events, events.length, () => true);
      expect(corruptions(bytes), `event ${failing}`).toEqual([]);
      if (failing % 16 !== 0) continue;
      const path = join(folder, "state.qcow2");
      writeFileSync(path, bytes);
      expect([0, 3]).toContain(check(path).status);
    }
    expect(most).toBeGreaterThan(30);
  });
});

describe("the test's own view of references", () => {
  it("agrees with qemu-img check on a lost refcount and on a wrong COPIED flag", () => {
    const image = join(folder, "damaged.qcow2");
    const make = (damage: (dv: DataView) => void): { status: number; own: number } => {
      run("qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=4096", image, "1M");
      qemuIo(image, "write -P 1 0 8k");
      const bytes = Uint8Array.from(readFileSync(image));
      const dv = new DataView(bytes.buffer);
      damage(dv);
      writeFileSync(image, bytes);
      return { status: check(image).status, own: corruptions(bytes).length };
    };
    const block = (dv: DataView) => Number(dv.getBigUint64(Number(dv.getBigUint64(48))));
    const table = (dv: DataView) => Number(dv.getBigUint64(Number(dv.getBigUint64(40))) & 0xffffffffffffffn);
    expect(make(() => undefined)).toEqual({ status: 0, own: 0 });
    const lost = make((dv) => dv.setUint16(block(dv) + (Number(dv.getBigUint64(table(dv)) & 0xffffffn) / 4096) * 2, 0));
    expect(lost.status).toBe(2);
    expect(lost.own).toBeGreaterThan(0);
    const flag = make((dv) => dv.setUint8(table(dv), 0));
    expect(flag.status).toBe(2);
    expect(flag.own).toBeGreaterThan(0);
  });
});

/** Offset of the first byte that is in none of the models, or -1. */
function firstForeign(bytes: Uint8Array, models: readonly Uint8Array[]): number {
  for (let i = 0; i < bytes.length; i++) if (!models.some((m) => m[i] === bytes[i])) return i;
  return bytes.length === models[0]?.length ? -1 : bytes.length;
}

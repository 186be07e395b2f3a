import type { BlockDevice } from "../../core/device.ts";
import { StorageError } from "../../core/errors.ts";
import type { Finding } from "../../core/finding.ts";
import type { Limits } from "../../core/limits.ts";
import type { LogicalVolume, PhysicalVolume, VolumeGroup } from "./model.ts";
import type { Relations } from "./relations.ts";
import { type Run, runsDevice } from "./runs.ts";
import type { LvSegment, StripeArea, ThinPoolSegment, ThinSegment } from "./segments.ts";
import {
  type Built,
  cachedVolume,
  errorDevice,
  oldMirror,
  type Parts,
  raidVolume,
  writecachedVolume,
} from "./targets.ts";
import type { ThinPool } from "./thin/pool.ts";

export interface VolumesOptions {
  readonly vg: VolumeGroup;
  readonly relations: Relations;
  /** The device of a PV, or why its bytes must not be used. */
  readonly deviceOf: (pv: PhysicalVolume) => BlockDevice | string;
  readonly writable: boolean;
  readonly limits: Limits;
}

/**
 * Builds LVs out of PVs and other LVs, each once however many others stand on it. Only LVs that the Checker accepts may be asked for: it
 * is what ends loops.
 */
export class Volumes {
  readonly #o: VolumesOptions;
  readonly #parts: Parts;
  readonly #contents = new Map<string, Promise<Built>>();
  readonly #pools = new Map<string, Promise<ThinPool>>();

  constructor(options: VolumesOptions) {
    this.#o = options;
    const { vg, writable, limits } = options;
    this.#parts = {
      vg,
      writable,
      limits,
      content: (name) => this.content(name),
      area: (area, length) => this.#area(area, length),
    };
  }

  /** The LV as LVM would show it: a snapshot's or merging origin's view where it has one. */
  async volume(name: string): Promise<Built> {
    const { vg, relations } = this.#o;
    const replacement = relations.thinMerges.get(name);
    if (replacement !== undefined) return this.content(replacement);
    const link = relations.byStore.get(name) ?? relations.byOrigin.get(name)?.find((l) => l.merging);
    if (!link) return this.content(name);
    const origin = await this.content(link.origin);
    const store = await this.content(link.store);
    const { openSnapshot } = await import("./snapshot/snapshot-device.ts");
    const device = await openSnapshot({
      origin: origin.device,
      store: store.device,
      size: link.extents * vg.extentSize,
      limits: this.#o.limits,
    });
    const findings = [...origin.findings, ...store.findings];
    if (link.merging) findings.push(mergeFinding(link.store, link.origin));
    return { device, findings, readOnly: null };
  }

  /** What the LV's own segments say. */
  content(name: string): Promise<Built> {
    const known = this.#contents.get(name);
    if (known) return known;
    const built = this.#build(this.#o.vg.lvs.get(name)!);
    this.#contents.set(name, built);
    // Whoever asked gets the rejection; this only keeps it from counting as unhandled.
    built.catch(() => undefined);
    return built;
  }

  /** A thin pool, once for all volumes in it. */
  pool(name: string): Promise<ThinPool> {
    const known = this.#pools.get(name);
    if (known) return known;
    const pool = this.#openPool(name);
    this.#pools.set(name, pool);
    pool.catch(() => undefined);
    return pool;
  }

  async #openPool(name: string): Promise<ThinPool> {
    const segment = this.#o.vg.lvs.get(name)!.segments[0] as ThinPoolSegment;
    const metadata = await this.content(segment.metadata);
    const data = await this.content(segment.data);
    const { openThinPool } = await import("./thin/pool.ts");
    const pool = await openThinPool(name, segment, metadata.device, data.device);
    return {
      ...pool,
      findings: [...metadata.findings, ...data.findings, ...pool.findings],
      readOnly: pool.readOnly ?? data.readOnly,
    };
  }

  async #thin(s: ThinSegment, length: number): Promise<Built> {
    const pool = await this.pool(s.pool);
    const origin = s.externalOrigin === null ? null : await this.content(s.externalOrigin);
    const { openThinVolume } = await import("./thin/volume.ts");
    const device = await openThinVolume({
      pool,
      deviceId: s.deviceId,
      size: length,
      externalOrigin: origin?.device ?? null,
      writable: this.#o.writable,
    });
    return { device, findings: [...pool.findings, ...(origin?.findings ?? [])], readOnly: pool.readOnly };
  }

  async #build(lv: LogicalVolume): Promise<Built> {
    const runs: Run[] = [];
    const findings: Finding[] = [];
    let readOnly: string | null = null;
    for (const segment of lv.segments) {
      const part = await this.#segment(lv, segment);
      findings.push(...part.findings);
      readOnly ??= part.readOnly;
      runs.push(part.run);
    }
    return { device: runsDevice(runs, this.#o.writable), findings: unique(findings), readOnly };
  }

  async #segment(lv: LogicalVolume, s: LvSegment): Promise<Omit<Built, "device"> & { readonly run: Run }> {
    const { extentSize } = this.#o.vg;
    const offset = s.start * extentSize;
    const length = s.count * extentSize;
    if (s.kind === "zero")
      return { run: { offset, length, stripeSize: length, places: [] }, findings: [], readOnly: null };
    if (s.kind === "striped") {
      const areas = await Promise.all(s.areas.map((a) => this.#area(a, length / s.areas.length)));
      const places = areas.map(({ device, at }) => ({ device, at }));
      const stripeSize = places.length > 1 ? s.stripeSize : length;
      return {
        run: { offset, length, stripeSize, places },
        findings: areas.flatMap((a) => a.findings),
        readOnly: areas.find((a) => a.readOnly !== null)?.readOnly ?? null,
      };
    }
    const target = await this.#target(lv, s, length);
    if (target.device.size < length) {
      throw new StorageError(
        "corrupt",
        `${lv.name}: ${target.device.size} bytes are there for a segment of ${length}`,
        {
          layer: "lvm",
        },
      );
    }
    const places = [{ device: target.device, at: 0 }];
    return { ...target, run: { offset, length, stripeSize: length, places } };
  }

  /** The device of a segment that is a device-mapper target of its own; at least `length` bytes. */
  async #target(lv: LogicalVolume, s: LvSegment, length: number): Promise<Built> {
    switch (s.kind) {
      case "error":
        return { device: errorDevice(length, lv.name), findings: [], readOnly: null };
      case "thin":
        return this.#thin(s, length);
      case "raid":
        return raidVolume(this.#parts, lv, s, length);
      case "mirror":
        return oldMirror(this.#parts, lv, s, length);
      case "cache":
        return cachedVolume(this.#parts, lv, s);
      case "writecache":
        return writecachedVolume(this.#parts, lv, s);
      default:
        throw new StorageError("unsupported", `segment type ${s.type} is not supported`, {
          layer: "lvm",
          feature: s.type,
        });
    }
  }

  /** Where an area lies; its device may end before it (a disk that was cut). */
  async #area({ name, extent }: StripeArea, length: number): Promise<Built & { readonly at: number }> {
    const { vg, deviceOf } = this.#o;
    const pv = vg.pvs.get(name);
    const device = pv && deviceOf(pv);
    if (typeof device === "string") throw new StorageError("io", device, { layer: "lvm" });
    const built = device ? { device, findings: [], readOnly: null } : await this.content(name);
    const at = (pv?.peStart ?? 0) + extent * vg.extentSize;
    if (at + length <= built.device.size) return { ...built, at };
    throw new StorageError("io", `an extent lies beyond the end of ${name}`, { layer: "lvm", offset: at });
  }
}

function mergeFinding(snapshot: string, origin: string): Finding {
  const message = `snapshot ${snapshot} is being merged into ${origin}: what is shown is how it will be afterwards`;
  return { severity: "info", code: "lvm-snapshot-merging", message, layer: "lvm" };
}

function unique(findings: readonly Finding[]): Finding[] {
  return [...new Map(findings.map((f) => [`${f.code} ${f.message}`, f])).values()];
}

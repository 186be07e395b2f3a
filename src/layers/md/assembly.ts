import type { BlockDevice } from "../../core/device.ts";
import { readBytes } from "../../core/device.ts";
import { StorageError } from "../../core/errors.ts";
import type { Finding } from "../../core/finding.ts";
import type { RangeSet } from "../../core/range-set.ts";
import type { RaidGeometry } from "../../raid/geometry.ts";
import { missingProblem } from "../../raid/open.ts";
import { bitmapIsDirty } from "./bitmap.ts";
import { geometryOf } from "./layout.ts";
import { readMember, staleRanges } from "./member.ts";
import { arrayName } from "./names.ts";
import type { MdMember, MdReader, MdSuperblock } from "./superblock.ts";

/** The most devices of any array of version-1 metadata: two bytes each in 4 KiB. */
const MAX_DISKS = 1920;

/** A member that the array uses. */
export interface MdLeg extends MdMember {
  readonly stale: RangeSet | null;
}

/** What came of the members of one set. */
export interface Assembly {
  /** The newest superblock: the one that counts. */
  readonly superblock: MdSuperblock;
  readonly name: string;
  /** By role; null: missing, or left out. */
  readonly legs: readonly (MdLeg | null)[];
  readonly legSizes: readonly number[];
  readonly spares: readonly MdMember[];
  readonly geometry: RaidGeometry | null;
  /** Why the array cannot be opened, or null. */
  readonly refusal: StorageError | null;
  /** Why it is opened for reading only, or null. */
  readonly readOnly: string | null;
  /** Some legs are missing or partly stale. */
  readonly degraded: boolean;
  /** The redundancy may not fit the data everywhere: the array was not stopped in order. */
  readonly dirty: boolean;
  readonly findings: readonly Finding[];
}

export function readerOf(device: BlockDevice): MdReader {
  return (offset, length) => readBytes(device, offset, Math.max(0, Math.min(length, device.size - offset)));
}

/** Reads the members of one set. Throws `corrupt` when a device is no sound member. */
export async function assemble(devices: readonly BlockDevice[]): Promise<Assembly> {
  const members: MdMember[] = [];
  for (const device of devices) {
    const result = await readMember(readerOf(device), device.size);
    if (result.kind === "absent") throw new StorageError("corrupt", "there is no md superblock", { layer: "md" });
    if (result.kind === "damaged") {
      throw new StorageError("corrupt", `${result.reason} (metadata ${result.version})`, {
        layer: "md",
        offset: result.offset,
        hint: "Linux would not take this member into its array either; the array's other members may be enough",
      });
    }
    members.push({ device, superblock: result.superblock });
  }
  return new Assembler(members).run();
}

class Assembler {
  readonly #members: readonly MdMember[];
  readonly #findings: Finding[] = [];
  readonly #reasons: string[] = [];

  constructor(members: readonly MdMember[]) {
    this.#members = members;
  }

  async run(): Promise<Assembly> {
    const sb = this.#newest();
    const name = arrayName(sb.name, sb.minor, sb.uuid);
    const base = { superblock: sb, name, spares: this.#members.filter((m) => m.superblock.role === "spare") };
    const nothing = { ...base, legs: [], legSizes: [], geometry: null, degraded: false, dirty: false };
    const refuse = (refusal: StorageError): Assembly => ({
      ...nothing,
      refusal,
      readOnly: refusal.message,
      findings: this.#findings,
    });
    const refused = this.#members.map((m) => m.superblock.refused).find((r) => r !== null);
    if (refused)
      return refuse(new StorageError("unsupported", refused.reason, { layer: "md", feature: refused.feature }));
    if (sb.hasJournal) {
      const reason = "the array has a write journal, and the newest data may be only there";
      return refuse(new StorageError("unsupported", reason, { layer: "md", feature: "journal" }));
    }
    if (sb.raidDisks < 1 || sb.raidDisks > MAX_DISKS) {
      return refuse(
        new StorageError("corrupt", `the metadata describes an array of ${sb.raidDisks} devices`, { layer: "md" }),
      );
    }
    try {
      const legs = await this.#legs(sb);
      return await this.#withLegs(base, legs);
    } catch (error) {
      if (
        error instanceof StorageError &&
        (error.code === "corrupt" || error.code === "unsupported" || error.code === "io")
      )
        return refuse(error);
      throw error;
    }
  }

  /** The highest event count among those that have a role; spares do not need to keep up. */
  #newest(): MdSuperblock {
    const sbs = this.#members.map((m) => m.superblock);
    const active = sbs.filter((sb) => typeof sb.role === "number");
    return (active.length > 0 ? active : sbs).reduce((a, b) => (b.events > a.events ? b : a));
  }

  async #legs(newest: MdSuperblock): Promise<(MdLeg | null)[]> {
    const legs: (MdLeg | null)[] = new Array(newest.raidDisks).fill(null);
    for (const member of this.#members) {
      const sb = member.superblock;
      if (typeof sb.role !== "number") continue;
      const why = whyLeftOut(sb, newest);
      if (why) {
        this.#add(why.severity, why.code, why.message);
        continue;
      }
      if (sb.replacement) {
        this.#add("info", "md-replacement", `${called(sb)} is becoming a copy of device ${sb.role}; it is not read`);
        continue;
      }
      if (legs[sb.role]) {
        throw new StorageError("corrupt", `two members claim to be device ${sb.role} of the array`, {
          layer: "md",
          hint: "name only the disks that belong together",
        });
      }
      legs[sb.role] = { ...member, stale: await staleRanges(readerOf(member.device), sb) };
    }
    return legs;
  }

  async #withLegs(
    base: { superblock: MdSuperblock; name: string; spares: readonly MdMember[] },
    legs: (MdLeg | null)[],
  ): Promise<Assembly> {
    const sb = base.superblock;
    const ownSizes = sb.level === 0 || sb.level === -1;
    const legSizes = legs.map((leg) => (ownSizes ? (leg?.superblock.dataSize ?? 0) : sb.usedSize));
    for (const leg of legs) {
      if (leg && !ownSizes && leg.superblock.dataSize < sb.usedSize) {
        const text = `device ${leg.superblock.role} has ${leg.superblock.dataSize} bytes for data, the array needs ${sb.usedSize}`;
        throw new StorageError("corrupt", text, { layer: "md", offset: leg.superblock.offset });
      }
    }
    const missing = legs.flatMap((leg, role) => (leg ? [] : [role]));
    // Which of raid0's layouts it is can only be said when all are there; without one it cannot be read anyhow.
    const geometry = geometryOf(sb.level === 0 && missing.length > 0 ? { ...sb, layout: 1 } : sb, legSizes);
    const rebuilding = legs.some((leg) => leg?.superblock.recoveredTo != null);
    const partly = legs.some((leg) => leg?.stale);
    const degraded = missing.length > 0 || partly;
    const dirty = await this.#dirty(legs, sb, missing.length > 0 || rebuilding);
    this.#describe(sb, legs, missing, dirty);
    const refusal = notRunnable(geometry, legs, dirty);
    this.#whyReadOnly(sb, geometry, missing, dirty && degraded);
    return {
      ...base,
      legs,
      legSizes,
      geometry,
      degraded,
      dirty,
      refusal,
      readOnly: this.#reasons[0] ?? null,
      findings: this.#findings,
    };
  }

  /** A degraded array keeps bits in its bitmap for those who are missing: there only the superblock tells. */
  async #dirty(legs: readonly (MdLeg | null)[], sb: MdSuperblock, lacking: boolean): Promise<boolean> {
    if (sb.level === 0 || sb.level === -1) return false;
    if (sb.syncedTo !== null && sb.syncedTo < sb.usedSize) return true;
    if (lacking) return false;
    for (const leg of legs) if (leg && (await bitmapIsDirty(readerOf(leg.device), leg.superblock))) return true;
    return false;
  }

  #describe(sb: MdSuperblock, legs: readonly (MdLeg | null)[], missing: readonly number[], dirty: boolean): void {
    for (const role of missing) {
      const known = isRecordedMissing(sb, role) ? "" : ", although the others expect it";
      this.#add("warning", "md-member-missing", `device ${role} of ${sb.raidDisks} is missing${known}`);
    }
    for (const leg of legs) {
      if (!leg) continue;
      const { role, recoveredTo, badBlockLog } = leg.superblock;
      if (recoveredTo !== null) {
        this.#add(
          "warning",
          "md-member-rebuilding",
          `device ${role} is rebuilt up to byte ${recoveredTo} only: the rest of it is not read`,
        );
      }
      if (badBlockLog && leg.stale) {
        this.#add("warning", "md-bad-blocks", `device ${role} has a log of bad blocks: what it names is not read`);
      }
    }
    if (dirty) {
      const text =
        "the array was not stopped in order, or never synced: its copies or its parity may not fit everywhere";
      this.#add("warning", "md-not-in-sync", text);
    }
  }

  #whyReadOnly(sb: MdSuperblock, geometry: RaidGeometry, missing: readonly number[], dirtyDegraded: boolean): void {
    if (sb.hasPpl) this.#reasons.push("the array keeps a partial parity log (PPL), which would have to be written too");
    if (hasParity(geometry) && dirtyDegraded) this.#reasons.push("the array is not in sync and lacks devices");
    if (hasReplacement(sb) || this.#members.some((m) => m.superblock.replacement)) {
      this.#reasons.push("a device of the array is being replaced; let Linux finish that first");
    }
    const unrecorded = missing.filter((role) => !isRecordedMissing(sb, role));
    if (unrecorded.length > 0) {
      this.#reasons.push(
        `device ${unrecorded.join(", ")} is missing, but the others do not know of it: if it came back, Linux would take its old data for current`,
      );
    }
    if (this.#members.some((m) => m.superblock.role === "journal"))
      this.#reasons.push("the array has a journal device");
    if (this.#reasons.length > 0) this.#add("info", "md-read-only", `opened for reading only: ${this.#reasons[0]}`);
  }

  #add(severity: Finding["severity"], code: string, message: string): void {
    this.#findings.push({ severity, code, message, layer: "md" });
  }
}

function hasParity({ kind }: RaidGeometry): boolean {
  return kind === "raid4" || kind === "raid5" || kind === "raid6";
}

/** Too few members; or parity that may not fit would have to stand in for a missing one, which Linux refuses too (raid5_run). */
function notRunnable(geometry: RaidGeometry, legs: readonly (MdLeg | null)[], dirty: boolean): StorageError | null {
  const there = legs.map((leg) => leg !== null);
  const tooFew = missingProblem(geometry, there);
  if (tooFew) return new StorageError("io", tooFew, { layer: "md" });
  if (!hasParity(geometry) || !dirty || !there.includes(false)) return null;
  const role = there.indexOf(false);
  return new StorageError(
    "unsupported",
    `device ${role} is missing and the array was not stopped in order: what its parity gives in place of that device may be wrong`,
    {
      layer: "md",
      feature: "dirty degraded array",
      hint: "give all members; or let mdadm --assemble --force accept the damage on a copy",
    },
  );
}

function called(sb: MdSuperblock): string {
  return sb.deviceUuid ?? `number ${sb.deviceNumber}`;
}

/** Linux' rules for who may take part (super_1_validate and analyze_sbs in drivers/md/md.c). */
function whyLeftOut(sb: MdSuperblock, newest: MdSuperblock) {
  const role = sb.role as number;
  if (sb.level !== newest.level || sb.layout !== newest.layout || sb.chunk !== newest.chunk) {
    return {
      severity: "error",
      code: "md-member-foreign",
      message: `${called(sb)} describes the array differently from the newest member: it is left out`,
    } as const;
  }
  // One update's difference is what a crash between two members' superblocks leaves.
  if (sb.events + 1n < newest.events) {
    return {
      severity: "warning",
      code: "md-member-stale",
      message: `device ${role} (${called(sb)}) is at event ${sb.events}, the newest at ${newest.events}: it missed writes and is left out`,
    } as const;
  }
  if (newest.roles.get(sb.deviceNumber) !== role || role >= newest.raidDisks) {
    return {
      severity: "warning",
      code: "md-member-removed",
      message: `device ${role} (${called(sb)}) was removed from the array, as the newest member says: it is left out`,
    } as const;
  }
  return null;
}

/** The array knows that this role is vacant: then nobody with that role can come back as current. */
function isRecordedMissing(sb: MdSuperblock, role: number): boolean {
  return ![...sb.roles.values()].includes(role);
}

function hasReplacement(sb: MdSuperblock): boolean {
  const roles = [...sb.roles.values()].filter((role) => typeof role === "number");
  return new Set(roles).size !== roles.length;
}

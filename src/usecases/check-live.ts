import { printable } from "../bytes/text.ts";
import { StorageError } from "../core/errors.ts";
import type { TreeNode, Volume } from "../stack/tree.ts";
import { onlyStaleTotals } from "../tools/e2fsck.ts";
import { type CheckOptions, check, exitCodeOf } from "./check.ts";
import { notChecked } from "./check-volume.ts";
import type { CheckDocument, CheckedVolumeDocument } from "./documents.ts";
import { pathOf } from "./guest-sources.ts";
import { findGuest, type Guest, guestOf } from "./guests.ts";
import { BACKUPS, type LiveOptions, type LiveView, openLiveView, recoverLiveViews } from "./live-view.ts";
import { rememberCheck } from "./remember-check.ts";

/** e2fsck(8), "EXIT CODE": errors corrected, and nothing else. */
const E2FSCK_CORRECTED = 1;

export interface LiveCheckOptions extends CheckOptions {
  readonly quiesce: boolean;
  readonly scratch?: string | undefined;
  /** Undefined: libvirt's backup, and where there is none, snapshots. */
  readonly via?: LiveWay | undefined;
  readonly snapshotSize?: number | undefined;
}

export type LiveWay = "backup" | "lvm-snapshot";

/** Checks a running guest's disks as they were in one instant. Nothing is repaired: the guest goes on with what it has. */
export async function checkLive(options: LiveCheckOptions): Promise<CheckDocument> {
  const name = refuseOthers(options);
  for (const line of await recoverLiveViews()) options.note?.(line);
  const guest = await findGuest(name, options);
  if (guest.state === "shut off") {
    throw new StorageError("usage", `the guest ${printable(guest.name)} is shut off`, {
      layer: "libvirt",
      hint: "leave --live out",
    });
  }
  const { quiesce, note } = options;
  let document: CheckDocument;
  let via: LiveWay;
  {
    const opened = await openView(guest, options);
    await using view = opened.view;
    via = opened.via;
    const revise = async (volume: Volume, found: CheckedVolumeDocument) => {
      const broken = await view.broken();
      return broken === null ? judge(volume, found, quiesce) : invalid(found, broken);
    };
    const failed = async (volume: Volume, error: unknown) => {
      const cancelled = error instanceof StorageError && error.code === "cancelled";
      const broken = cancelled ? null : await view.broken();
      return broken === null ? null : invalid(notChecked(volume, broken).document, broken);
    };
    try {
      document = await check({ ...options, sources: view.sources, remember: false, revise, failed });
    } catch (error) {
      const broken = await view.broken();
      if (broken === null || (error instanceof StorageError && error.code === "cancelled")) throw error;
      throw new StorageError("io", `the view of the guest broke off: ${broken}`, { layer: "libvirt", cause: error });
    }
  }
  const whole: CheckDocument = {
    ...document,
    mode: "live",
    live: { guest: guest.name, uuid: guest.uuid, quiesced: quiesce, via },
    exitCode: exitCodeOf(document.volumes),
  };
  rememberCheck(await filesOf(guest, options), whole, options.volumes.length === 0, note);
  return whole;
}

async function openView(guest: Guest, options: LiveCheckOptions): Promise<{ view: LiveView; via: LiveWay }> {
  const { quiesce, scratch, signal, note, via, snapshotSize } = options;
  const how: LiveOptions = { quiesce, scratch, signal, note };
  const bySnapshot = async () => {
    // Loaded only here: few guests need it.
    const { openSnapshotView } = await import("./live-snapshot.ts");
    return { view: await openSnapshotView(guest, { ...how, snapshotSize }), via: "lvm-snapshot" } as const;
  };
  if (via === "lvm-snapshot") return bySnapshot();
  try {
    return { view: await openLiveView(guest, how), via: "backup" };
  } catch (error) {
    const other = via === undefined && error instanceof StorageError && error.feature === BACKUPS;
    if (!other) throw error;
    try {
      return await bySnapshot();
    } catch (second) {
      // What the user asked for is what is told of.
      if (second instanceof StorageError && second.code === "unsupported") throw error;
      throw second;
    }
  }
}

function refuseOthers(options: LiveCheckOptions): string {
  const [first, ...others] = options.sources;
  const name = first === undefined ? null : guestOf(first);
  if (name === null || others.length > 0) {
    throw new StorageError("usage", "--live looks at one guest", { hint: "name it as vm:GUEST, and nothing else" });
  }
  if (options.repair) {
    throw new StorageError("usage", "a running guest's disks cannot be repaired", {
      hint: "in a maintenance window: --shutdown --repair",
    });
  }
  if (options.format !== undefined) {
    throw new StorageError("usage", "--format does not go with --live: QEMU shows what the guest sees", {
      layer: "libvirt",
    });
  }
  return name;
}

/** What a check of one instant proves: as after a power cut, a journal makes it whole, and without one it may be in the middle of a change. */
export function judge(volume: Volume, found: CheckedVolumeDocument, quiesced: boolean): CheckedVolumeDocument {
  if (found.verdict !== "would-repair" && found.verdict !== "errors-left") return found;
  if (found.verdict === "would-repair" && found.exitCode === E2FSCK_CORRECTED && onlyStaleTotals(found.log)) {
    const reason =
      "journal replayed for the check, free blocks and inodes counted: Linux writes their totals when it unmounts";
    return { ...found, verdict: "clean", reason };
  }
  if (!quiesced && !survivesPowerCut(volume.node)) {
    const reason =
      "it has no journal, so errors in it prove nothing while the guest writes; --quiesce or a check of the guest when it is off tells";
    return { ...found, verdict: "not-checked", reason };
  }
  const reason = "repair needs a maintenance window: check --shutdown --repair";
  return { ...found, verdict: "errors", reason: found.reason === null ? reason : `${found.reason}; ${reason}` };
}

function survivesPowerCut({ details }: TreeNode): boolean {
  const { type, journal } = details;
  return type === "xfs" || type === "btrfs" || (journal !== undefined && journal !== null);
}

function invalid(found: CheckedVolumeDocument, reason: string): CheckedVolumeDocument {
  return { ...found, verdict: "snapshot-invalid", reason };
}

async function filesOf(guest: Guest, options: LiveCheckOptions): Promise<string[]> {
  const found: string[] = [];
  for (const disk of guest.domain.disks) {
    if (disk.device !== "disk" && disk.device !== "lun") continue;
    const place = await pathOf(disk.place, guest, options).catch(() => null);
    if (place?.kind === "file" || place?.kind === "block") found.push(place.path);
  }
  return found;
}

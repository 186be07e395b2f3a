import { type Migration, migrations } from "../host/migration-store.ts";
import { type RetirementRecord, retirementOf } from "../host/retirement-store.ts";
import { type Guard, UNREADABLE } from "../libvirt/guard.ts";
import type { GuestMigrationDocument } from "./documents.ts";
import type { Guest } from "./guests.ts";

/**
 * What became of a guest that was migrated, or where a copy comes from, as its mark in libvirt tells; null without one that can be understood.
 * `all`: every guest that was found. Names and the old disk's fate are in state folders, which another user's need not be.
 */
export function migrationOf(guest: Guest, all: readonly Guest[]): GuestMigrationDocument | null {
  const { guard } = guest.domain;
  if (guard === null || guard === UNREADABLE) return null;
  const { run, partner: uuid } = guard;
  const record = retirementOf(run);
  const migration = migrations().find((m) => m.plan.id === run) ?? null;
  const partner = all.find((g) => g.uuid === uuid) ?? null;
  return {
    role: guard.role === "old" ? "old" : "new",
    run,
    state: guard.state === "copying" ? "copying" : "done",
    partner: { uuid, name: partner?.name ?? nameOf(guard, migration, record), defined: partner !== null },
    ...fate(guard, record, partner, migration),
  };
}

/** As it was called when this was written down. */
function nameOf({ role }: Guard, migration: Migration | null, record: RetirementRecord | null): string | null {
  const { plan } = migration ?? {};
  if (role === "old") return plan?.clone.name ?? record?.clone.name ?? null;
  return plan?.oldName ?? plan?.guest.name ?? record?.guest.name ?? null;
}

function fate(
  guard: Guard,
  record: RetirementRecord | null,
  partner: Guest | null,
  migration: Migration | null,
): Pick<GuestMigrationDocument, "oldDisk" | "retired"> {
  if (record !== null)
    return record.state === "done"
      ? { oldDisk: "destroyed", retired: record.ended }
      : { oldDisk: "destroyed-in-part", retired: null };
  const other = partner?.domain.guard ?? null;
  const old = guard.role === "old" ? guard : other === UNREADABLE ? null : other;
  // Begun by another user, whose record cannot be read; or the old guest is gone, and nobody here knows why.
  const unknown = old?.state === "retired" || (old === null && migration === null);
  return { oldDisk: unknown ? "unknown" : "kept", retired: null };
}

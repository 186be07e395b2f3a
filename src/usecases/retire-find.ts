import { printable } from "../bytes/text.ts";
import { StorageError } from "../core/errors.ts";
import { type Migration, migrations } from "../host/migration-store.ts";
import { UNREADABLE } from "../libvirt/guard.ts";
import { virsh } from "../tools/virsh.ts";
import { findGuest, type Guest, type GuestOptions, refuseUnlessOff } from "./guests.ts";
import { findMigration } from "./migrate.ts";

export interface Found {
  readonly migration: Migration;
  /** Null: it is no longer defined. */
  readonly old: Guest | null;
  readonly clone: Guest | null;
}

/** `vm:OLD`, or a migration's id. Throws `usage` by name for a guest that was not migrated, or is the copy. */
export async function findRetiree(named: string, options: GuestOptions): Promise<Found> {
  if (!named.startsWith("vm:")) {
    const migration = findMigration(named);
    const { guest, clone } = migration.plan;
    const about = { ...options, connect: guest.uri ?? options.connect };
    return { migration, old: await guestOrNull(guest.uuid, about), clone: await guestOrNull(clone.uuid, about) };
  }
  const guest = await findGuest(named.slice("vm:".length), options);
  const { guard } = guest.domain;
  const name = printable(guest.name);
  if (guard === UNREADABLE) {
    throw new StorageError("usage", `the mark of a migration in the guest ${name} cannot be understood`, {
      layer: "libvirt",
      hint: "name the migration's run: unterbau migrate --list",
    });
  }
  if (guard === null) {
    throw new StorageError("usage", `the guest ${name} was not migrated, so its disk is the only one`, {
      layer: "libvirt",
      hint: "retire destroys what a migration left behind: unterbau migrate --list",
    });
  }
  if (guard.role === "clone") {
    const other = await guestOrNull(guard.partner, options);
    throw new StorageError("usage", `the guest ${name} is the new one, on its encrypted disk`, {
      layer: "libvirt",
      hint: `the old one is ${other === null ? "not defined any more" : printable(other.name)}: unterbau retire ${other === null ? guard.run : `vm:${printable(other.name)}`}`,
    });
  }
  const migration = migrations().find((m) => m.plan.id === guard.run);
  if (!migration) {
    throw new StorageError("usage", `the journal of the migration ${guard.run} is not here`, {
      hint: "it is in the state folder of the user who migrated (root: /var/lib/unterbau); run it as that user",
    });
  }
  return { migration, old: guest, clone: await guestOrNull(migration.plan.clone.uuid, options) };
}

async function guestOrNull(uuid: string, options: GuestOptions): Promise<Guest | null> {
  return findGuest(uuid, options).catch((error: unknown) => {
    if (error instanceof StorageError && error.code === "usage") return null;
    throw error;
  });
}

/** Off, and nothing kept that knows the disk. */
export async function refuseBusy(old: Guest, options: GuestOptions): Promise<void> {
  refuseUnlessOff(old);
  const name = printable(old.name);
  if (old.managedSave) {
    throw new StorageError("locked", `the memory of the guest ${name} is saved, with what it knew in the clear`, {
      layer: "libvirt",
      hint: `give it up first: virsh managedsave-remove ${old.uuid}`,
    });
  }
  const args = ["snapshot-list", `--domain=${old.uuid}`, "--name"];
  const text = await virsh(args, { uri: old.uri, readOnly: true, signal: options.signal });
  const snapshots = text.split("\n").filter((line) => line.trim() !== "");
  if (snapshots.length === 0) return;
  throw new StorageError(
    "locked",
    `the guest ${name} has snapshots: ${snapshots
      .slice(0, 5)
      .map((s) => printable(s.trim()))
      .join(", ")}`,
    { layer: "libvirt", hint: `they hold what it held: virsh snapshot-delete ${old.uuid} SNAPSHOT` },
  );
}

/** Names of libvirt's checkpoints of a guest (marks for incremental backups); drivers that have none say so. */
export async function checkpointsOf(guest: Guest, signal: AbortSignal | undefined): Promise<string[]> {
  const args = ["checkpoint-list", `--domain=${guest.uuid}`, "--name"];
  const text = await virsh(args, { uri: guest.uri, readOnly: true, signal }).catch((error: unknown) => {
    if (error instanceof StorageError && error.code === "io" && /not supported/.test(error.message)) return "";
    throw error;
  });
  return text.split("\n").flatMap((line) => line.trim() || []);
}

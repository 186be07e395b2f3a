import { existsSync } from "node:fs";
import { printable } from "../bytes/text.ts";
import { StorageError } from "../core/errors.ts";
import { parseCrypttab, readTable } from "../host/crypttab.ts";
import { type MigrationPlan, migrations } from "../host/migration-store.ts";

/** What neither udev's encoding nor crypttab's fields and comments change. */
const NAME = /^(?!-)(?!\.{1,2}$)[\w+.:=@-]{1,127}$/;

/** Throws `usage` for what libvirt takes for no guest's name: known before anything is copied. */
export function refuseGuestName(name: string): void {
  const what =
    name.trim() === ""
      ? "a guest's name is more than white space"
      : /[/\n]/.test(name)
        ? `${printable(name)} is no name for a guest: libvirt takes no slash and no end of line in it`
        : null;
  if (what !== null) throw new StorageError("usage", what, { layer: "libvirt", hint: "another name: --name NAME" });
}

/**
 * Throws `usage` for a name below /dev/mapper that device mapper would write otherwise (libdevmapper, dm_task_set_name: what udev does not
 * take is mangled), crypttab cannot hold, or something else has: the guest would be started on that. `defined`: UUIDs of all guests.
 */
export function refuseMappedNames(disks: MigrationPlan["disks"], defined: readonly string[]): void {
  const declared = new Set(parseCrypttab(readTable("/etc/crypttab")).map((e) => e.name));
  // One whose copy is gone again does not keep its name.
  const kept = migrations().filter(
    (m) => m.steps.get("finish")?.state !== "done" || defined.includes(m.plan.clone.uuid),
  );
  const planned = kept.flatMap((m) => m.plan.disks.flatMap((d) => (d.opened.by === "host" ? [d.opened.mapped] : [])));
  for (const { opened } of disks) {
    if (opened.by !== "host") continue;
    const name = opened.mapped.slice("/dev/mapper/".length);
    const why = !NAME.test(name)
      ? "is no name that device mapper and crypttab take as it is"
      : existsSync(opened.mapped)
        ? "is there already"
        : declared.has(name)
          ? "is another volume's in /etc/crypttab"
          : planned.includes(opened.mapped)
            ? "is that of another migration's copy"
            : null;
    if (why === null) continue;
    throw new StorageError("usage", `${printable(opened.mapped)}, as which the host is to open the copy, ${why}`, {
      layer: "host",
      hint: "choose a name of letters, digits, . _ + and -: --mapped NAME",
    });
  }
}

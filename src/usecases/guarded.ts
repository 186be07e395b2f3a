import { printable } from "../bytes/text.ts";
import { StorageError } from "../core/errors.ts";
import { startProblem, UNREADABLE } from "../libvirt/guard.ts";
import { type Guest, type GuestOptions, listGuests, readGuest } from "./guests.ts";

/**
 * Throws `locked` when this guest must not be started because of a migration: its copy took its place, it is not whole, or its partner is
 * not shut off. Whoever starts a guest asks this first.
 */
export async function refuseGuardedStart(guest: Guest, options: GuestOptions): Promise<void> {
  const { guard } = guest.domain;
  const name = printable(guest.name);
  if (guard === null) return;
  const { guests } = await listGuests(options);
  const other = guard === UNREADABLE ? undefined : guests.find((g) => g.uuid === guard.partner);
  const problem = startProblem(guard);
  if (problem) {
    // A person knows it by its name.
    const named = (text: string) => (other ? text.replace(other.uuid, printable(other.name)) : text);
    throw new StorageError("locked", `the guest ${name} is not started: ${named(problem.what)}`, {
      layer: "libvirt",
      hint: named(problem.hint),
    });
  }
  if (guard === UNREADABLE || !other) return;
  const partner = await readGuest(other, options);
  if (partner.state === "shut off") return;
  throw new StorageError(
    "locked",
    `the guest ${name} is not started: ${printable(partner.name)}, from which it was migrated, is ${partner.state}`,
    { layer: "libvirt", hint: `shut that one down first: virsh shutdown ${partner.uuid}` },
  );
}

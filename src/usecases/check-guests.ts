import { printable } from "../bytes/text.ts";
import { describeError, StorageError } from "../core/errors.ts";
import { type CheckOptions, check } from "./check.ts";
import type { CheckDocument, CheckedGuestDocument } from "./documents.ts";
import { shutDown, startAgain, type WayOff } from "./guest-life.ts";
import { findGuest, type Guest, guestOf } from "./guests.ts";

export interface GuestCheckOptions extends CheckOptions {
  /** Milliseconds that each guest has to shut down by itself. */
  readonly shutdownTimeoutMs: number;
  readonly forceOff: boolean;
}

interface Stopped {
  readonly guest: Guest;
  readonly way: WayOff;
}

/**
 * Shuts the guests among the sources down, checks, and starts those again that were not off before, if every volume is clean or repaired.
 * Else, and after any error, they stay off: a guest must not run on a file system that is known to be damaged.
 */
export async function checkGuests(options: GuestCheckOptions): Promise<CheckDocument> {
  const names = options.sources.flatMap((s) => guestOf(s) ?? []);
  if (names.length === 0) {
    throw new StorageError("usage", "--shutdown needs a guest among the sources", { hint: "name it as vm:GUEST" });
  }
  const guests: Guest[] = [];
  for (const name of names) guests.push(await findGuest(name, options));
  const stopped: Stopped[] = [];
  const stayOff = (): void => {
    for (const { guest } of stopped) options.note?.(staysOff(guest));
  };
  try {
    for (const guest of guests) {
      if (guest.state === "shut off") continue;
      const { shutdownTimeoutMs: timeoutMs, forceOff, signal, note } = options;
      stopped.push({ guest, way: await shutDown(guest, { timeoutMs, forceOff, signal, note }) });
    }
    const document = await check(options);
    const good = document.volumes.every((v) => v.verdict === "clean" || v.verdict === "repaired");
    const about: CheckedGuestDocument[] = [];
    for (const guest of guests)
      about.push(await conclude(guest, stopped.find((s) => s.guest === guest)?.way ?? null, good));
    for (const { name, started, startError } of about) {
      if (started) options.note?.(`the guest ${printable(name)} is started again`);
      if (startError !== null) options.note?.(`the guest ${printable(name)} could not be started again: ${startError}`);
    }
    if (!good) stayOff();
    const failed = about.some((g) => g.startError !== null);
    return { ...document, guests: about, exitCode: document.exitCode | (failed ? 8 : 0) };
  } catch (error) {
    stayOff();
    throw error;
  }
}

async function conclude(guest: Guest, way: WayOff | null, good: boolean): Promise<CheckedGuestDocument> {
  const { name, uuid, state } = guest;
  const base = { name, uuid, stateBefore: state, shutDown: way };
  if (way === null || !good) return { ...base, started: false, startError: null };
  try {
    await startAgain(guest);
    return { ...base, started: true, startError: null };
  } catch (error) {
    return { ...base, started: false, startError: describeError(error) };
  }
}

function staysOff({ name }: Guest): string {
  return `the guest ${printable(name)} stays off; virsh start ${printable(name)} starts it`;
}

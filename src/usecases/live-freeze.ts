import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Writable } from "node:stream";
import { printable } from "../bytes/text.ts";
import { describeError, StorageError } from "../core/errors.ts";
import type { LiveRecord } from "../host/live-store.ts";
import { virsh } from "../tools/virsh.ts";
import type { Guest } from "./guests.ts";

/** A file in the view's folder while the guest's file systems may be frozen. */
export const FROZEN = "frozen";

/** One virsh command about the guest. */
type Ask = (command: string, ...options: string[]) => Promise<string>;

/**
 * Does what begins a view, with `quiesce` between freezing the guest's file systems and thawing them. Nothing listens to Ctrl-C meanwhile: it
 * takes a moment, and must come to its end. `hold`, the guardian's input, stays open as long as a command runs: were we killed, what the
 * command is about to begin would be begun behind the guardian's back.
 */
export async function inOneInstant(
  guest: Guest,
  { folder, uri, uuid }: LiveRecord,
  quiesce: boolean,
  hold: Writable | null,
  begin: (ask: Ask) => Promise<void>,
): Promise<void> {
  const ask: Ask = (command, ...options) => virsh([command, `--domain=${uuid}`, ...options], { uri, hold });
  if (!quiesce) return begin(ask);
  const frozen = join(folder, FROZEN);
  writeFileSync(frozen, "");
  try {
    await ask("domfsfreeze").catch((error: unknown) => {
      throw silentAgent(error, guest);
    });
    await begin(ask);
  } finally {
    await ask("domfsthaw").catch(() => undefined);
    rmSync(frozen, { force: true });
  }
}

function silentAgent(error: unknown, guest: Guest): StorageError {
  return new StorageError("io", `the guest ${printable(guest.name)} cannot be quiesced: ${describeError(error)}`, {
    layer: "libvirt",
    hint: "the QEMU guest agent must run in it; without --quiesce its journals are replayed in the check instead",
    cause: error,
  });
}

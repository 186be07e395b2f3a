import { setTimeout as wait } from "node:timers/promises";
import { printable } from "../bytes/text.ts";
import { StorageError } from "../core/errors.ts";
import { virsh } from "../tools/virsh.ts";
import { refuseGuardedStart } from "./guarded.ts";
import type { Guest } from "./guests.ts";

export interface ShutdownOptions {
  /** Milliseconds that the guest has to shut down by itself. */
  readonly timeoutMs: number;
  /** Cut its power when it has not done so by then. */
  readonly forceOff: boolean;
  /** Milliseconds after which it is asked once more, again and again; default 15 s. */
  readonly askAgainMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly note?: ((text: string) => void) | undefined;
}

/** How a guest came to be off. */
export type WayOff = "acpi" | "forced";

const POLL_MS = 500;
/** A guest that has just been started does not hear the first request: its firmware or kernel is not ready for the power button yet. */
const ASK_AGAIN_MS = 15_000;
const START_TIMEOUT_MS = 120_000;

/**
 * Asks a running guest by ACPI to shut down and waits until it is off. Never cuts its power without `forceOff`. Throws `locked` when it
 * is still not off: nothing else was changed then, though it may yet shut down.
 */
export async function shutDown(guest: Guest, options: ShutdownOptions): Promise<WayOff> {
  const { timeoutMs, forceOff, askAgainMs = ASK_AGAIN_MS, signal, note } = options;
  const name = printable(guest.name);
  refuseHopeless(guest, forceOff);
  if (guest.state === "running" || guest.state === "idle" || guest.state === "in shutdown") {
    note?.(`asking the guest ${name} to shut down, at most ${timeoutMs / 1000} s`);
    const ask = (): Promise<void> => onGuest(guest, ["shutdown", "--mode=acpi"], signal);
    if (guest.state !== "in shutdown") await ask();
    // It may have gone off just now.
    if (await isOffWithin(guest, timeoutMs, signal, { everyMs: askAgainMs, ask: () => ask().catch(() => undefined) }))
      return "acpi";
    if (!forceOff) {
      throw new StorageError("locked", `the guest ${name} did not shut down within ${timeoutMs / 1000} s`, {
        layer: "libvirt",
        hint: "it was asked to and may do so later: see what it waits for, give it longer with --timeout SECONDS, or cut its power with --force-off",
      });
    }
  }
  note?.(`cutting the power of the guest ${name}`);
  // --graceful gives QEMU the time to write what it has, but may fail where the other way does not.
  await onGuest(guest, ["destroy", "--graceful"], signal).catch(() => onGuest(guest, ["destroy"], signal));
  if (await isOffWithin(guest, START_TIMEOUT_MS, signal)) return "forced";
  throw new StorageError("locked", `the guest ${name} is not off although its power was cut`, { layer: "libvirt" });
}

/** Starts a guest that was shut down here. Throws `locked` when a migration forbids it, `io` with libvirt's reason. */
export async function startAgain(guest: Guest): Promise<void> {
  await refuseGuardedStart(guest, { connect: guest.uri ?? undefined });
  await virsh(["start", `--domain=${guest.uuid}`], { uri: guest.uri, timeoutMs: START_TIMEOUT_MS });
}

function refuseHopeless(guest: Guest, forceOff: boolean): void {
  const name = printable(guest.name);
  if (!guest.persistent) {
    throw new StorageError("locked", `the guest ${name} is transient: once off, libvirt would not know it any more`, {
      layer: "libvirt",
      hint: "virsh define keeps it; or shut it down yourself and name its image files",
    });
  }
  const asleep = guest.state === "paused" || guest.state === "pmsuspended" || guest.state === "crashed";
  if (asleep && !forceOff) {
    throw new StorageError("locked", `the guest ${name} is ${guest.state} and cannot shut down by itself`, {
      layer: "libvirt",
      hint:
        guest.state === "crashed"
          ? "cut its power with --force-off"
          : `virsh resume ${name} first, or cut its power with --force-off`,
    });
  }
}

/** `again`: what is done now and then while it still runs. */
async function isOffWithin(
  guest: Guest,
  timeoutMs: number,
  signal: AbortSignal | undefined,
  again?: { readonly everyMs: number; ask(): Promise<void> },
): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  let asked = performance.now();
  for (;;) {
    const state = await virsh(["domstate", `--domain=${guest.uuid}`], { uri: guest.uri, readOnly: true, signal });
    if (state.trim() === "shut off") return true;
    if (again && state.trim() === "running" && performance.now() - asked >= again.everyMs) {
      await again.ask();
      asked = performance.now();
    }
    const left = deadline - performance.now();
    if (left <= 0) return false;
    await wait(Math.min(POLL_MS, left), undefined, { signal }).catch(() => signal?.throwIfAborted());
  }
}

async function onGuest(guest: Guest, [command = "", ...more]: readonly string[], signal?: AbortSignal): Promise<void> {
  await virsh([command, `--domain=${guest.uuid}`, ...more], { uri: guest.uri, signal });
}

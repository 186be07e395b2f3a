import { printable } from "../bytes/text.ts";
import { describeError, StorageError } from "../core/errors.ts";
import type { KeyProvider } from "../core/layer.ts";
import {
  disksOf,
  forgetSecret,
  giveCommands,
  giveSecret,
  keptReason,
  otherUsers,
  secretNow,
  secretsOf,
  unnamedSecrets,
} from "./guest-secrets.ts";
import type { Guest } from "./guests.ts";
import type { LifeDocument, LifeStepDocument } from "./life-documents.ts";
import { commandText } from "./need-steps.ts";
import type { LifeOptions } from "./unlock-guest.ts";

/** The passphrases that libvirt is given for a guest, so that QEMU can decrypt its disks; where it has one, nothing is asked. */
export async function giveSecrets(
  guest: Guest,
  options: LifeOptions & { readonly keys: KeyProvider },
): Promise<LifeStepDocument[]> {
  const steps: LifeStepDocument[] = [];
  for (const need of secretsOf(guest)) {
    const step = { kind: "secret" as const, name: disksOf(need), commands: [] };
    if (guest.state !== "shut off") {
      steps.push({ ...step, outcome: "already", reason: `it is ${guest.state}` });
      continue;
    }
    const now = await secretNow(need.uuid, guest, options);
    if (now !== null && !now.ephemeral) {
      steps.push({ ...step, outcome: "already", reason: await keptReason(need, now, guest, options) });
      continue;
    }
    if (now?.given) {
      steps.push({ ...step, outcome: "already", reason: null });
      continue;
    }
    const commands = await giveCommands(need, guest, now);
    if (!options.dryRun) {
      options.note?.(`giving libvirt the passphrase of ${printable(disksOf(need))}`);
      await giveSecret(need, guest, { ...options, now });
    }
    steps.push({ ...step, commands, outcome: options.dryRun ? "planned" : "done", reason: null });
  }
  return steps;
}

/** What is to be known of a guest's secrets. */
export async function secretRemarks(guest: Guest, options: LifeOptions): Promise<LifeDocument["remarks"]> {
  const remarks = unnamedSecrets(guest).map((disk) => ({
    what: `${disk} names its secret by a usage, which is not looked up here`,
    hint: "name it by its UUID (virsh edit), or give it its value yourself: virsh secret-set-value",
  }));
  for (const need of secretsOf(guest)) {
    const now = await secretNow(need.uuid, guest, options);
    if (now === null || now.ephemeral) continue;
    remarks.push({
      what: `libvirt keeps the passphrase of ${disksOf(need)} on its own disk, in the clear unless that is encrypted`,
      hint: `virsh secret-undefine ${need.uuid}; unlock makes one then that is in memory only`,
    });
  }
  return remarks;
}

/** Takes them from libvirt again; those that a running guest needs are kept. */
export async function takeSecrets(guest: Guest, options: LifeOptions): Promise<LifeStepDocument[]> {
  const steps: LifeStepDocument[] = [];
  for (const need of secretsOf(guest)) {
    const now = await secretNow(need.uuid, guest, options);
    if (now === null || !now.ephemeral) continue;
    const step = { kind: "secret" as const, name: disksOf(need), commands: [] };
    const users = await otherUsers(need, guest, options);
    if (users.length > 0) {
      const who = `${users.length === 1 ? "the guest" : "the guests"} ${users.map(printable).join(", ")}`;
      steps.push({ ...step, outcome: "kept", reason: `needed by ${who}` });
      continue;
    }
    const commands = [commandText(["virsh", "secret-undefine", `--secret=${need.uuid}`])];
    if (options.dryRun) {
      steps.push({ ...step, commands, outcome: "planned", reason: null });
      continue;
    }
    try {
      await forgetSecret(need.uuid, guest, options);
      steps.push({ ...step, commands, outcome: "done", reason: null });
    } catch (error) {
      if (error instanceof StorageError && error.code === "cancelled") throw error;
      steps.push({ ...step, commands, outcome: "failed", reason: describeError(error) });
    }
  }
  return steps;
}

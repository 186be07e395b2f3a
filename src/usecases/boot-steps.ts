import { printable } from "../bytes/text.ts";
import { type CryptEntry, cryptOption } from "../host/crypttab.ts";
import type { BootStepDocument } from "./boot-documents.ts";
import { openingOf, usualKeyFiles } from "./crypt-opening.ts";
import type { CryptNeed, MountNeed, Need, Needs } from "./guest-needs.ts";

/** What is known of the host and the guest beside its needs. */
export interface BootFacts {
  /** Whether a path is there, in the host's tree. */
  readonly exists: (path: string) => boolean;
  /** none: `boot enable` was not done. changed: somebody edited it since. off: the link for the boot is not there. */
  readonly unit: "none" | "ready" | "changed" | "off";
  readonly unitName: string;
  /** One of libvirt's daemons or sockets is enabled. */
  readonly libvirt: boolean;
  readonly autostart: boolean;
  /** Why the guest must not be started, or null. */
  readonly guarded: string | null;
  /** Disks that QEMU decrypts with a secret that libvirt forgets when the host goes down, or has not. */
  readonly lostSecrets: readonly string[];
  /** The unit has somebody asked for them. */
  readonly asks: boolean;
  /** The programs that the unit calls and that are not there. */
  readonly lostPrograms: readonly string[];
}

/** What happens at the next boot, in order: pure, from the tables as they are. */
export function bootSteps(needs: Needs, guest: string, facts: BootFacts): BootStepDocument[] {
  const steps = needs.steps.map((need) => needStep(need, facts));
  for (const { what, hint } of needs.missing) steps.push(step("volume", what, "is not there", hint));
  steps.push(
    facts.libvirt
      ? step("libvirt", "libvirt", "is started by the host")
      : step("libvirt", "libvirt", "is not enabled", "systemctl enable libvirtd.socket, or virtqemud.socket"),
  );
  for (const disk of facts.lostSecrets) {
    const enable = `unterbau boot enable vm:${printable(guest)} has somebody asked for it; by hand: unterbau unlock vm:${printable(guest)} --start`;
    steps.push(
      facts.asks
        ? step("crypt", disk, "is decrypted by QEMU, with a secret that libvirt is given by a passphrase")
        : step("crypt", disk, "is decrypted by QEMU, with a passphrase that libvirt has not got after a boot", enable),
    );
  }
  steps.push(guestStep(guest, facts));
  return steps;
}

/** Null `hint`: it is as it should be. */
function step(kind: BootStepDocument["kind"], name: string, how: string, hint: string | null = null): BootStepDocument {
  return { kind, name, how, ok: hint === null, hint };
}

function needStep(need: Need, facts: BootFacts): BootStepDocument {
  switch (need.kind) {
    case "crypt":
      return cryptStep(need, facts);
    case "mount":
      return mountStep(need);
    case "volume":
      return step("volume", `${need.group}/${need.volume}`, "is activated by udev when its group appears");
  }
}

function cryptStep({ entry, name }: CryptNeed, facts: BootFacts): BootStepDocument {
  if (entry === null)
    return step("crypt", name, "is not opened: /etc/crypttab does not name it", "boot enable writes the line");
  const when = cryptOption(entry, "noauto") === null ? "is opened early in the boot" : "is opened for the guest";
  const net = cryptOption(entry, "_netdev") === null ? "" : " when the network is up";
  const key = keyOf(entry, facts);
  const how = `${when}${net}, ${key.how}`;
  if (key.hint !== null) return step("crypt", name, how, key.hint);
  if (holdsUp(entry) && key.asks)
    return step(
      "crypt",
      name,
      `${how}; the whole boot waits for it, SSH is not there yet`,
      "the option nofail in /etc/crypttab; boot enable adds it to lines with noauto",
    );
  return step("crypt", name, how);
}

/**
 * systemd-cryptsetup-generator(8) orders every line without nofail before cryptsetup.target, for which the system's start waits: also one
 * with noauto, once something else wants it.
 */
export function holdsUp(entry: CryptEntry): boolean {
  return cryptOption(entry, "nofail") === null;
}

function keyOf(entry: CryptEntry, facts: BootFacts): { how: string; asks: boolean; hint: string | null } {
  const opening = openingOf(entry);
  for (const [option, what] of [
    ["tpm2-device", "by the TPM"],
    ["fido2-device", "by a FIDO2 token, which wants a touch"],
    ["pkcs11-uri", "by a PKCS#11 token"],
  ] as const) {
    if (cryptOption(entry, option) !== null)
      return { how: `${what}, else by a passphrase`, asks: option !== "tpm2-device", hint: null };
  }
  if (opening.by === "systemd") return { how: `by the key on a medium (${entry.keyFile})`, asks: false, hint: null };
  const file = opening.keyFile ?? usualKeyFiles(entry.name).find((path) => facts.exists(path)) ?? null;
  if (file === null) return { how: "by a passphrase", asks: true, hint: null };
  const there = facts.exists(file);
  const how = `by the key file ${printable(file)}`;
  // systemd asks when the file is not there.
  return { how, asks: !there, hint: there ? null : `${printable(file)} is not there: a passphrase would be asked for` };
}

function mountStep({ declared, where, onCrypt }: MountNeed): BootStepDocument {
  if (declared === null)
    return step(
      "mount",
      where,
      "is not mounted: nothing declares it",
      "a line in /etc/fstab, with noauto,nofail: findmnt shows what is mounted there now",
    );
  if (!onCrypt || !mountHoldsUp(declared.options)) return step("mount", where, "is mounted for the guest");
  const place = declared.unit ?? "/etc/fstab";
  return step(
    "mount",
    where,
    "is mounted before the system's start goes on: the whole boot waits for the passphrase",
    declared.unit === null
      ? "the option nofail in /etc/fstab; boot enable adds it"
      : `the option nofail in ${printable(place)} (systemctl edit --full)`,
  );
}

/** systemd.mount(5): without nofail or _netdev a mount is ordered before local-fs.target, also with noauto. */
export function mountHoldsUp(options: readonly string[]): boolean {
  return !options.includes("nofail") && !options.includes("_netdev");
}

function guestStep(guest: string, facts: BootFacts): BootStepDocument {
  const name = printable(guest);
  const enable = `unterbau boot enable vm:${name}`;
  if (facts.guarded !== null) return step("guest", guest, `is not started: ${facts.guarded}`, "start the other one");
  if (facts.autostart)
    return step(
      "guest",
      guest,
      "is started by libvirt itself, which does not wait for its volumes",
      `${enable} turns that off and writes a unit`,
    );
  if (facts.unit === "none") return step("guest", guest, "is not started: no unit is written for it", enable);
  if (facts.unit === "off")
    return step(
      "guest",
      guest,
      `is not started: ${facts.unitName} is not enabled`,
      `systemctl enable ${facts.unitName}`,
    );
  const [lost] = facts.lostPrograms;
  if (lost !== undefined)
    return step("guest", guest, `is not started: ${printable(lost)}, which ${facts.unitName} calls, is gone`, enable);
  if (facts.unit === "changed")
    return step("guest", guest, `is started by ${facts.unitName}, which was edited since it was written`);
  return step("guest", guest, `is started by ${facts.unitName} when all of that is there`);
}

/** `no` when something is wrong; else whether somebody has to type. */
export function verdictOf(steps: readonly BootStepDocument[]): "yes" | "after-passphrase" | "no" {
  if (steps.some((s) => !s.ok)) return "no";
  const asks = steps.some(
    ({ kind, how }) =>
      kind === "crypt" && !how.includes("by the TPM") && /by a passphrase$|by a (FIDO2|PKCS)/.test(how),
  );
  return asks ? "after-passphrase" : "yes";
}

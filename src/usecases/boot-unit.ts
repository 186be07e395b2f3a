import { printable } from "../bytes/text.ts";
import { cryptsetupUnit, escapeUnit, pathUnit } from "../host/unit-names.ts";
import type { Need } from "./guest-needs.ts";

export interface UnitRequest {
  readonly guest: { readonly name: string; readonly uuid: string };
  /** libvirt's connection, as `virsh uri` says it. */
  readonly uri: string;
  readonly needs: readonly Need[];
  /** The passphrase of a disk that QEMU decrypts is asked for at the boot. */
  readonly asks: boolean;
  /** How this program is called: absolute path, and arguments in front of its own. */
  readonly program: readonly string[];
}

/** A file of ours, absolute in the host's tree. */
export interface UnitFile {
  readonly path: string;
  readonly text: string;
}

const FOLDER = "/etc/systemd/system";
const ASK = "--ask-password";
/** Seconds for the guest's own shutdown when the host goes down, then some for us. */
const SHUTDOWN_SECONDS = 300;
const STOP_SECONDS = SHUTDOWN_SECONDS + 30;

export function guestUnit(name: string): string {
  return `unterbau-guest-${escapeUnit(name)}.service`;
}

/** Whether a unit, by its text, has somebody asked for the passphrase of a disk that QEMU decrypts. */
export function unitAsks(text: string): boolean {
  return new RegExp(`^ExecStart=.* ${ASK}$`, "m").test(text);
}

/**
 * The guest's unit, and drop-ins for the devices that appear only when somebody has typed a passphrase: systemd would give them up after
 * 90 seconds.
 */
export function bootFiles(request: UnitRequest): UnitFile[] {
  const unit = guestUnit(request.guest.name);
  const name = unit.replace(/\.service$/, "");
  const devices = request.needs.flatMap((need) => {
    if (need.kind === "crypt") return [`/dev/mapper/${need.name}`];
    return need.kind === "volume" ? [volumePath(need)] : [];
  });
  const waits = devices.map((device) => ({
    path: `${FOLDER}/${pathUnit(device, "device")}.d/${name}.conf`,
    text: `${header(request)}[Unit]\nJobRunningTimeoutSec=infinity\n`,
  }));
  return [{ path: `${FOLDER}/${unit}`, text: unitText(request) }, ...waits];
}

function header({ guest }: UnitRequest): string {
  const name = printable(guest.name);
  return `# Written by \`unterbau boot enable vm:${name}\`; \`unterbau boot disable vm:${name}\` removes it.\n`;
}

function volumePath({ group, volume }: { readonly group: string; readonly volume: string }): string {
  return `/dev/${group}/${volume}`;
}

/** systemd.unit(5), systemd.service(5). */
function unitText(request: UnitRequest): string {
  const { guest, uri, needs, asks, program } = request;
  const required = needs.flatMap((need) => {
    if (need.kind === "crypt") return [cryptsetupUnit(need.name)];
    return need.kind === "volume" ? [pathUnit(volumePath(need), "device")] : [];
  });
  const mounts = needs.flatMap((need) => (need.kind === "mount" ? [need.where] : []));
  // In a command line a dollar begins a variable, in quotes too (systemd.service(5), "Command lines").
  const call = (...args: readonly string[]) =>
    [...program, ...args].map((a) => unitWord(a).replaceAll("$", "$$$$")).join(" ");
  const of = [`vm:${guest.uuid}`, "--connect", uri];
  return [
    header(request),
    "[Unit]\n",
    `Description=Guest ${describedName(guest.name)} on encrypted storage\n`,
    ...required.map((unit) => `Requires=${unit.replaceAll("%", "%%")}\n`),
    ...required.map((unit) => `After=${unit.replaceAll("%", "%%")}\n`),
    ...(mounts.length > 0 ? [`RequiresMountsFor=${mounts.map(unitWord).join(" ")}\n`] : []),
    "# Whichever of libvirt's daemons this host has.\n",
    "After=libvirtd.service libvirtd.socket virtqemud.service virtqemud.socket virtnetworkd.service virtstoraged.service\n",
    "# So that at the host's end this unit shuts the guest down first, and its memory is not saved in the clear.\n",
    "After=libvirt-guests.service\n",
    "# Else the boot would not be over until somebody has typed the passphrase.\n",
    "After=multi-user.target\n",
    "\n[Service]\n",
    "Type=oneshot\n",
    "RemainAfterExit=yes\n",
    "TimeoutStartSec=infinity\n",
    `TimeoutStopSec=${STOP_SECONDS}\n`,
    "# Asks the mark of a migration, too: the old guest is never started beside its copy.\n",
    `ExecStart=${call("unlock", ...of, "--start", asks ? ASK : "--no-prompt")}\n`,
    `ExecStop=${call("lock", ...of, "--guest-only", "--timeout", String(SHUTDOWN_SECONDS))}\n`,
    "\n[Install]\n",
    "WantedBy=multi-user.target\n",
  ].join("");
}

/** One word of a setting: quoted, with specifiers made harmless (systemd.syntax(7), "Quoting"). */
export function unitWord(text: string): string {
  const plain = text.replaceAll("%", "%%");
  if (/^[\w./:@+,=%$?&~-]+$/.test(plain)) return plain;
  return `"${plain.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;
}

function describedName(text: string): string {
  return printable(text).replaceAll("%", "%%").replaceAll("\\", "\\\\");
}

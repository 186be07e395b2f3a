import type {
  GuestDiskDocument,
  GuestDocument,
  GuestMigrationDocument,
  GuestsDocument,
  HostDeviceDocument,
} from "../usecases/documents.ts";
import type { Palette } from "./tree-text.ts";
import { exactSize, printable } from "./units.ts";

/** Every guest with its disks, for a person. */
export function guestsText(doc: GuestsDocument, p: Palette): string {
  const guests = doc.guests.length === 0 ? ["No guest is defined."] : doc.guests.map((g) => guestText(g, p));
  const findings = doc.findings.map((f) => `${p.yellow(f.severity)}: ${printable(f.message)}`);
  return `${[...guests, ...findings].join("\n")}\n`;
}

function guestText(guest: GuestDocument, p: Palette): string {
  const state = guest.managedSave ? `${guest.state}, its memory is saved` : guest.state;
  const about = [printable(state), ...(guest.connection === null ? [] : [printable(guest.connection)])];
  const lines = [`${p.bold(printable(guest.name))}  ${about.join(" · ")}`];
  if (guest.migration !== null) lines.push(`  ${migration(guest.migration, p)}`);
  for (const disk of guest.disks) lines.push(...diskLines(disk, p));
  if (guest.disks.length === 0) lines.push(p.dim("  no disks"));
  if (guest.nvram !== null) lines.push(p.dim(`  nvram  ${printable(guest.nvram)}`));
  return lines.join("\n");
}

/** What a person does with it, and what became of the other one. */
function migration({ role, run, state, partner, oldDisk, retired }: GuestMigrationDocument, p: Palette): string {
  const name = `${printable(partner.name ?? partner.uuid)}${partner.defined ? "" : " (not defined here)"}`;
  if (state === "copying") {
    const what = role === "old" ? `is being migrated to ${name}` : `the unfinished copy of ${name}`;
    return p.yellow(`${what}: unterbau migrate --resume ${run} goes on, --rollback ${run} takes it back`);
  }
  const fates = {
    kept: p.yellow(`the old disk was not destroyed yet (unterbau retire ${run})`),
    "destroyed-in-part": p.yellow(`the old disk is destroyed in part (unterbau retire --resume ${run} goes on)`),
    destroyed: p.green(`the old disk was destroyed on ${retired?.slice(0, 10)} (unterbau retire --show ${run})`),
    unknown: p.yellow("whether the old disk is destroyed is not known here"),
  };
  const who = role === "old" ? p.yellow(`migrated: ${name} took its place, start that one`) : `migrated from ${name}`;
  return `${who} · ${fates[oldDisk]}`;
}

function diskLines(disk: GuestDiskDocument, p: Palette): string[] {
  const drive = disk.device === "cdrom" || disk.device === "floppy";
  const kind = drive ? disk.device : [disk.format, ...(disk.size === null ? [] : [exactSize(disk.size)])].join(" ");
  const marks = [...(disk.readOnly && !drive ? ["read-only"] : []), ...(disk.shareable ? ["shareable"] : [])];
  const head = `  ${printable(disk.target)}  ${[kind, ...marks].join(", ")}  ${printable(disk.place)}`;
  if (disk.problem !== null) return [head, `       ${p.red(printable(disk.problem))}`];
  if (drive || disk.path === null) return [drive ? p.dim(head) : head];
  const rest = [disk.path, ...disk.backing].map((path, i) => {
    const under = disk.restsOn[i];
    const name = i === 0 ? "" : `${printable(path)} `;
    return p.dim(`       ${name}on ${under ? chain(under) : "?"}`);
  });
  return [head, ...rest, `       ${encryption(disk, p)} · ${verdict(disk, p)}`];
}

/** `lvm vg0-web → crypt luks0 → raid1 md0 → (partition sda2 → disk sda, partition sdb2 → disk sdb)` */
function chain(device: HostDeviceDocument): string {
  const name = device.path.replace(/^\/dev\/(mapper\/)?/, "");
  const own = `${device.kind} ${printable(name)}`;
  if (device.below.length === 0) return own;
  const below = device.below.map(chain);
  return `${own} → ${below.length === 1 ? below[0] : `(${below.join(", ")})`}`;
}

function encryption({ encryption: e, encrypted }: GuestDiskDocument, p: Palette): string {
  if (e === null) return p.yellow("encryption unknown");
  const ways = [
    ...(e.host ? ["by the host (dm-crypt)"] : []),
    ...(e.inside === "full" ? [e.byQemu ? "by QEMU (LUKS)" : "in the guest (LUKS)"] : []),
  ];
  if (encrypted) return p.green(`encrypted ${ways.join(" and ")}`);
  if (e.inside === "partial") return p.yellow("encrypted in part (LUKS in the guest)");
  return p.yellow(
    e.inside === "unknown" ? "not encrypted by the host; what is inside cannot be seen" : "not encrypted",
  );
}

function verdict({ lastCheck: c }: GuestDiskDocument, p: Palette): string {
  if (c === null) return p.dim("never checked here");
  const good = (c.verdict === "clean" || c.verdict === "repaired") && c.changedSince === false && c.complete;
  const marks = [
    ...(c.mode === "live" ? ["live"] : []),
    ...(c.complete ? [] : ["only some volumes"]),
    ...(c.changedSince === true ? ["may have changed since"] : []),
  ];
  const text = `${c.verdict} on ${c.checked.slice(0, 16).replace("T", " ")} UTC${marks.length > 0 ? ` (${marks.join(", ")})` : ""}`;
  return good ? p.green(text) : p.yellow(text);
}

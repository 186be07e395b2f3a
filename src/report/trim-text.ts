import type {
  TrimExplainDocument,
  TrimLinkDocument,
  TrimMountDocument,
  TrimRunDocument,
} from "../usecases/trim-documents.ts";
import type { Palette } from "./tree-text.ts";
import { exactSize, printable } from "./units.ts";

/** TRIM's way down, layer by layer. */
export function trimText(doc: TrimExplainDocument, p: Palette): string {
  const lines = [p.bold(`${printable(doc.guest)}, which is ${printable(doc.state)}`)];
  if (doc.inside.reason !== null)
    lines.push(p.yellow(`  its file systems are not known: ${printable(doc.inside.reason)}`));
  for (const mount of doc.inside.mounts) lines.push(...mountLines(mount, p));
  for (const { target, place, links, stopsAt } of doc.disks) {
    lines.push(p.bold(`disk ${printable(target)}  ${printable(place)}`));
    for (const link of links) lines.push(...linkLines(link, p));
    const unsure = links.some((l) => l.passes === null);
    lines.push(
      stopsAt !== null
        ? p.yellow(`  TRIM stops at ${printable(stopsAt)}`)
        : unsure
          ? p.yellow("  nothing is known to stop it")
          : p.green("  TRIM gets through to the disk"),
    );
  }
  if (doc.disks.length === 0) lines.push("no disks");
  return `${lines.join("\n")}\n`;
}

const SENT = {
  discard: "sends TRIM with every deletion (option discard)",
  timer: "sends TRIM once a week (fstrim.timer)",
  never: "never sends TRIM",
  unknown: "not known whether it sends TRIM",
};

function mountLines({ where, type, sent, guestCrypt }: TrimMountDocument, p: Palette): string[] {
  const mark = sent === "never" || guestCrypt === "drops" ? p.yellow("NO") : p.green("ok");
  const crypt =
    guestCrypt === "drops"
      ? "; the guest's own LUKS drops it: the option discard in its /etc/crypttab"
      : guestCrypt === "unknown"
        ? "; whether the guest's own LUKS passes it is not known"
        : "";
  const lines = [`  ${mark}  ${printable(where)} (${printable(type)}) ${SENT[sent]}${crypt}`];
  if (sent === "never")
    lines.push(
      p.yellow("      in the guest: systemctl enable --now fstrim.timer, or the option discard in its /etc/fstab"),
    );
  return lines;
}

function linkLines(link: TrimLinkDocument, p: Palette): string[] {
  const mark = link.passes === null ? p.yellow(" ?") : link.passes ? p.green("ok") : p.red("NO");
  const lines = [`  ${mark}  ${printable(link.layer)} ${printable(link.name)}: ${printable(link.why)}`];
  if (link.passes !== true) for (const how of link.turnOn) lines.push(p.yellow(`      turn on: ${printable(how)}`));
  if (link.passes === false && link.givesAway !== null)
    lines.push(p.dim(`      gives away: ${printable(link.givesAway)}`));
  return lines;
}

export function trimRunText(doc: TrimRunDocument, p: Palette): string {
  const lines = doc.disks.map(({ target, allocatedBefore: before, allocatedAfter: after }) =>
    before === null || after === null
      ? `${printable(target)}: trimmed; what it has on the host cannot be told`
      : `${printable(target)}: ${exactSize(before)} on the host before, ${exactSize(after)} now`,
  );
  for (const remark of doc.remarks) lines.push(p.yellow(`note: ${printable(remark)}`));
  return `${lines.join("\n")}\n`;
}

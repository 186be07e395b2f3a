import type { HeaderDocument, Proof, Standing } from "../usecases/header-documents.ts";
import type { Palette } from "./tree-text.ts";
import { humanSize, printable } from "./units.ts";

const STANDING: Readonly<Record<Standing["onDevice"], string>> = {
  current: "the device has this header",
  changed: "the device's header was changed since",
  other: "another container lies on the device",
  none: "the device has no LUKS header now",
  absent: "the device is not there",
};

/** One backup in a few lines. */
export function headerText(backup: HeaderDocument & Partial<Standing & Proof>, p: Palette): string {
  const { file, device, uuid, version, label, epoch, size, made, state, onDevice, unlocks, reason } = backup;
  const name = label === null ? "" : ` “${printable(label)}”`;
  const lines = [
    p.bold(printable(file)),
    `  LUKS${version} ${uuid}${name}${epoch === null ? "" : `, epoch ${epoch}`}, ${humanSize(size)}, ${made}`,
    `  of ${printable(device)}${onDevice === undefined ? "" : `: ${onDevice === "current" ? STANDING.current : p.yellow(STANDING[onDevice])}`}`,
  ];
  if (state !== undefined && state !== "whole") lines.push(`  ${p.red(state)}`);
  if (unlocks === true) lines.push(`  ${p.green("unlocks")}: restored into a file of its own and opened by cryptsetup`);
  else if (reason !== undefined && reason !== null)
    lines.push(`  ${p.red(unlocks === null ? "not shown to unlock" : "does not unlock")}: ${printable(reason)}`);
  return `${lines.join("\n")}\n`;
}

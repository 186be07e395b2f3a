import { printable } from "../bytes/text.ts";
import { StorageError } from "../core/errors.ts";
import type { CryptEntry } from "../host/crypttab.ts";
import { cryptOption, tableFields } from "../host/crypttab.ts";
import type { LineChange } from "../host/edit-table.ts";
import { parseFstab } from "../host/mount-table.ts";
import { holdsUp, mountHoldsUp } from "./boot-steps.ts";
import type { CryptNeed, Needs } from "./guest-needs.ts";

export const CRYPTTAB = "/etc/crypttab";
export const FSTAB = "/etc/fstab";

/** How lines that are new in crypttab open their volumes. */
export interface NewEntry {
  readonly keyFile?: string | undefined;
  readonly tpm2: boolean;
  readonly netdev: boolean;
  readonly discard: boolean;
}

/** Lines that crypttab and fstab lack, and options without which the host's boot would wait. Nothing else is touched. */
export function tableChanges(needs: Needs, crypttab: string, fstab: string, entry: NewEntry): LineChange[] {
  return [...cryptChanges(needs, crypttab, entry), ...mountChanges(needs, fstab)];
}

function cryptChanges(needs: Needs, text: string, how: NewEntry): LineChange[] {
  const lines = text.split("\n");
  const unended = text !== "" && !text.endsWith("\n");
  const changes: LineChange[] = [];
  for (const need of needs.steps) {
    if (need.kind !== "crypt") continue;
    if (need.entry === null) {
      const first = unended && !changes.some((c) => c.before === null);
      changes.push({ file: CRYPTTAB, before: null, after: newLine(need, how), ...(first ? { unended: true } : {}) });
    } else if (cryptOption(need.entry, "noauto") !== null && holdsUp(need.entry)) {
      const before = lines[need.entry.line - 1] ?? "";
      changes.push({ file: CRYPTTAB, before, after: withOption(before, need.entry) });
    }
  }
  return changes;
}

function newLine({ name, uuid }: CryptNeed, { keyFile, tpm2, netdev, discard }: NewEntry): string {
  // libcryptsetup: CRYPT-TYPE-UUID-NAME, the UUID without hyphens.
  const hex = /^CRYPT-LUKS[12]-([0-9a-f]{32})-/.exec(uuid ?? "")?.[1];
  if (hex === undefined || /[\s#]/.test(name)) {
    throw new StorageError(
      "unsupported",
      `${printable(name)} is open and not in crypttab, and it is no LUKS volume with a UUID`,
      {
        layer: "crypttab",
        feature: "a line for it",
        hint: "write the line yourself",
      },
    );
  }
  if (keyFile !== undefined && (!keyFile.startsWith("/") || /[\s:]/.test(keyFile)))
    throw new StorageError("usage", "a key file for crypttab is named by its absolute path, without spaces and colons");
  const options = [
    "luks",
    "noauto",
    "nofail",
    ...(tpm2 ? ["tpm2-device=auto"] : []),
    ...(netdev ? ["_netdev"] : []),
    ...(discard ? ["discard"] : []),
  ];
  const id = hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
  return `${name} UUID=${id} ${keyFile ?? "none"} ${options.join(",")}`;
}

/** The line with nofail at the end of its options; spaces stay as they are. */
function withOption(line: string, entry: CryptEntry): string {
  const options = tableFields(line)[3];
  return options === undefined || entry.options.length === 0 ? line : line.replace(/(\S)(\s*)$/, "$1,nofail$2");
}

function mountChanges(needs: Needs, text: string): LineChange[] {
  const changes: LineChange[] = [];
  for (const need of needs.steps) {
    if (need.kind !== "mount" || !need.onCrypt || need.declared === null || need.declared.unit !== null) continue;
    if (!mountHoldsUp(need.declared.options)) continue;
    const before = text.split("\n").find((line) => parseFstab(line).some((m) => m.where === need.where));
    if (before === undefined) continue;
    const after = before.replace(/^(\s*\S+\s+\S+\s+\S+)(\s+)(\S+)/, "$1$2$3,nofail");
    changes.push({ file: FSTAB, before, after: after === before ? `${before} nofail` : after });
  }
  return changes;
}

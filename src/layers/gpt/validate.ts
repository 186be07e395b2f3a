import type { Finding } from "../../core/finding.ts";
import type { Copy, Tables } from "./load.ts";
import type { GptEntry, GptHeader } from "./table.ts";

type UsableCopy = Extract<Copy, { usable: true }>;
const LAYER = "gpt";

/** What the two copies say about each other. `used` is one of them. */
export function copyFindings(tables: Tables, used: UsableCopy, size: number): Finding[] {
  const { primary, backup, unit } = tables;
  const findings: Finding[] = [];
  const add = (severity: Finding["severity"], code: string, message: string, lba?: number) =>
    findings.push({ severity, code, message, layer: LAYER, offset: lba === undefined ? undefined : lba * unit });

  if (!primary.usable) {
    add(
      "warning",
      "gpt-primary-damaged",
      `the first GPT cannot be used (${primary.reason}): the backup is used`,
      primary.lba,
    );
  } else if (!backup.usable) {
    add("warning", "gpt-backup-damaged", `the backup GPT cannot be used: ${backup.reason}`, backup.lba);
  } else if (!sameContent(primary, backup)) {
    add("warning", "gpt-copies-differ", "the two copies of the GPT differ: the first is used", backup.lba);
  }
  const last = Math.floor(size / unit) - 1;
  if (backup.usable && backup.lba !== last) {
    add("info", "gpt-backup-not-at-end", "the backup GPT is not in the last block: the disk was enlarged", backup.lba);
  }
  if (used.header.lastUsableLba > BigInt(last)) {
    add("error", "gpt-disk-too-small", `the disk ends before block ${used.header.lastUsableLba}, the last usable one`);
  }
  if (used.header.revision !== 0x00010000) {
    add("warning", "gpt-revision", `revision ${used.header.revision.toString(16)} is not 1.0`, used.lba);
  }
  return findings;
}

function sameContent(a: UsableCopy, b: UsableCopy): boolean {
  return (
    a.header.diskGuid === b.header.diskGuid &&
    a.header.entriesCrc === b.header.entriesCrc &&
    a.header.entryCount === b.header.entryCount &&
    a.header.firstUsableLba === b.header.firstUsableLba &&
    a.header.lastUsableLba === b.header.lastUsableLba
  );
}

/** Why a partition cannot be used, or null. */
export function unavailableReason(entry: GptEntry, unit: number, size: number): string | null {
  if (entry.lastLba < entry.firstLba) return `partition ${entry.number} ends before it begins`;
  if (entry.lastLba >= BigInt(Math.floor(size / unit))) {
    return `partition ${entry.number} reaches beyond the end of the disk`;
  }
  if (entry.firstLba === 0n) return `partition ${entry.number} begins in the protective MBR`;
  return null;
}

/** Partitions that share blocks with one another, or lie outside the range that the header calls usable. */
export function entryFindings(entries: readonly GptEntry[], header: GptHeader): Finding[] {
  const findings: Finding[] = [];
  const sorted = entries
    .filter((e) => e.lastLba >= e.firstLba)
    .sort((a, b) => (a.firstLba < b.firstLba ? -1 : a.firstLba > b.firstLba ? 1 : 0));
  let reach: GptEntry | null = null;
  for (const e of sorted) {
    if (e.firstLba < header.firstUsableLba || e.lastLba > header.lastUsableLba) {
      findings.push({
        severity: "warning",
        code: "gpt-partition-outside-usable",
        message: `partition ${e.number} lies outside the usable blocks ${header.firstUsableLba} to ${header.lastUsableLba}`,
        layer: LAYER,
      });
    }
    if (reach && e.firstLba <= reach.lastLba) {
      findings.push({
        severity: "warning",
        code: "gpt-overlap",
        message: `partitions ${reach.number} and ${e.number} share blocks`,
        layer: LAYER,
      });
    }
    if (!reach || e.lastLba > reach.lastLba) reach = e;
  }
  return findings;
}

import type { Finding } from "../../core/finding.ts";
import { BOOT_RECORD_SIZE, decodeBootRecord, type Entry, isExtended, isUsed } from "./table.ts";

/** Extended boot records in a row without a logical partition; Linux and libblkid give up at the same number. */
const MAX_EMPTY_RECORDS = 100;

export interface LogicalPartition {
  readonly entry: Entry;
  /** First sector from the start of the disk. */
  readonly start: number;
}

export interface ExtendedChain {
  readonly logical: readonly LogicalPartition[];
  readonly findings: readonly Finding[];
}

/** Reads `length` bytes; fewer at the end of the disk. */
export type SectorReader = (offset: number, length: number) => Promise<Uint8Array>;

/**
 * Follows the chain of extended boot records. In each the data record's start counts from that boot record, the link's start from the
 * extended partition (Linux block/partitions/msdos.c, parse_extended). Whatever is wrong ends the chain with a finding: the primary
 * partitions and the logical ones found so far stay usable. The links must ascend, so the walk ends.
 */
export async function readExtendedChain(
  read: SectorReader,
  extended: Entry,
  sectorSize: number,
  maxLogical: number,
): Promise<ExtendedChain> {
  const logical: LogicalPartition[] = [];
  const findings: Finding[] = [];
  const end = extended.start + extended.sectors;
  let at = extended.start;
  let size = extended.sectors;
  let empty = 0;

  const stop = (severity: Finding["severity"], code: string, message: string): ExtendedChain => {
    findings.push({ severity, code, message, layer: "mbr", offset: at * sectorSize });
    return { logical, findings };
  };

  if (extended.start === 0) return stop("error", "mbr-ebr-start", "the extended partition starts at sector 0");
  for (;;) {
    const record = decodeBootRecord(await read(at * sectorSize, BOOT_RECORD_SIZE));
    if (!record) {
      const first = at === extended.start;
      return stop(
        first ? "warning" : "error",
        "mbr-ebr-missing",
        first
          ? "the extended partition has no boot record: it holds no logical partitions"
          : "the chain of logical partitions is broken here: what follows cannot be found",
      );
    }
    empty++;
    for (const [i, entry] of record.entries.entries()) {
      if (!isUsed(entry) || isExtended(entry)) continue;
      const start = at + entry.start;
      // OS/2 used all four records; anything that does not fit there is rubbish (libblkid dos.c, parse_dos_extended).
      if (i >= 2 && (entry.start + entry.sectors > size || start + entry.sectors > end)) continue;
      if (logical.length >= maxLogical) {
        return stop(
          "error",
          "mbr-logical-limit",
          `more than ${maxLogical} logical partitions: the rest is not shown (raise it with --limit logicalPartitions=N)`,
        );
      }
      if (start <= at || start + entry.sectors > end) {
        findings.push({
          severity: "warning",
          code: "mbr-logical-outside",
          message: `logical partition ${logical.length + 5} is not inside its extended partition`,
          layer: "mbr",
          offset: at * sectorSize,
        });
      }
      logical.push({ entry, start });
      empty = 0;
    }
    if (empty > MAX_EMPTY_RECORDS) {
      return stop("error", "mbr-ebr-empty", `${empty} boot records in a row hold no logical partition`);
    }
    const link = record.entries.find((e) => isUsed(e) && isExtended(e));
    if (!link) return { logical, findings };
    const next = extended.start + link.start;
    if (next === at || next < at)
      return stop("error", "mbr-ebr-loop", "the chain of logical partitions leads backwards: it ends here");
    if (next >= end)
      return stop("error", "mbr-ebr-outside", "the chain of logical partitions leaves the extended partition");
    at = next;
    size = link.sectors;
  }
}

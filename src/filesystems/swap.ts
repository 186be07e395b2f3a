import { struct } from "../bytes/struct.ts";
import type { Finding } from "../core/finding.ts";
import type { ProbeWindow } from "../core/layer.ts";
import { type FilesystemInfo, hasText, type Recogniser, readExactly, sizeOf, truncation, utf8Field } from "./info.ts";
import { uuidOrNull } from "./uuids.ts";

/** The signature is the last 10 bytes of the first page; Linux pages are 4 KiB to 64 KiB. */
const PAGE_SIZES = [4096, 8192, 16384, 32768, 65536] as const;
const SIGNATURE_BYTES = 10;
/** libblkid's minsz: mkswap makes nothing smaller. */
const MIN_PAGES = 10;
const HEADER_OFFSET = 1024;

/** union swap_header, part `info` (Linux, include/linux/swap.h), in the byte order of the machine that made it. */
const FIELDS = {
  version: { at: 0, type: "u32", ref: "version" },
  lastPage: { at: 4, type: "u32", ref: "last_page" },
  badPages: { at: 8, type: "u32", ref: "nr_badpages" },
  uuid: { at: 12, type: "bytes", length: 16, ref: "sws_uuid" },
  label: { at: 28, type: "bytes", length: 16, ref: "sws_volume" },
} as const;
export const SWAP_HEADER = struct("swap header", "little", FIELDS);
const SWAP_HEADER_BE = struct("swap header", "big", FIELDS);

/** What a suspended guest leaves in place of the swap signature (kernel, uswsusp, TuxOnIce, in-kernel since 2009). */
const SUSPEND = {
  S1SUSPEND: "s1suspend",
  S2SUSPEND: "s2suspend",
  ULSUSPEND: "ulsuspend",
  LINHIB0001: "linhib0001",
} as const;

/** Linux swap space, version 1 (`swap`), 0 (header without facts) and with a hibernated system in it (`swsuspend`). */
export const swap: Recogniser = {
  name: "swap",
  usage: "other",
  async recognise(window) {
    if (window.size < MIN_PAGES * 4096) return null;
    for (const pageSize of PAGE_SIZES) {
      const signature = await readExactly(window, pageSize - SIGNATURE_BYTES, SIGNATURE_BYTES);
      if (!signature) return null;
      const suspended = Object.entries(SUSPEND).find(([text]) => hasText(signature, 0, text))?.[1];
      const version = hasText(signature, 0, "SWAPSPACE2") ? "1" : hasText(signature, 0, "SWAP-SPACE") ? "0" : suspended;
      if (version === undefined) continue;
      return describe(window, pageSize, version, suspended !== undefined);
    }
    return null;
  },
};

async function describe(
  window: ProbeWindow,
  pageSize: number,
  version: string,
  suspended: boolean,
): Promise<FilesystemInfo | null> {
  const raw = await readExactly(window, HEADER_OFFSET, SWAP_HEADER.size);
  if (!raw) return null;
  const little = SWAP_HEADER.decode(raw);
  const header = little.version === 1 ? little : SWAP_HEADER_BE.decode(raw);
  if (version === "1" && (header.version !== 1 || header.lastPage === 0)) return null;
  const pages = version === "0" || header.lastPage === 0 ? null : BigInt(header.lastPage) + 1n;
  return {
    kind: "swap",
    type: suspended ? "swsuspend" : "swap",
    uuid: version === "0" ? null : uuidOrNull(header.uuid),
    label: version === "0" ? null : utf8Field(header.label),
    size: pages === null ? null : sizeOf(pages, pageSize),
    state: suspended ? "hibernated" : null,
    details: {
      version,
      pageSize,
      lastPage: pages === null ? null : header.lastPage,
      badPages: pages === null ? null : header.badPages,
      byteOrder: header === little ? "little" : "big",
    },
    findings: [
      ...(pages === null ? [] : truncation("swap", pages * BigInt(pageSize), window, HEADER_OFFSET)),
      ...(suspended ? [hibernated(pageSize - SIGNATURE_BYTES)] : []),
    ],
  };
}

function hibernated(offset: number): Finding {
  return {
    severity: "warning",
    code: "swap-hibernated",
    message:
      "a hibernated system lies here: it still has its file systems mounted, and would damage what others change now",
    layer: "swap",
    offset,
  };
}
